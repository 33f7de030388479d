"""Checks of an untrusted file's structure, before any of it is loaded."""

from pathlib import Path

from quantcore.errors import RequestError
from quantcore.untrusted import onnx_structure, programs
from quantcore.untrusted.archive import open_archive
from quantcore.untrusted.safetensors import read_safetensors
from quantcore.untrusted.sniff import Kind, Sniffed, sniff
from quantcore.untrusted.tensors import Contents
from quantcore.untrusted.torch_files import check_torchscript, read_legacy, read_torch_zip, root_of

WEIGHTS: tuple[Kind, ...] = ("torch_zip", "torch_legacy", "safetensors")
TAKEN = (
    "Upload PyTorch weights (.pt, .pth, .safetensors), TorchScript, a .pt2 of torch.export, or "
    "ONNX."
)
LEGACY_PROGRAM = "serialized_exported_program.json"
CODE_BYTES = 64 * 2**20
REFUSALS: dict[Kind, tuple[str, str]] = {
    "pickle": (
        "This is a Python pickle that torch.save did not write. A pickle is a program, and is not "
        "opened.",
        programs.SAVE,
    ),
    "torch_tar": (
        "This is a tar file. PyTorch wrote such files before 2017, and they are not read.",
        f"Unpack it; or, if it is a PyTorch file, load it and save it again. {TAKEN}",
    ),
    "keras": (
        "This is a Keras model or another HDF5 file, and only PyTorch and ONNX models are taken.",
        TAKEN,
    ),
    "tflite": (
        "This is a TensorFlow Lite model, made to be run and not to be converted further.",
        f"Upload the PyTorch model it came from. {TAKEN}",
    ),
    "executorch": (
        "This is an ExecuTorch program, made to be run and not to be converted further.",
        f"Upload the PyTorch model it came from. {TAKEN}",
    ),
    "gguf": ("This is a GGUF file, which holds a language model.", TAKEN),
    "numpy": ("This is a file of NumPy, and only PyTorch and ONNX models are taken.", TAKEN),
    "html": (
        "This is a web page, not a model: the download gave its page instead of the file.",
        "Download it again with the page's download button (on GitHub: Raw), and look at its size.",
    ),
    "lfs_pointer": (
        "This is a Git LFS pointer: a few lines that say where the model is, not the model.",
        "Run git lfs pull in the repository, and upload the file it fetches.",
    ),
    "text": ("This is text, not a model.", TAKEN),
    "packed": ("This is a packed file.", f"Unpack it, and upload the model in it. {TAKEN}"),
    "zip": (
        "This zip holds neither a model as torch.save wrote it nor pictures.",
        f"If a model file is in it, unpack it and upload that file. {TAKEN}",
    ),
    "empty": ("The file is empty.", "Save or download it again."),
    "unknown": ("This file is no model that can be read: its content is of no known kind.", TAKEN),
}


def check(path: Path) -> Sniffed:
    """Return the kind of a file whose structure was checked; raises as `inspect`."""
    sniffed = accepted_kind(path)
    if sniffed.kind in WEIGHTS:
        read_weights(path, sniffed.kind)
    else:
        check_program(path, sniffed.kind)
    return sniffed


def accepted_kind(path: Path) -> Sniffed:
    """Return the kind of a file, by its content alone, if it has an accepted kind.

    Raises:
        RequestError: it is of another kind.
    """
    sniffed = sniff(path)
    if sniffed.kind in REFUSALS:
        raise RequestError(*REFUSALS[sniffed.kind])
    return sniffed


def check_program(path: Path, kind: Kind) -> None:
    """Check the structure of TorchScript, of an exported program or of an ONNX file.

    Raises:
        RequestError: it is damaged, or holds something that is never opened.
    """
    if kind == "torchscript":
        check_torchscript(path)
    elif kind == "exported_program":
        check_exported(path)
    elif kind == "onnx":
        onnx_structure.read(path)


def read_weights(path: Path, kind: Kind) -> Contents:
    """Return the checked tensors of a file of weights.

    Raises:
        RequestError: it is damaged, or names a program.
    """
    if kind == "safetensors":
        return read_safetensors(path)
    contents = read_torch_zip(path) if kind == "torch_zip" else read_legacy(path)
    programs.refuse(contents)
    return contents


def check_exported(path: Path) -> None:
    """Check that a .pt2 holds no compiled code and no pickled objects beside its program.

    Raises:
        RequestError: it holds some, or the zip is damaged.
    """
    archive = open_archive(path)
    root = root_of(archive)
    for name in archive.entries:
        inside = name.removeprefix(root)
        if "aotinductor" in inside or inside.endswith((".so", ".o", ".cpp", ".cubin", ".pyd")):
            raise RequestError(
                "The .pt2 holds compiled code, which runs on the machine it was made for only.",
                "Save the exported program itself: torch.export.save(program, path).",
            )
        if inside.startswith("models/") or inside == LEGACY_PROGRAM:
            programs.check_sizes(archive.read(name, CODE_BYTES))
        if inside.endswith("_config.json") and programs.pickles(archive.read(name, CODE_BYTES)):
            raise RequestError(
                "The .pt2 holds pickled objects beside its tensors, and a pickle is a program.",
                "Export the model with plain tensors only, on the CPU.",
            )
