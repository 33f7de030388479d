"""One picture, and the classes that every variant of the comparison shown names."""

from ui.common import progress, site, state
from ui.playground import playground

SUBTITLE = "Take, upload or choose one picture, and see which classes every variant names."


def main() -> None:
    """Draw the choice of variants and of a picture, and the answers."""
    unread = site.begin("Try one image", SUBTITLE, playground.parameters())
    if unread is None:
        return
    state.follow_job()
    progress.show_notices(unread)
    playground.draw()


main()
