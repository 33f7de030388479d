"""One picture asked of every variant's file: the question, the answers, the children that answer.

A picture somebody brings is decoded in a locked child of its own, which ends with it. Files are
kept loaded by readers, one child for each backend, since torch's quantized engine is global.
"""

import io
import resource
import time
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from quantcore import uploads
from quantcore.backends import runtime
from quantcore.engine import top_guesses
from quantcore.errors import QuantcoreError, RequestError
from quantcore.formats import Predictor
from quantcore.images import PictureFile, load_images, prepare
from quantcore.models import ModelInfo, find
from quantcore.schema import Guess, ImageSpec, ModelSpec, VariantResult

MAX_BYTES = 20 * 10**6
FORMATS = ("JPEG", "PNG", "WEBP")
# What a JPEG is called whose camera put a second picture, for depth, behind the first.
STEREO = "MPO"
# TorchScript looks at its first calls to make the later ones fast.
WARM_UP_CALLS = 3
# Bytes of files that one reader keeps loaded; the one used longest ago goes first.
KEPT_BYTES = 4 * 10**8
# What decoding a picture may take, torch's own included.
DECODER_MEMORY_BYTES = 3 * 10**9
SHOWN_PX = 320
_PNG = b"\x89PNG\r\n\x1a\n"
BRING_ANOTHER = "Bring a JPEG, PNG or WebP picture."
EMPTY_FILE = RequestError("This file is empty: it has 0 bytes.", BRING_ANOTHER)

Pixels = NDArray[np.float32]
# A picture somebody brought, as its file's bytes, or the place of one in the evaluation set.
Picture = bytes | int
# The model that looks, and the side of its pictures in px.
InputSpec = tuple[str, int]
TrialState = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class TrialSpec:
    """Which picture is asked of which variants.

    Attributes:
        rows: the variants, each asked through its file.
        images: of the comparison: where a picture named by its place is from.
    """

    rows: tuple[VariantResult, ...]
    images: ImageSpec
    picture: Picture = field(repr=False)

    @property
    def input_specs(self) -> tuple[InputSpec, ...]:
        """Return how the picture must be prepared, each way once."""
        return tuple(dict.fromkeys(input_spec(row) for row in self.rows))


@dataclass(frozen=True)
class Seen:
    """A picture as people look at it and as the model does, both as PNG files.

    Attributes:
        sides: width and height of the picture in px.
        label: its class; None where nobody knows.
        note: what was done to it that its owner would not expect, in a sentence, or nothing.
    """

    shown: bytes
    by_model: bytes
    sides: tuple[int, int]
    label: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Prepared:
    """A picture ready to be asked: normalised floats `[3, S, S]` for each input spec."""

    seen: Seen
    pixels: dict[InputSpec, Pixels]


@dataclass(frozen=True)
class Told:
    """A `Prepared` as plain data, which is all that a locked child can send: bytes in base64."""

    shown: str
    by_model: str
    sides: tuple[int, int]
    label: str | None
    note: str
    pixels: tuple[tuple[str, int, str], ...]

    @classmethod
    def of(cls, prepared: Prepared) -> "Told":
        """Return what a locked child sends."""
        seen = prepared.seen
        pixels = (
            (model, size, _text(values.tobytes()))
            for (model, size), values in prepared.pixels.items()
        )
        pictures = _text(seen.shown), _text(seen.by_model)
        return cls(*pictures, seen.sides, seen.label, seen.note, tuple(pixels))

    def prepared(self, input_specs: tuple[InputSpec, ...]) -> Prepared:
        """Return what was sent, if it is what was asked for.

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


@dataclass(frozen=True)
class Answer:
    """What one variant says: its surest classes, and the milliseconds of this one call."""

    key: str
    guesses: tuple[Guess, ...]
    latency_ms: float


@dataclass(frozen=True)
class Unanswered:
    """A variant that could not be asked: why, and what to do."""

    key: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class TrialView:
    """Where a trial stands.

    Attributes:
        stage: what it is at, in plain words.
        total: variants to ask.
        answers: those so far, in the order of the variants.
        seen: the picture, once it is read.
        problem: why there are no answers at all.
    """

    state: TrialState
    stage: str
    total: int
    answers: tuple[Answer | Unanswered, ...] = ()
    seen: Seen | None = None
    problem: QuantcoreError | None = None

    @property
    def is_open(self) -> bool:
        """Return whether answers are still to come."""
        return self.state in ("waiting", "running")


@dataclass(frozen=True)
class Question:
    """One file and the picture it is asked: `[3, S, S]`, normalised."""

    path: Path
    sha256: str
    size_bytes: int
    threads: int
    model: str
    pixels: Pixels


def input_spec(row: VariantResult) -> InputSpec:
    """Return how a variant wants its pictures."""
    return row.model, row.image_size


def check(picture: Picture) -> None:
    """Refuse what cannot be a picture, by its size alone.

    Raises:
        RequestError: it is empty or too large; the sentences say what to bring.
    """
    if isinstance(picture, int):
        return
    if not picture:
        raise EMPTY_FILE
    if len(picture) > MAX_BYTES:
        raise RequestError(
            f"This file has {len(picture) / 1e6:.0f} MB; {MAX_BYTES / 1e6:.0f} MB is the most.",
            "Scale the picture down and bring it again.",
        )


def is_brought(picture: Picture, images: ImageSpec) -> bool:
    """Return whether a picture is somebody's own, which only a locked child may decode."""
    return not isinstance(picture, int) or uploads.is_named(images.source)


def run_told_child(
    _: Connection, picture: Picture, images: ImageSpec, input_specs: tuple[InputSpec, ...]
) -> Told:
    """Return what `run_prepare_child` does, as a locked child can send it; its limits are set."""
    return Told.of(_prepared(picture, images, input_specs))


def run_thumbnails_child(
    _: Connection, images: ImageSpec, model: str, places: Sequence[int], side: int
) -> list[str]:
    """Return pictures of an evaluation set as small PNG files in base64; `side` in px at most."""
    evaluation = load_images(images, find(ModelSpec(model))).evaluation
    return [_text(_png(_small(evaluation.thumbnail(place), side))) for place in places]


def unpacked(thumbnails: Sequence[str], count: int) -> tuple[bytes, ...]:
    """Return the files that `run_thumbnails_child` sent.

    Raises:
        ValueError: it sent something else.
    """
    found = tuple(_bytes(text) for text in thumbnails)
    if len(found) != count or not all(each.startswith(_PNG) for each in found):
        raise ValueError("These are other pictures than asked for.")
    return found


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
            "This file is not a JPEG, PNG or WebP picture, whatever its name says.", BRING_ANOTHER
        ) from error
    except RequestError as error:
        raise RequestError(error.reason, "Bring another picture, or scale this one down.") from None
    # Each decoder has errors of its own for damaged files, and all of them mean the same.
    except Exception as error:
        raise RequestError("This picture is damaged and cannot be read.", BRING_ANOTHER) from error
    return upright, "It is an animation; its first picture was asked." if is_moving else ""


def _of_evaluation(place: int, images: ImageSpec, input_specs: tuple[InputSpec, ...]) -> Prepared:
    pixels, picture, label = {}, None, None
    for model, size in input_specs:
        info = find(ModelSpec(model))
        evaluation = load_images(replace(images, image_size=size), info).evaluation
        if not 0 <= place < len(evaluation):
            raise RequestError(
                f"There is no picture {place + 1}: the set has {len(evaluation):,}.",
                "Choose one of those shown.",
            )
        if uploads.is_named(images.source):
            # As `tensors` does, without the seconds that importing torch takes.
            pixels[model, size] = prepare(evaluation.thumbnail(place), info, size)
        else:
            tensor = evaluation.pictures.tensors(evaluation.indices[place : place + 1])
            pixels[model, size] = np.ascontiguousarray(tensor[0].numpy())
        if picture is None:
            picture = evaluation.thumbnail(place)
            label = None if evaluation.labels is None else info.labels[evaluation.labels[place]]
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


def run_reader_child(connection: Connection, backend: str | None) -> None:
    """Answer every `Question` that comes with guesses and milliseconds, until it is killed.

    Raises:
        Exception: a file does not load or does not run; with that the reader ends.
    """
    kept: OrderedDict[str, tuple[Predictor, int]] = OrderedDict()
    warm: set[tuple[str, int]] = set()
    while True:
        question: Question = connection.recv()
        connection.send(_answered(question, kept, warm, runtime(backend).load))


def _answered(
    question: Question,
    kept: OrderedDict[str, tuple[Predictor, int]],
    warm: set[tuple[str, int]],
    load: Callable[[Path, int], Predictor],
) -> tuple[tuple[Guess, ...], float]:
    import torch

    if torch.get_num_threads() != question.threads:
        torch.set_num_threads(question.threads)
    predict = _loaded(question, kept, warm, load)
    # In the order of `[N, C, H, W]`, as when the median was measured.
    images = torch.from_numpy(question.pixels)[None]
    shape = question.sha256, images.shape[-1]
    if shape not in warm:
        for _ in range(WARM_UP_CALLS):
            predict(images)
        warm.add(shape)
    began = time.perf_counter()
    logits = predict(images)
    latency_ms = 1_000 * (time.perf_counter() - began)
    return guesses(logits[0].double().numpy(), question.model), latency_ms


def _loaded(
    question: Question,
    kept: OrderedDict[str, tuple[Predictor, int]],
    warm: set[tuple[str, int]],
    load: Callable[[Path, int], Predictor],
) -> Predictor:
    """Return the file, loaded before or now; others are let go where all would be too large."""
    sha256 = question.sha256
    if sha256 not in kept:
        while kept and sum(size for _, size in kept.values()) + question.size_bytes > KEPT_BYTES:
            gone, _ = kept.popitem(last=False)
            warm.difference_update([shape for shape in warm if shape[0] == gone])
        kept[sha256] = load(question.path, question.threads), question.size_bytes
    kept.move_to_end(sha256)
    return kept[sha256][0]


def guesses(logits: NDArray[Any], model: str) -> tuple[Guess, ...]:
    """Return the classes that logits `[classes]` name first, surest first."""
    return top_guesses(logits, find(ModelSpec(model)).labels)
