"""What a format contributes to programs that run its files, in Python and other languages.

Programs in others are texts in a folder of the format's own, `kotlin.txt`, `swift.txt` and
`cpp.txt`, with `$name` where facts of the file go.
"""

import re
from dataclasses import dataclass
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
# What a phone's runtime is called by, `1.4`: in a version, or in a sentence on what runs the file.
RELEASE = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class PythonCode:
    """How Python runs one file.

    Attributes:
        imports: lines.
        load: lines that load the file, with `{path}` for an expression that gives its path.
        run: lines that make `scores`, one a class, from `batch`.
    """

    imports: str
    load: str
    run: str


def release(text: str) -> str:
    """Return the first release that a text names, `1.4`; empty where it names none."""
    match = RELEASE.search(text)
    return match[0] if match else ""
