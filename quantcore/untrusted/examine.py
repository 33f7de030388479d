"""The examination of an untrusted file of a model, in a locked child process.

Weights are read without torch and written anew: `weights.safetensors`, float32, under the names
that torchvision gives them today. Nothing else of the untrusted file is kept. Of
TorchScript and exported programs, which are programs, a TorchScript file `model.pt` is kept, of
ONNX its graph, `model.onnx`; these are never to be loaded outside of such a child.
"""

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantcore.errors import RequestError
from quantcore.models import catalogue
from quantcore.untrusted.archive import open_archive
from quantcore.untrusted.candidate import Candidate
from quantcore.untrusted.checks import WEIGHTS, accepted_kind, check_program, read_weights
from quantcore.untrusted.examined import WEIGHTS_FILE, Examined, Offered
from quantcore.untrusted.fingerprints import CLASSES, Fingerprint, fingerprints
from quantcore.untrusted.recognise import REMADE, Recognition, recognise, sources
from quantcore.untrusted.sniff import Kind, Sniffed
from quantcore.untrusted.tensors import Tensor
from quantcore.untrusted.unwrap import Unwrapped, refuse_eight_bits, unwrap
from quantcore.untrusted.zip_structure import MAGIC

TRAINING_ONLY = re.compile(
    r"(^|\.)(running_mean|running_var|num_batches_tracked|relative_position_index|"
    r"relative_coords_table)$"
)
INTEGERS = re.compile(r"(^|\.)(num_batches_tracked|relative_position_index)$")


def preload(kind: Kind) -> None:
    """Import what `examine` needs for a kind of file, while files can still be opened."""
    fingerprints()
    catalogue()
    if kind not in WEIGHTS:
        from quantcore.untrusted import run

        run.preload(kind)
    if kind == "onnx":
        import onnxruntime  # noqa: F401
        from onnx import inliner, version_converter  # noqa: F401


def examine(path: Path, folder: Path) -> Examined:
    """Return the facts of a model's file, and write its weights or program into the folder.

    To be run in a child process: a TorchScript file, .pt2 or ONNX is loaded, and run on zeros.

    Raises:
        RequestError: the file is refused; the sentences say why, and what to upload instead.
    """
    sniffed = accepted_kind(path)
    if sniffed.kind in WEIGHTS:
        return _examine_weights(path, sniffed, folder)
    if sniffed.kind in {"torchscript", "exported_program"}:
        from quantcore.untrusted import run

        check_program(path, sniffed.kind)
        _check_checksums(path)
        return run.examine(path, sniffed.kind, folder)
    if sniffed.kind == "onnx":
        from quantcore.untrusted import onnx_run

        return onnx_run.examine(path, folder)
    raise RequestError(
        f"This is {sniffed.title}, not a model.",
        "Upload PyTorch weights, a TorchScript file, a .pt2 of torch.export, or ONNX.",
    )


def _check_checksums(path: Path) -> None:
    """Read a zip's members once, which checks their checksums."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return
    archive = open_archive(path)
    for name in archive.entries:
        for _ in archive.chunks(name):
            pass


def _examine_weights(path: Path, sniffed: Sniffed, folder: Path) -> Examined:
    state_dicts = unwrap(read_weights(path, sniffed.kind))
    _check_checksums(path)
    recognitions = [_recognise(unwrapped) for unwrapped in state_dicts]
    fitting = [number for number, tried in enumerate(recognitions) if tried.candidates]
    index = fitting[0] if fitting else 0
    unwrapped, recognition = state_dicts[index], recognitions[index]
    refuse_eight_bits(unwrapped.tensors)
    best = recognition.best
    _refuse_one_class(best)
    parameters = _write(path, unwrapped.tensors, best, folder / WEIGHTS_FILE)
    offered = tuple(_offered(candidate) for candidate in recognition.candidates)
    halves = {tensor.kind for tensor in unwrapped.tensors.values()} & {"float16", "bfloat16"}
    half = ("The weights are in half precision; they are compared from float32.",) if halves else ()
    return Examined(
        kind="state_dict",
        file=WEIGHTS_FILE,
        candidates=offered,
        parameters=parameters,
        outputs=best.classes,
        channels=best.channels,
        image_size=offered[0].image_size,
        any_batch=True,
        labels=unwrapped.labels(best.classes),
        dynamic_layers=catalogue()[f"torchvision/{best.architecture}"].dynamic_layers,
        notes=(*unwrapped.notes, *best.notes, *half),
    )


def _recognise(unwrapped: Unwrapped) -> Recognition:
    return recognise({name: tensor.shape for name, tensor in unwrapped.tensors.items()})


def _refuse_one_class(best: Candidate) -> None:
    if best.classes < 2:
        raise RequestError(
            f"The last layer of this {best.title} gives one number only, and what is compared here "
            "is which of several classes a picture is given.",
            "Make it two: in Python, put a row of zeros before the last layer's weight and bias "
            "(torch.cat([torch.zeros_like(w), w])), which answers the same.",
        )


def _offered(candidate: Candidate) -> Offered:
    info = catalogue()[f"torchvision/{candidate.architecture}"]
    size = candidate.image_size or info.image_size
    return Offered(candidate.architecture, candidate.title, candidate.classes, size)


def _write(path: Path, tensors: Mapping[str, Tensor], best: Candidate, target: Path) -> int:
    """Write the candidate's own tensors as safetensors, one at a time; return the parameters."""
    fingerprint = fingerprints()[best.architecture]
    written = {
        name: tensors[ours]
        for name, ours in sources(tensors, best).items()
        if _usable(name, tensors[ours], best, fingerprint)
    }
    header: dict[str, object] = {}
    position = 0
    for name, tensor in written.items():
        is_integer = INTEGERS.search(name) is not None
        size = (8 if is_integer else 4) * int(np.prod(tensor.shape, dtype=np.int64))
        header[name] = {
            "dtype": "I64" if is_integer else "F32",
            "shape": list(tensor.shape),
            "data_offsets": [position, position + size],
        }
        position += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with target.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in written.items():
            file.write(_numbers(path, name, tensor).tobytes())
    return sum(
        int(np.prod(tensor.shape, dtype=np.int64))
        for name, tensor in written.items()
        if not TRAINING_ONLY.search(name)
    )


def _usable(name: str, tensor: Tensor, best: Candidate, fingerprint: Fingerprint) -> bool:
    """Return whether a tensor is written; a module makes tables of another shape by itself."""
    expected = tuple(best.classes if side == CLASSES else side for side in fingerprint.shapes[name])
    if REMADE.search(name):
        return tensor.shape == expected
    if not tensor.is_float:
        raise RequestError(
            f"The numbers of {name} are of kind {tensor.kind}, and weights are fractions.",
            "Save the model in float32: model.float().",
        )
    return True


def _numbers(path: Path, name: str, tensor: Tensor) -> NDArray[np.generic]:
    numbers = tensor.read(path)
    if INTEGERS.search(name):
        return numbers.astype("<i8")
    if not np.isfinite(numbers).all():
        raise RequestError(
            f"The weights of {name} hold numbers that are infinite or undefined.",
            "Training went wrong there (or the weights outgrew their kind). Save an earlier epoch.",
        )
    return numbers.astype("<f4", copy=False)
