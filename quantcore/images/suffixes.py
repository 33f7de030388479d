"""Names of files that are pictures, and of hidden ones that programs leave behind."""

from collections.abc import Iterable
from pathlib import PurePosixPath

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# Accepted in uploads: what browsers show and phones write.
UPLOADED_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def is_hidden(path: PurePosixPath) -> bool:
    """Return whether a file is hidden: programs leave such files beside pictures."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def is_picture(path: PurePosixPath, suffixes: Iterable[str] = SUFFIXES) -> bool:
    """Return whether a file is named as a picture is, and not hidden."""
    return path.suffix.lower() in suffixes and not is_hidden(path)
