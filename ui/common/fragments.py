"""The pieces of HTML that pages draw, from the templates beside this module."""

from pathlib import Path

from markupsafe import Markup

from quantcore.draw import templating

render = templating.Templates(Path(__file__).parent / "templates").render


def empty(title: str, text: str, *, press: str = "", rest: str = "") -> Markup:
    """Return the notice in an empty place: what will be here, and the button to press.

    Args:
        title: what is missing.
        text: what will be there.
        press: label of the button to press.
        rest: of the sentence that names the button.
    """
    return render("empty.html", title=title, text=text, press=press, rest=rest)
