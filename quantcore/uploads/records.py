"""The record of an upload: its owner, how long it stays, and what was recognised in it."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from pydantic import TypeAdapter

PREFIX = "upload/"
Form = Literal["state_dict", "torchscript", "exported_program", "onnx"]
Channels = Literal["RGB", "BGR", "grey"]


@dataclass(frozen=True)
class UploadedModel:
    """A model that was recognised, and how its pictures are prepared.

    Attributes:
        form: a `state_dict` is numbers alone, which a torchvision architecture is built around.
            The others are programs, and only ever run in the sandboxed worker.
        architecture: as the catalogue lists it, `torchvision/resnet18`; None for a program.
        classes: width of the logits.
        labels: class names, as many as `classes`.
        image_size: side of the square it sees, px.
        resize_size: shorter side of the picture before the square is cut out, px.
        mean: of the three channels, of pixels in 0 to 1.
        std: of the three channels, of pixels in 0 to 1.
        channels: the order in which it takes them, or the same grey in all three.
        parameters: numbers in its weights.
        dynamic_layers: how many layers of each type dynamic quantization would convert, by type.
        weights: SHA-256 of the file that is built from: `weights.safetensors`, `model.pt` or
            `model.onnx`.
        notes: what its owner should know, in sentences: what was missing, left over, or changed.
        in_8_bits: it was quantized before it came, so it is measured as it is.
    """

    form: Form
    architecture: str | None
    classes: int
    labels: tuple[str, ...]
    image_size: int
    resize_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parameters: int
    weights: str
    channels: Channels = "RGB"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    dynamic_layers: tuple[tuple[str, int], ...] = ()
    float_attention: bool = False
    notes: tuple[str, ...] = ()
    in_8_bits: bool = False

    @property
    def is_program(self) -> bool:
        """Return whether running it runs its sender's instructions."""
        return self.form != "state_dict"


@dataclass(frozen=True)
class UploadedImages:
    """Pictures that were looked through.

    Attributes:
        count: pictures that can be read.
        classes: class names with how many pictures each; empty where there are no labels.
        labels_of: the model's label for a class, where its owner said which; by class.
        warnings: what may spoil a measurement, in sentences: too few, unequal, twice the same.
    """

    count: int
    classes: tuple[tuple[str, int], ...] = ()
    labels_of: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Return whether the pictures say what they show."""
        return bool(self.classes)


@dataclass(frozen=True)
class Upload:
    """One upload.

    Attributes:
        token: names it; who does not have it cannot guess it.
        owner: the visitor who uploaded it; empty for the command line.
        filename: as its owner called it, which is only ever shown.
        size_bytes: of everything in its folder when it was read.
        created_s: seconds since 1970.
        expires_s: when it goes, seconds since 1970.
        model: what was recognised, where it is a model.
        images: what was recognised, where it is pictures.
        content: SHA-256 of the file as it was uploaded.
    """

    token: str
    owner: str
    filename: str
    size_bytes: int
    created_s: float
    expires_s: float
    model: UploadedModel | None = None
    images: UploadedImages | None = None
    content: str = ""

    @property
    def name(self) -> str:
        """Return the name of the upload as a model or a source of pictures."""
        return PREFIX + self.token

    def to_json(self) -> bytes:
        """Return the record as JSON."""
        return _UPLOAD.dump_json(self)

    @classmethod
    def from_json(cls, content: bytes) -> "Upload":
        """Return the record that `to_json` wrote.

        Raises:
            ValueError: it is not such a record.
        """
        return _UPLOAD.validate_json(content)


_UPLOAD = TypeAdapter(Upload)


def title(upload: Upload) -> str:
    """Return an upload as people name it: its file, without folder and ending."""
    return PurePosixPath(upload.filename.replace("\\", "/")).stem or "upload"


def placeholders(classes: int) -> tuple[str, ...]:
    """Return names for classes that nobody has named yet: `class 0`, `class 1`, …."""
    return tuple(f"class {index}" for index in range(classes))
