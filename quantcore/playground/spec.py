"""Requests and answers of the playground: plain frozen data."""

from dataclasses import dataclass, field

from quantcore import uploads
from quantcore.errors import RequestError
from quantcore.jobs import TaskView
from quantcore.schema import Guess, ImageSpec, VariantResult

MAX_BYTES = 20 * 10**6
UPLOAD_ANOTHER = "Upload a JPEG, PNG or WebP picture."

# A picture somebody uploaded, as its file's bytes, or the index of one in the evaluation set.
Picture = bytes | int
# A model, and the side of its pictures in px.
InputSpec = tuple[str, int]


@dataclass(frozen=True)
class PlaygroundSpec:
    """A picture and the variants to run on it.

    Attributes:
        rows: the variants, each asked through its file.
        images: of the comparison: where a picture named by its index is from.
    """

    rows: tuple[VariantResult, ...]
    images: ImageSpec
    picture: Picture = field(repr=False)

    @property
    def input_specs(self) -> tuple[InputSpec, ...]:
        """Return how the picture must be prepared, each way once."""
        return tuple(dict.fromkeys(input_spec(row) for row in self.rows))

    @property
    def is_untrusted(self) -> bool:
        """Return whether the picture was uploaded: only a sandboxed child may decode it."""
        return not isinstance(self.picture, int) or uploads.is_named(self.images.source)


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
class Answer:
    """What one variant says: its surest classes, and the milliseconds of this one call."""

    key: str
    guesses: tuple[Guess, ...]
    latency_ms: float


@dataclass(frozen=True)
class Unanswered:
    """A variant that could not run: reason and remedy."""

    key: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class PlaygroundView(TaskView):
    """The state of a playground run.

    Attributes:
        total: variants to ask.
        answers: those so far, in the order of the variants.
        seen: the picture, once it is read.
    """

    total: int
    answers: tuple[Answer | Unanswered, ...] = ()
    seen: Seen | None = None


def input_spec(row: VariantResult) -> InputSpec:
    """Return how a variant wants its pictures."""
    return row.model, row.image_size


def check(picture: Picture) -> None:
    """Refuse what cannot be a picture, by its size alone.

    Raises:
        RequestError: it is empty or too large; the sentences say what to upload.
    """
    if isinstance(picture, int):
        return
    if not picture:
        raise RequestError("This file is empty: it has 0 bytes.", UPLOAD_ANOTHER)
    if len(picture) > MAX_BYTES:
        raise RequestError(
            f"This file has {len(picture) / 1e6:.0f} MB; {MAX_BYTES / 1e6:.0f} MB is the most.",
            "Scale the picture down and upload it again.",
        )
