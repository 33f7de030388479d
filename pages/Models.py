"""All models to choose from, one's own and the pictures to judge them, brought as files."""

from ui import bringing, kept, models, progress, state, theme

SUBTITLE = "Choose among all models, or bring your own, and pictures to judge it by."
PARTS = {"models": models.draw, "bring": bringing.draw, "mine": kept.draw}


def main() -> None:
    """Draw the choice of a part, and that part."""
    theme.set_up_page("Models")
    theme.header("Models", SUBTITLE)
    progress.check_settings()
    if state.problem():
        progress.show_notices()
        return
    unread = state.read_address(models.parameters())
    part = models.choose_part()
    progress.show_notices(unread)
    PARTS[part]()
    state.write_address(models.parameters())


main()
