"""An independent reader of phones' files: the PyTorch 1.13 that Debian packages.

It was built by others, two years before lite files of torch 2 were written, and its lite
interpreter is the one that PyTorch Mobile 1.13 has on a phone. `make test` installs it.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from quantcore.backends import agreement, sqnr_db
from quantcore.engine import FLOAT32
from quantcore.images import load_images
from quantcore.models import find
from quantcore.schema import ExportSpec
from tests.support.exports import (
    LSTM,
    MOBILENET,
    PICTURES,
    SHUFFLENET,
    VIT,
    Bench,
    Logits,
    dynamic,
    planned,
    static,
)

PYTHON = Path("/usr/bin/python3")
PACKAGE = Path("/usr/lib/python3/dist-packages/torch/__init__.py")
SCRIPT = Path(__file__).parent / "debian" / "ask.py"
QNNPACK = planned(MOBILENET, static("qnnpack"), "mobile")

pytestmark = pytest.mark.skipif(
    not PACKAGE.exists(), reason="Debian's python3-torch is not installed: `make debian-torch`"
)


def answered(bench: Bench, spec: ExportSpec, engine: str, folder: Path) -> Logits:
    """Return the logits that Debian's PyTorch gives for the evaluation pictures."""
    split = load_images(spec.request.images, find(spec.request.model)).evaluation
    pictures, logits = folder / "pictures.npy", folder / "logits.npy"
    np.save(pictures, split.tensor(PICTURES).contiguous().numpy())
    done = subprocess.run(
        [PYTHON, "-I", SCRIPT, bench.path(spec), engine, pictures, logits],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith("1.13")
    found: Logits = np.load(logits)
    return found


@pytest.mark.parametrize(
    "spec",
    [QNNPACK, planned(MOBILENET, static("qnnpack"), "mobile", bytecode=4)],
    ids=["bytecode 8", "bytecode 4"],
)
def test_a_qnnpack_file_gives_the_same_logits(
    bench: Bench, tmp_path: Path, spec: ExportSpec
) -> None:
    found = answered(bench, spec, "qnnpack", tmp_path)
    np.testing.assert_allclose(found, bench.logits(QNNPACK), atol=1e-4)


@pytest.mark.parametrize(
    "spec",
    [
        planned(MOBILENET, static("x86"), "mobile"),
        planned(SHUFFLENET, static("x86"), "mobile"),
    ],
    ids=lambda spec: spec.request.model.architecture,
)
def test_an_x86_file_runs_there_on_onednn(bench: Bench, tmp_path: Path, spec: ExportSpec) -> None:
    """It has no FBGEMM; oneDNN's kernels round elsewhere."""
    found, expected = answered(bench, spec, "onednn", tmp_path), bench.logits(spec)
    assert agreement(expected, found) == 1.0
    noise = sqnr_db(expected, found)
    assert noise is None or noise > 25


@pytest.mark.parametrize(
    "spec",
    [planned(LSTM, FLOAT32, "mobile"), planned(LSTM, dynamic("x86"), "mobile")],
    ids=lambda spec: spec.variant.label,
)
def test_a_recurrent_model_runs_there(bench: Bench, tmp_path: Path, spec: ExportSpec) -> None:
    found = answered(bench, spec, "qnnpack", tmp_path)
    assert agreement(bench.logits(spec), found) == 1.0


def test_what_needs_a_newer_runtime_says_which(bench: Bench, tmp_path: Path) -> None:
    spec = planned(VIT, dynamic("x86"), "mobile")
    assert bench.export(spec).exported.runs_on.startswith("PyTorch Mobile 2.0 or newer")
    with pytest.raises(AssertionError, match="aten::scaled_dot_product_attention"):
        answered(bench, spec, "qnnpack", tmp_path)
