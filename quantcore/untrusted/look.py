"""The inspection of an upload in a locked child: its kind, and the part of it that is kept."""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from quantcore.errors import RequestError
from quantcore.sandbox import progress_sender
from quantcore.untrusted.checks import WEIGHTS, check
from quantcore.untrusted.examine import examine
from quantcore.untrusted.examined import Examined
from quantcore.untrusted.pictures import CheckedPictures, check_pictures

PROGRAMS = ("torchscript", "exported_program", "onnx")
PICTURES = ("pictures", "zip")


@dataclass(frozen=True)
class Inspected:
    """The content of an upload: a model or pictures."""

    model: Examined | None = None
    images: CheckedPictures | None = None


def run_look_child(connection: Connection, path: Path, folder: Path, refusal: str) -> Inspected:
    """Return the content of a file, and write the part that is kept into the folder.

    Args:
        connection: to the parent, for progress.
        path: the file.
        folder: where to write.
        refusal: why no program may be run; empty where programs may.

    Raises:
        RequestError: it is refused; the sentences say why, and what to upload instead.
    """
    report = progress_sender(connection)
    report("looking at the file's structure", 0.05)
    sniffed = check(path)
    if sniffed.kind in PICTURES:
        return Inspected(images=check_pictures(path, folder, report))
    if sniffed.kind in PROGRAMS and refusal:
        raise RequestError(
            f"{refusal} So no {sniffed.title.removeprefix('a ')} is opened here.",
            "Upload the weights as a state dict or safetensors.",
        )
    report("reading the weights" if sniffed.kind in WEIGHTS else "trying the program", 0.3)
    return Inspected(model=examine(path, folder))
