"""The lite interpreter's file: a zip archive whose records torch itself reads and writes."""

import io
import pickletools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcore.formats import archive

if TYPE_CHECKING:
    from quantcore.formats.base import Predictor

BYTECODE, DATA = "bytecode.pkl", "data.pkl"
# Read only by the full TorchScript runtime, a debugger, or a second trace.
_UNREAD = ("code/", "traced_inputs", "constants.pkl", "mobile_debug_handles.pkl")
_SHARED = "constants/"


def saved(module: Any, extra: dict[str, str], bytecode: int, newest: int) -> bytes:
    """Return a TorchScript module as such a file; empty where the bytecode cannot be written."""
    content: bytes = module._save_to_buffer_for_lite_interpreter(_extra_files=extra)
    if bytecode != newest:
        content = _core()._backport_for_mobile_from_buffer_to_buffer(content, bytecode)
    return lean(content) if content else content


def lean(content: bytes) -> bytes:
    """Return the file without what the lite interpreter never reads.

    That is the source of the full TorchScript, debug records, the pictures it was traced with, and
    weights that only the source refers to: some engines pack their weights anew whenever they are
    asked for, which leaves one copy for the source and one for the bytecode.
    """
    reader = _core().PyTorchFileReader(io.BytesIO(content))
    # An older format keeps the bytecode's own weights apart from the source's.
    is_apart = any(name.startswith("bytecode/") for name in _records(reader))
    named = set() if is_apart else _texts(reader.get_record(BYTECODE) + reader.get_record(DATA))

    def is_read(name: str) -> bool:
        if name.startswith(_SHARED):
            return name.removeprefix(_SHARED) in named
        return not name.startswith(_UNREAD)

    return archive.rewritten(content, is_read)


def _texts(pickled: bytes) -> set[str]:
    """Return every text in the pickles: among them the names of the weights they refer to."""
    texts: set[str] = set()
    stream = io.BytesIO(pickled)
    while stream.tell() < len(pickled):
        texts |= {arg for _, arg, _ in pickletools.genops(stream) if isinstance(arg, str)}
    return texts


def _records(reader: Any) -> list[str]:
    names: list[str] = reader.get_all_records()
    return names


def record(path: Path, name: str) -> bytes | None:
    """Return one record of a file; None where it has none of that name."""
    reader = _core().PyTorchFileReader(str(path))
    return bytes(reader.get_record(name)) if name in _records(reader) else None


def operators(path: Path) -> tuple[str, ...]:
    """Return every operator the file calls, for a build of the runtime that has only those."""
    return tuple(sorted(_core()._get_model_ops_and_info(str(path))))


def bytecode(path: Path) -> int:
    """Return the version of a file's instructions."""
    return int(_core()._get_model_bytecode_version(str(path)))


def loaded(file: Path | bytes) -> "Predictor":
    """Return the file as a function from `[N, 3, H, W]` pictures to logits.

    Weights are packed for whichever engine is set at this moment.
    """
    import torch

    if isinstance(file, bytes):
        module = _core()._load_for_lite_interpreter_from_buffer(file, None)
    else:
        module = _core()._load_for_lite_interpreter(str(file), None)

    def predict(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = module.run_method("forward", (images,))
        return logits

    return predict


def _core() -> Any:
    import torch

    return torch._C
