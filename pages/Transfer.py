"""A model taught the classes of one's own pictures, to be compared like any other."""

from ui import progress, state, theme, transferring

SUBTITLE = "A trained model learns to tell your own images apart, and can then be made 8-bit."


def main() -> None:
    """Draw what is taught to which model, how far it is, and what came of it."""
    theme.set_up_page("Teach it your classes")
    theme.header("Teach it your classes", SUBTITLE)
    progress.check_settings()
    if state.problem():
        progress.show_notices()
        return
    unread = state.read_address(transferring.parameters())
    progress.show_notices(unread)
    transferring.draw()
    state.write_address(transferring.parameters())


main()
