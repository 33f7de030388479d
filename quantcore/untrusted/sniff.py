"""The kind of a file, by its content: its name may be wrong, or a lie."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from quantcore.errors import RequestError
from quantcore.untrusted.archive import Archive, open_archive
from quantcore.untrusted.zip_structure import EMPTY_MAGIC, MAGIC

Kind = Literal[
    "torch_zip",
    "torchscript",
    "exported_program",
    "torch_legacy",
    "safetensors",
    "pictures",
    "picture",
    "pickle",
    "torch_tar",
    "onnx",
    "keras",
    "tflite",
    "executorch",
    "gguf",
    "numpy",
    "html",
    "lfs_pointer",
    "text",
    "packed",
    "zip",
    "empty",
    "unknown",
]
TITLES: dict[Kind, str] = {
    "torch_zip": "PyTorch weights",
    "torchscript": "a TorchScript model",
    "exported_program": "a program of torch.export",
    "torch_legacy": "PyTorch weights in the older form",
    "safetensors": "safetensors weights",
    "pictures": "a zip of pictures",
    "picture": "a picture",
    "pickle": "a Python pickle",
    "torch_tar": "a tar file",
    "onnx": "an ONNX model",
    "keras": "a Keras model or another HDF5 file",
    "tflite": "a TensorFlow Lite model",
    "executorch": "an ExecuTorch program",
    "gguf": "a GGUF model",
    "numpy": "numbers of NumPy",
    "html": "a web page",
    "lfs_pointer": "a Git LFS pointer",
    "text": "text",
    "packed": "a packed file",
    "zip": "a zip",
    "empty": "empty",
    "unknown": "of no known kind",
}
HEAD_BYTES = 4096
MAX_SAFETENSORS_HEADER = 100 * 10**6
# torch.save's number of its older form, as every protocol of pickle writes it.
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_WITHIN = 32
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
BEGINNINGS: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89HDF\r\n\x1a\n", "keras"),
    (b"GGUF", "gguf"),
    (b"\x93NUMPY", "numpy"),
    (b"\xff\xd8\xff", "picture"),
    (b"\x89PNG\r\n\x1a\n", "picture"),
    (b"GIF8", "picture"),
    (b"II*\x00", "picture"),
    (b"MM\x00*", "picture"),
    (b"version https://git-lfs", "lfs_pointer"),
    (b"\x1f\x8b", "packed"),
    (b"BZh", "packed"),
    (b"\xfd7zXZ\x00", "packed"),
    (b"7z\xbc\xaf\x27\x1c", "packed"),
    (b"Rar!", "packed"),
    (b"\x28\xb5\x2f\xfd", "packed"),
)
# The parts of an ONNX ModelProto, as protobuf tags them.
ONNX_TAGS = frozenset({0x08, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2, 0xCA})
PAGE = re.compile(rb"^\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b", re.I | re.S)


@dataclass(frozen=True)
class Sniffed:
    """The kind of a file, and that in words (`a TorchScript model`)."""

    kind: Kind
    title: str


def sniff(path: Path) -> Sniffed:
    """Return the kind of a file, by its first bytes and, in a zip, by the names of its members.

    Raises:
        RequestError: it cannot be read, or is a zip whose parts do not agree.
    """
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise RequestError(
            f"The file cannot be read ({error.strerror}).", "Upload it again."
        ) from error
    kind = _kind(path, head, length)
    return Sniffed(kind, TITLES[kind])


def _kind(path: Path, head: bytes, length: int) -> Kind:
    if not head.strip(b"\x00 \t\r\n"):
        return "empty"
    if head.startswith((MAGIC, EMPTY_MAGIC)):
        return _zip_kind(path)
    for beginning, kind in BEGINNINGS:
        if head.startswith(beginning):
            return kind
    return _by_structure(path, head, length) or _by_text(head)


def _by_structure(path: Path, head: bytes, length: int) -> Kind | None:
    matches: dict[Kind, bool] = {
        "safetensors": _is_safetensors(path, head, length),
        "picture": _is_picture(head, length),
        "tflite": head[4:8] == b"TFL3",
        "executorch": head[4:6] == b"ET" and head[6:8].isdigit(),
        "torch_tar": head[257:262] == b"ustar",
        "torch_legacy": head[0] == 0x80 and LEGACY in head[:LEGACY_WITHIN],
        "pickle": head[0] == 0x80 and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"},
        "onnx": _is_onnx(path, head),
    }
    return next((kind for kind, holds in matches.items() if holds), None)


def _is_picture(head: bytes, length: int) -> bool:
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or (head[:2] == b"BM" and int.from_bytes(head[2:6], "little") == length)


def _is_safetensors(path: Path, head: bytes, length: int) -> bool:
    """Return whether a length and an opening brace stand first; its header is checked later."""
    size = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or size < 2:
        return False
    return size + 8 <= length or size <= MAX_SAFETENSORS_HEADER or path.suffix == ".safetensors"


def _is_onnx(path: Path, head: bytes) -> bool:
    """Return whether this looks like an ONNX model: a version, then one of its other parts."""
    if len(head) < 4:
        return False
    versioned = head[0] == 0x08 and 1 <= head[1] <= 32 and head[2] in ONNX_TAGS
    return versioned or (path.suffix.lower() == ".onnx" and head[0] in ONNX_TAGS)


def _by_text(head: bytes) -> Kind:
    if PAGE.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "html"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The head may end within a letter.
        if error.start < len(head) - 3:
            return "unknown"
        text = head[: error.start].decode("utf-8")
    return (
        "text" if all(letter.isprintable() or letter in "\t\r\n" for letter in text) else "unknown"
    )


def _zip_kind(path: Path) -> Kind:
    archive = open_archive(path, pictures=True)
    names = archive.entries.keys()
    inside = {name.partition("/")[2] for name in names}
    code = any(name.startswith("code/") for name in inside)
    suffixes = {PurePosixPath(name).suffix.lower() for name in names}
    matches: dict[Kind, bool] = {
        "empty": not names,
        "torchscript": code and "constants.pkl" in inside,
        "exported_program": _is_exported(archive, inside),
        "torch_zip": "data.pkl" in inside,
        "pictures": bool(suffixes & PICTURE_SUFFIXES),
        "keras": "model.weights.h5" in names,
        "numpy": suffixes == {".npy"},
    }
    return next((kind for kind, holds in matches.items() if holds), "zip")


def _is_exported(archive: Archive, inside: Collection[str]) -> bool:
    if "serialized_exported_program.json" in {*inside, *archive.entries}:
        return True
    return "archive_format" in inside and any(name.startswith("models/") for name in inside)
