"""Where the files that ship with the project are: checkpoints, labelled pictures, photographs."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

BUNDLE = Path(__file__).parents[2] / "bundled"
# A folder laid over the shipped one, file by file: how tests bring checkpoints of their own, also
# to child processes.
OVERLAY = "QUANTCORE_BUNDLED"


def bundled_file(name: str) -> Path:
    """Return the path of one bundled file, `checkpoints/resnet18.safetensors`, there or not."""
    overlay = os.environ.get(OVERLAY)
    if overlay and (Path(overlay) / name).exists():
        return Path(overlay) / name
    return BUNDLE / name


def file_digest(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal, computed once while size and time stay the same."""
    status = path.stat()
    return _file_digest(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=200_000)
def _file_digest(path: Path, _modified_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
