"""Verification reports with known figures, made without exporting, for tests of drawing."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from quantcore.engine import metrics
from quantcore.exports import exports
from quantcore.formats import FORMATS
from quantcore.models import find
from quantcore.schema import (
    Accuracy,
    Artifact,
    Check,
    Exported,
    ExportSpec,
    Guess,
    Latency,
    ModelSpec,
    Pass,
    RuntimeLatency,
    Sample,
    Setting,
    Speedup,
    Variant,
    VerificationReport,
    file_digest,
)
from tests.support import fixtures

MODEL = ModelSpec("bundled/mobilenet_v2")
SIDE = 64
RUNS_ON = {
    "torchscript": "PyTorch 2.13.0 or newer",
    "mobile": "PyTorch Mobile 1.11 or newer (bytecode 8)",
    "onnx": "ONNX Runtime 1.12 or newer",
    "openvino": "OpenVINO 2026.4 or newer, on the processor",
    "executorch": "ExecuTorch 1.4 or newer with XNNPACK",
}
RUNTIME_VERSIONS = {"onnx": "1.32.0", "openvino": "2026.4.1", "executorch": "1.4.1"}


def spec(
    format: str = "mobile", workflow: str = "static", backend: str = "qnnpack", **options: Setting
) -> ExportSpec:
    return exports.planned(MODEL, Variant(workflow, backend), format, options)


def card(wanted: ExportSpec | None = None, file: Path | None = None) -> VerificationReport:
    """Return what was proved of a file whose every check held; of `file` where one is given."""
    wanted = wanted or spec()
    info, kind = find(wanted.request.model), FORMATS[wanted.format]
    sha256, size = "ab" * 32, 2_320_942
    if file is not None:
        sha256, size = file_digest(file), file.stat().st_size
    guesses = tuple(
        Guess(place, info.labels[place], share)
        for place, share in ((9, 0.9), (7, 0.06), (5, 0.03), (8, 0.006), (2, 0.002))
    )
    return VerificationReport(
        spec=wanted,
        exported=Exported(
            artifact=Artifact(sha256, size, wanted.format),
            suffix=kind.suffix,
            passes=(Pass("freeze", True), Pass("remove dropout", False, "The model has none.")),
            operators=("aten::linear", "quantized::conv2d.new"),
            engines=("qnnpack",),
            runs_on=RUNS_ON[wanted.format],
            int8_operators=65,
            total_operators=66,
        ),
        environment=fixtures.ENVIRONMENT,
        created="2026-11-24T12:00:00+00:00",
        zipped_bytes=2_030_000,
        images=2_000,
        accuracy=Accuracy(0.908, 2_000, *metrics.wilson(1_816, 2_000)),
        agreement=1.0,
        largest_logit_difference=0.0,
        latency=(
            RuntimeLatency(
                kind.runtime,
                Latency(3.5, 3.6, 3.4, 3.6, fixtures.STARTS),
                speedup=Speedup(1.01, 0.99, 1.03, fixtures.STARTS),
            ),
        ),
        peak_memory_bytes=23_200_000,
        checks=(
            Check("loads in a fresh process", True, "It was loaded."),
            Check("answers as its variant", True, "All 2,000 pictures get the same class."),
        ),
        not_verified=("No phone ran this file.",),
        provenance={
            "labels": list(info.labels),
            "image_size": SIDE,
            "mean": list(info.mean),
            "std": list(info.std),
            "channels": "RGB",
            "resize_size": SIDE,
            "interpolation": info.interpolation,
            "greyscale": True,
        },
        sample=Sample(Artifact("cd" * 32, 99, "png"), guesses),
        runtime_version=RUNTIME_VERSIONS.get(wanted.format, "2.13.0"),
    )


def broken(wanted: ExportSpec | None = None) -> VerificationReport:
    """Return the card of a file that answers otherwise than its variant."""
    found = Check("answers as its variant", False, "90.00 % of 2,000 pictures get the class.")
    made = card(wanted)
    return replace(made, checks=(made.checks[0], found), agreement=0.9)


def dead(wanted: ExportSpec | None = None) -> VerificationReport:
    """Return the card of a file that does not load."""
    made = card(wanted)
    return replace(
        made,
        checks=(Check("loads in a fresh process", False, "It does not: no such operator."),),
        accuracy=None,
        agreement=None,
        largest_logit_difference=None,
        latency=(RuntimeLatency("lite interpreter", None, "The file does not load there."),),
        images=0,
        peak_memory_bytes=0,
        sample=None,
    )


def picture() -> bytes:
    """Return a sample picture as a PNG file."""
    pixels = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()
