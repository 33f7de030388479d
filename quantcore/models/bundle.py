"""Where the files that ship with the project are: checkpoints, labelled pictures, photographs."""

import os
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
