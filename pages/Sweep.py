"""Several models and settings in one request: the choice, its size, and the start."""

from ui.common import choices, site, state
from ui.sweep import sweeps

SUBTITLE = (
    "Several models and settings in one go. Every combination is measured, beside its float32."
)


def main() -> None:
    """Draw the question; the answer is drawn by the first page."""
    unread = site.begin("Sweep", SUBTITLE, choices.parameters())
    if unread is None:
        return
    sweeps.ask(unread)
    state.write_address(choices.parameters())


main()
