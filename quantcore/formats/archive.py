"""Torch's zip archives of records, read and written by torch itself."""

import io
from collections.abc import Callable
from typing import Any

# Torch's writer makes these itself, alike for alike content.
_OWN = ("version", ".data/version", ".data/serialization_id", "byteorder")


def rewritten(content: bytes, is_kept: Callable[[str], bool]) -> bytes:
    """Return the archive with only the records whose name is kept."""
    import torch

    reader = torch._C.PyTorchFileReader(io.BytesIO(content))
    buffer = io.BytesIO()
    writer: Any = torch._C.PyTorchFileWriter(buffer)
    # It says which generation of operators is meant.
    writer.set_min_version(_version(reader))
    for name in reader.get_all_records():
        if name not in _OWN and is_kept(name):
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return buffer.getvalue()


def _version(reader: Any) -> int:
    name = ".data/version" if ".data/version" in reader.get_all_records() else "version"
    return int(reader.get_record(name))
