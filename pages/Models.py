"""All models to choose from, and the visitor's own models and pictures, uploaded as files."""

from ui.common import progress, site, state, widgets
from ui.models import catalogue, own_uploads, uploading

SUBTITLE = "Choose among all models, or upload your own, and pictures to evaluate it on."
PARTS = {"models": catalogue.draw, "bring": uploading.draw, "mine": own_uploads.draw}


def main() -> None:
    """Draw the choice of a part, and that part."""
    unread = site.begin("Models", SUBTITLE, catalogue.parameters())
    if unread is None:
        return
    widgets.choose_target()
    part = catalogue.choose_part()
    progress.show_notices(unread)
    PARTS[part]()
    state.write_address(catalogue.parameters())


main()
