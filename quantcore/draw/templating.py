"""The Jinja2 environment through which everything that is HTML or SVG is written.

Values are escaped wherever they stand in a template, unless they are `Markup`: text that came out
of a template itself. Line breaks of a template are there for who reads it and draw nothing: beside
a tag or a value they vanish, elsewhere they are a space.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from markupsafe import Markup

from quantcore import wording

_BESIDE_TAG = re.compile(r"(?:\A|(?<=>))\n\s*|\n\s*(?:\Z|(?=<))")
_ELSEWHERE = re.compile(r"\n\s*")


class LineBreaks(Extension):
    """Takes out the line breaks of templates: HTML would draw them between inline elements."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Return the tokens of a template, those of its text without line breaks."""
        for token in stream:
            if token.type != "data":
                yield token
            elif text := _ELSEWHERE.sub(" ", _BESIDE_TAG.sub("", token.value)):
                yield Token(token.lineno, "data", text)


class Templates:
    """The templates of a folder, `NAME.j2` each."""

    def __init__(self, folder: Path) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            extensions=[LineBreaks],
            auto_reload=False,
        )
        self._environment.filters["capital"] = wording.capital

    def render(self, name: str, /, **values: object) -> Markup:
        """Return a template filled with values, as text that other templates do not escape."""
        return Markup(self._environment.get_template(f"{name}.j2").render(values))


TEMPLATES = Templates(Path(__file__).parent / "templates")
render = TEMPLATES.render
