"""Pictures as the models see them, prepared by child processes.

A picture that somebody uploaded is decoded in a locked child of its own, which ends with it.
"""

import io
import resource
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from quantcore import uploads
from quantcore.errors import RequestError
from quantcore.images import PictureFile, load_images, prepare
from quantcore.models import ModelInfo, find
from quantcore.playground.spec import UPLOAD_ANOTHER, InputSpec, Picture, Seen
from quantcore.schema import ImageSpec, ModelSpec

FORMATS = ("JPEG", "PNG", "WEBP")
# What a JPEG is called whose camera put a second picture, for depth, behind the first.
STEREO = "MPO"
# What decoding a picture may take, torch's own included.
DECODER_MEMORY_BYTES = 3 * 10**9
SHOWN_PX = 320
_PNG = b"\x89PNG\r\n\x1a\n"

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Prepared:
    """A picture ready to be asked: normalised floats `[3, S, S]` for each input spec."""

    seen: Seen
    pixels: dict[InputSpec, Pixels]


@dataclass(frozen=True)
class PreparedMessage:
    """A `Prepared` as plain data, which is all that a locked child can send: bytes in base64."""

    shown: str
    by_model: str
    sides: tuple[int, int]
    label: str | None
    note: str
    pixels: tuple[tuple[str, int, str], ...]

    @classmethod
    def of(cls, prepared: Prepared) -> "PreparedMessage":
        """Return a picture in the form that a sandboxed child sends."""
        seen = prepared.seen
        pixels = (
            (model, size, _text(values.tobytes()))
            for (model, size), values in prepared.pixels.items()
        )
        pictures = _text(seen.shown), _text(seen.by_model)
        return cls(*pictures, seen.sides, seen.label, seen.note, tuple(pixels))

    def prepared(self, input_specs: tuple[InputSpec, ...]) -> Prepared:
        """Return the picture that was sent, if it has the requested form.

        Raises:
            ValueError: it is something else.
        """
        pixels = {
            (model, size): np.frombuffer(_bytes(text), np.float32).reshape(3, size, size)
            for model, size, text in self.pixels
        }
        if set(pixels) != set(input_specs):
            raise ValueError("The picture was prepared for others than asked.")
        shown, by_model = _bytes(self.shown), _bytes(self.by_model)
        return Prepared(Seen(shown, by_model, self.sides, self.label, self.note), pixels)


def _text(content: bytes) -> str:
    return b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)


def run_locked_prepare_child(
    _: Connection, picture: Picture, images: ImageSpec, input_specs: tuple[InputSpec, ...]
) -> PreparedMessage:
    """Return the result of `run_prepare_child` in the form that a sandboxed child sends."""
    return PreparedMessage.of(_prepared(picture, images, input_specs))


def run_thumbnails_child(
    _: Connection, images: ImageSpec, model: str, indices: Sequence[int], side: int
) -> list[str]:
    """Return pictures of an evaluation set as small PNG files in base64; `side` in px at most."""
    evaluation = load_images(images, find(ModelSpec(model))).evaluation
    return [_text(_png(_small(evaluation.thumbnail(index), side))) for index in indices]


def unpacked(thumbnails: Sequence[str], count: int) -> tuple[bytes, ...]:
    """Return the files that `run_thumbnails_child` sent.

    Raises:
        ValueError: it sent something else.
    """
    files = tuple(_bytes(text) for text in thumbnails)
    if len(files) != count or not all(file.startswith(_PNG) for file in files):
        raise ValueError("These are other pictures than asked for.")
    return files


def run_prepare_child(
    _: Connection, picture: Picture, images: ImageSpec, input_specs: tuple[InputSpec, ...]
) -> Prepared:
    """Return the picture as each model sees it.

    Raises:
        RequestError: it is no picture, a damaged one, of another format, or too large.
    """
    _limit_memory()
    return _prepared(picture, images, input_specs)


def _prepared(picture: Picture, images: ImageSpec, input_specs: tuple[InputSpec, ...]) -> Prepared:
    if isinstance(picture, int):
        return _of_evaluation(picture, images, input_specs)
    try:
        upright, note = _decoded(picture)
        pixels = {
            (model, size): prepare(upright, find(ModelSpec(model)), size)
            for model, size in input_specs
        }
        return Prepared(_seen(upright, input_specs[0], pixels, note=note), pixels)
    except MemoryError as error:
        raise RequestError(
            "This picture needs too much memory when it is unpacked.", "Scale it down."
        ) from error


def _limit_memory() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY or soft > DECODER_MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_DATA, (DECODER_MEMORY_BYTES, hard))


def _decoded(content: bytes) -> tuple[Image.Image, str]:
    """Return the picture upright, and a note on what of its file was left out."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            is_moving = picture.format != STEREO and getattr(picture, "is_animated", False)
        upright = PictureFile(PurePosixPath("This file"), lambda: content).open()
    except UnidentifiedImageError as error:
        raise RequestError(
            "This file is not a JPEG, PNG or WebP picture, whatever its name says.", UPLOAD_ANOTHER
        ) from error
    except RequestError as error:
        raise RequestError(
            error.reason, "Upload another picture, or scale this one down."
        ) from None
    # Each decoder has errors of its own for damaged files, and all of them mean the same.
    except Exception as error:
        raise RequestError("This picture is damaged and cannot be read.", UPLOAD_ANOTHER) from error
    return upright, "It is an animation; its first picture was asked." if is_moving else ""


def _of_evaluation(index: int, images: ImageSpec, input_specs: tuple[InputSpec, ...]) -> Prepared:
    pixels, picture, label = {}, None, None
    for model, size in input_specs:
        info = find(ModelSpec(model))
        evaluation = load_images(replace(images, image_size=size), info).evaluation
        if not 0 <= index < len(evaluation):
            raise RequestError(
                f"There is no picture {index + 1}: the set has {len(evaluation):,}.",
                "Choose one of those shown.",
            )
        if uploads.is_named(images.source):
            # As `tensors` does, without the seconds that importing torch takes.
            pixels[model, size] = prepare(evaluation.thumbnail(index), info, size)
        else:
            tensor = evaluation.pictures.tensors(evaluation.indices[index : index + 1])
            pixels[model, size] = np.ascontiguousarray(tensor[0].numpy())
        if picture is None:
            picture = evaluation.thumbnail(index)
            label = None if evaluation.labels is None else info.labels[evaluation.labels[index]]
    assert picture is not None
    return Prepared(_seen(picture, input_specs[0], pixels, label=label), pixels)


def _seen(
    picture: Image.Image,
    first: InputSpec,
    pixels: dict[InputSpec, Pixels],
    *,
    label: str | None = None,
    note: str = "",
) -> Seen:
    small = _small(picture, SHOWN_PX)
    by_model = _unnormalised(pixels[first], find(ModelSpec(first[0])))
    return Seen(_png(small), _png(by_model), picture.size, label, note)


def _small(picture: Image.Image, side: int) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    return small


def _unnormalised(pixels: Pixels, info: ModelInfo) -> Image.Image:
    scaled = pixels.transpose(1, 2, 0) * np.asarray(info.std) + np.asarray(info.mean)
    return Image.fromarray(np.rint(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
