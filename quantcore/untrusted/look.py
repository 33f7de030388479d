"""What a locked child is asked about an upload: what it is, and what is kept of it."""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from quantcore.errors import RequestError
from quantcore.sandbox import progress_sender
from quantcore.untrusted.checks import WEIGHTS, check
from quantcore.untrusted.examine import examine
from quantcore.untrusted.examined import Examined
from quantcore.untrusted.pictures import Looked, look_through

PROGRAMS = ("torchscript", "exported_program")
PICTURES = ("pictures", "zip")


@dataclass(frozen=True)
class Found:
    """What an upload is: a model or pictures."""

    model: Examined | None = None
    images: Looked | None = None


def run_look_child(connection: Connection, path: Path, folder: Path, refusal: str) -> Found:
    """Return what a file is, having written into the folder what is kept of it.

    Args:
        connection: to who asked, for progress.
        path: the file.
        folder: where to write.
        refusal: why no program may be run, if it may not.

    Raises:
        RequestError: it is refused; the sentences say why, and what to bring instead.
    """
    tell = progress_sender(connection)
    tell("looking at the file's structure", 0.05)
    sniffed = check(path)
    if sniffed.kind in PICTURES:
        return Found(images=look_through(path, folder, tell))
    if sniffed.kind in PROGRAMS and refusal:
        raise RequestError(
            f"{refusal} So no {sniffed.title.removeprefix('a ')} is opened here.",
            "Upload the weights as a state dict or safetensors.",
        )
    tell("reading the weights" if sniffed.kind in WEIGHTS else "trying the program", 0.3)
    return Found(model=examine(path, folder))
