"""A model fine-tuned on the classes of the visitor's pictures, compared like any other."""

from ui.common import progress, site, state
from ui.fine_tuning import fine_tuning

SUBTITLE = "A trained model learns to tell your own images apart, and can then be made 8-bit."


def main() -> None:
    """Draw the choice of model and pictures, the progress of the run, and its result."""
    unread = site.begin("Teach it your classes", SUBTITLE, fine_tuning.parameters())
    if unread is None:
        return
    progress.show_notices(unread)
    fine_tuning.draw()
    state.write_address(fine_tuning.parameters())


main()
