"""Where the files that ship with the project are: checkpoints, labelled pictures, photographs."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# Installed, it lies in the package; in a checkout, beside it.
BUNDLE = next((f for f in [_PACKAGE / "bundled"] if f.is_dir()), _PACKAGE.parent / "bundled")
# A folder laid over the shipped one, file by file: how tests give checkpoints of their own to this
# process and its children.
OVERLAY = "QUANTCORE_BUNDLED"


def bundled_file(name: str) -> Path:
    """Return the path of one bundled file, `checkpoints/resnet18.safetensors`, there or not."""
    overlay = os.environ.get(OVERLAY)
    if overlay and (Path(overlay) / name).exists():
        return Path(overlay) / name
    return BUNDLE / name
