"""A model fine-tuned on the classes of the visitor's pictures, compared like any other."""

from ui.common import progress, state, theme
from ui.fine_tuning import fine_tuning

SUBTITLE = "A trained model learns to tell your own images apart, and can then be made 8-bit."


def main() -> None:
    """Draw the choice of model and pictures, the progress of the run, and its result."""
    theme.set_up_page("Teach it your classes")
    theme.header("Teach it your classes", SUBTITLE)
    progress.check_settings()
    if state.problem():
        progress.show_notices()
        return
    unread = state.read_address(fine_tuning.parameters())
    progress.show_notices(unread)
    fine_tuning.draw()
    state.write_address(fine_tuning.parameters())


main()
