"""All models to choose from, and the visitor's own models and pictures, uploaded as files."""

from ui.common import progress, state, theme
from ui.models import catalogue, own_uploads, uploading

SUBTITLE = "Choose among all models, or upload your own, and pictures to evaluate it on."
PARTS = {"models": catalogue.draw, "bring": uploading.draw, "mine": own_uploads.draw}


def main() -> None:
    """Draw the choice of a part, and that part."""
    theme.set_up_page("Models")
    theme.header("Models", SUBTITLE)
    progress.check_settings()
    if state.problem():
        progress.show_notices()
        return
    unread = state.read_address(catalogue.parameters())
    part = catalogue.choose_part()
    progress.show_notices(unread)
    PARTS[part]()
    state.write_address(catalogue.parameters())


main()
