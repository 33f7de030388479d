"""torchvision beside torch: its operators load, are missing, or were declared before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quantcore.sandbox import PROJECT

DECLARED_BY_ITSELF = """
_library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
# What the import of torchvision does with its operators, whatever their file is called.
PACKAGE = """
import torch
{declared}
for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{{name}}")(lambda *arguments: arguments[0])
"""
USE = """
from quantcore.models import torchvision_import
package = torchvision_import.torchvision()
assert package is torchvision_import.torchvision()
print(package.__file__, len(torchvision_import._declared))
"""
MODELS = "package.models.get_model('shufflenet_v2_x0_5')\n"
DECLARED_BEFORE = """
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
for name in {names!r}:
    if not hasattr(torch.ops.torchvision, name):
        library.define(f"{{name}}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def in_a_fresh_process(code: str, *folders: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, PROJECT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("declared", "ours"), [(DECLARED_BY_ITSELF, 0), ("", 1)])
def test_schemas_are_declared_only_where_the_import_fails_without(
    tmp_path: Path, declared: str, ours: int
) -> None:
    (tmp_path / "torchvision.py").write_text(PACKAGE.format(declared=declared))
    assert in_a_fresh_process(USE, tmp_path).split() == [
        str(tmp_path / "torchvision.py"),
        str(ours),
    ]


def test_the_installed_torchvision_builds_its_models() -> None:
    assert in_a_fresh_process(USE + MODELS)


def test_schemas_that_somebody_declared_before_are_left_alone() -> None:
    code = DECLARED_BEFORE.format(names=("nms", "qnms")) + USE + MODELS
    assert in_a_fresh_process(code).split()[1] == "0"


def test_another_error_of_the_import_is_not_swallowed(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('a bug of its own')")
    with pytest.raises(AssertionError, match="a bug of its own"):
        in_a_fresh_process(USE, tmp_path)
