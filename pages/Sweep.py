"""Several models and settings in one request: the choice, its size, and the start."""

from ui.common import choices, progress, state, theme
from ui.sweep import sweeps

SUBTITLE = (
    "Several models and settings in one go. Every combination is measured, beside its float32."
)


def main() -> None:
    """Draw the question; the answer is drawn by the first page."""
    theme.set_up_page("Sweep")
    theme.header("Sweep", SUBTITLE)
    progress.check_settings()
    if state.problem():
        progress.show_notices()
        return
    unread = state.read_address(choices.parameters())
    sweeps.ask(unread)
    state.write_address(choices.parameters())


main()
