"""The bundle for the app team: a file, its verification report, and code that runs it.

`pack` makes the zip; `snippets` the code alone.
"""

from quantcore.exports.bundle.pack import pack, pack_name
from quantcore.exports.bundle.page import to_html
from quantcore.exports.bundle.snippets import LANGUAGES, snippets

__all__ = ["LANGUAGES", "pack", "pack_name", "snippets", "to_html"]
