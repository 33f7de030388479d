"""Model files that strangers bring: refused with a sentence that says why, or recognised.

`inspect` looks at a file without torch and without reading its numbers. `examine.examine` does the
rest, in a child process that can reach nothing but the file and one folder.
"""

from pathlib import Path

from quantcore.untrusted.checks import check
from quantcore.untrusted.service import Inspections, InspectionView
from quantcore.untrusted.sniff import Sniffed

__all__ = ["InspectionView", "Inspections", "check", "inspect"]


def inspect(path: Path) -> Sniffed:
    """Return what a file is, if it is a model that can be taken, a picture or a zip of pictures.

    Its structure is checked as far as that goes without torch: a zip's parts agree, every tensor
    that the file claims to hold is in it, and a pickle names no program. Nothing is run.

    Raises:
        RequestError: the file is of another kind, damaged, a bomb, or holds a program.
    """
    from quantcore.errors import RequestError
    from quantcore.untrusted.checks import check

    try:
        return check(path)
    except OSError as error:
        raise RequestError(
            f"The file cannot be read ({error.strerror}).", "Upload it again."
        ) from error
