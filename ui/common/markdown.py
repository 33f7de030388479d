"""Markdown for Streamlit to draw, in which all text that is not our own is escaped, by its type."""

import re
from collections.abc import Iterable
from string import Formatter
from typing import Any

# Labels are also read aloud as they are written, so signs that mean nothing to Markdown where they
# stand are left alone.
_MARKUP = re.compile(r"[\\`*\[\]<>&~$|#]|(?<![^\W_])_|_(?![^\W_])|:(?=\S)")
_LIST_OR_RULE = re.compile(r"^( ?)(?:(\d{1,9})(?=[.)](?:\s|$))|(?=[-+=](?:[-=\s]|$)))")
# What Streamlit looks for in text that is parsed already, where no backslash is left: icons and
# emoji (`:name:`), addresses of pages and of people. A sign of no width keeps each from being one.
_REPLACED_LATER = re.compile(
    r"(?<=:)(?=[\w+/-]+:)|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=[\w.+-]@)(?=[\w-]+\.)", re.IGNORECASE
)
WORD_JOINER = "\u2060"


class Markdown(str):
    """Markdown of our own. What `format` and `join` put into it is escaped unless it is Markdown.

    As `markupsafe.Markup` is for HTML.
    """

    __slots__ = ()

    def format(self, *args: object, **values: object) -> "Markdown":
        """Return the Markdown with values in its braces; text is escaped, other values are not."""
        return Markdown(_FORMATTER.vformat(self, args, values))

    def join(self, parts: Iterable[str]) -> "Markdown":
        """Return the parts, each escaped unless it is Markdown, with this between them."""
        return Markdown(super().join(map(markdown, parts)))


class _EscapingFormatter(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        text = super().format_field(value, format_spec)
        return text if isinstance(value, (int, float, Markdown)) else markdown(text)


_FORMATTER = _EscapingFormatter()


def markdown(text: str) -> Markdown:
    """Return Markdown that shows a text as it stands; what is Markdown already stays so.

    White space becomes a single blank, as HTML shows it: lines and indents mean something here.
    """
    if isinstance(text, Markdown):
        return text
    apart = _REPLACED_LATER.sub(WORD_JOINER, re.sub(r"\s+", " ", text))
    return Markdown(_LIST_OR_RULE.sub(r"\1\2\\", _MARKUP.sub(r"\\\g<0>", apart)))


def reason_and_remedy(reason: str, remedy: str) -> Markdown:
    """Return why something is not possible, in bold, and what to do about it."""
    return Markdown("**{}** {}").format(reason, remedy)
