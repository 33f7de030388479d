"""One picture, and the classes that every variant of the comparison shown names."""

from ui.common import progress, state, theme
from ui.playground import playground

SUBTITLE = "Take, upload or choose one picture, and see which classes every variant names."


def main() -> None:
    """Draw the choice of variants and of a picture, and the answers."""
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
