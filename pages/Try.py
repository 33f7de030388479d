"""One picture of one's own, and what every variant of the comparison shown says to it."""

from ui.common import progress, state, theme
from ui.playground import playground

SUBTITLE = "Take, bring or choose one picture, and see what every variant says to it."


def main() -> None:
    """Draw what is asked, the choice of a picture, and the answers."""
    theme.set_up_page("Try one image")
    theme.header("Try one image", SUBTITLE)
    progress.check_settings()
    if state.problem():
        progress.show_notices()
        return
    unread = state.read_address(playground.parameters())
    state.follow_job()
    progress.show_notices(unread)
    playground.draw()


main()
