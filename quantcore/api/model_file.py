"""A model file named on the command line: uploaded and inspected in the same sandbox."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from quantcore.errors import RequestError
from quantcore.schema import SOURCES, ModelSpec, file_digest
from quantcore.service import Service
from quantcore.uploads import Upload

SUFFIXES = (".pt", ".pth", ".pt2", ".bin", ".safetensors", ".onnx")
# What a model that came with its own code is called.
FORMS = {
    "torchscript": "a program (TorchScript)",
    "exported_program": "an exported program",
    "onnx": "an ONNX model",
}
POLL_S = 0.2
CHUNK = 2**20


def is_file(name: str) -> bool:
    """Return whether a model is named by a file."""
    return Path(name).is_file() or name.startswith((".", "/", "~")) or _ends_like_one(name)


def _ends_like_one(name: str) -> bool:
    is_named = name.partition("/")[0] in SOURCES
    return not is_named and Path(name).suffix in SUFFIXES


def model(
    service: Service,
    name: str,
    owner: str,
    labels: Path | None,
    tell: Callable[[str], object],
) -> ModelSpec:
    """Return the model in a file, inspected in the sandboxed worker unless it was before.

    Args:
        service: whose uploads it joins.
        name: path of the file.
        owner: whose it is.
        labels: file with a class name a line, or a JSON list of them; None keeps the file's own.
        tell: called with each stage, and with what was recognised.

    Raises:
        RequestError: it is no model that can be taken, or the labels do not fit it.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise RequestError(f"There is no file {name!r}.", "Check the path.")
    upload = _uploaded_before(service, path, owner) or _examined(service, path, owner, tell)
    if labels is not None:
        upload = _labelled(service, upload, labels)
    return ModelSpec(upload.name)


def _uploaded_before(service: Service, path: Path, owner: str) -> Upload | None:
    content = file_digest(path)
    mine = (each for each in service.uploads.of(owner) if each.content == content)
    return next((each for each in mine if each.model is not None), None)


def _examined(service: Service, path: Path, owner: str, tell: Callable[[str], object]) -> Upload:
    upload = service.uploads.receive(path.name, _chunks(path), owner)
    service.inspections.start(upload)
    stage = ""
    try:
        view = service.inspections.wait(upload.token, POLL_S)
        while view.is_open:
            if view.stage != stage:
                stage = view.stage
                tell(stage)
            view = service.inspections.wait(upload.token, POLL_S)
    except KeyboardInterrupt:
        service.inspections.cancel(upload.token)
        raise
    if view.problem is not None:
        raise RequestError(view.problem.reason, view.problem.remedy)
    recognised = view.upload.model
    if recognised is None:
        service.delete_upload(upload.token)
        raise RequestError(f"{path.name} is not a model.", "Name pictures with --images.")
    what = recognised.architecture or FORMS[recognised.form]
    tell(f"{path.name}: {what}, {recognised.classes} classes, {recognised.image_size} px")
    for note in recognised.notes:
        tell(note)
    return view.upload


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _labelled(service: Service, upload: Upload, path: Path) -> Upload:
    assert upload.model is not None
    names = read_labels(path)
    if len(names) != upload.model.classes:
        raise RequestError(
            f"{path} names {len(names)} classes, and the model has {upload.model.classes}.",
            "Write one name a line, in the order of the model's outputs.",
        )
    return service.uploads.describe(upload.token, model=replace(upload.model, labels=names))


def read_labels(path: Path) -> tuple[str, ...]:
    """Return class names from a file: one a line, or a JSON list.

    Raises:
        RequestError: it cannot be read as either.
    """
    try:
        text = path.read_text(encoding="utf-8")
        names = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{path} cannot be read as class names ({error}).", "Write one name a line."
        ) from error
    return tuple(str(name).strip() for name in names if str(name).strip())
