"""The record of a model that a child examined, and its file at the place where it is kept.

The child may have been taken over by the file, so all that it says is held against limits first.
"""

from pathlib import Path

from quantcore.errors import RequestError
from quantcore.models import catalogue
from quantcore.models import uploads as model_uploads
from quantcore.sandbox import not_an_answer, outbox
from quantcore.schema import file_digest
from quantcore.untrusted.checks import check
from quantcore.untrusted.examined import Examined
from quantcore.uploads import UploadedModel, placeholders

CHANNELS = 3
# As for every model: see `ImageSpec`.
LARGEST_PX = 1_024
# ImageNet's largest edition has 21,841; a program may claim any number, and each gets a name.
MIN_CLASSES, MAX_CLASSES = 2, 25_000
MAX_PX = 10_000
MAX_NUMBERS = 10**12
# Of the means and standard deviations of pixels from 0 to 1.
MAX_RANGE = 1_000.0
MAX_NOTES = 100
LONGEST_TEXT = 5_000
# How torchvision prepares pictures for most of its models; assumed for programs.
LIKE = "torchvision/resnet18"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
USUAL_RESIZE = 256 / 224


def keep_model(
    examined: Examined, folder: Path, upload_folder: Path
) -> tuple[UploadedModel, tuple[str, ...]]:
    """Move what a child wrote to the upload's folder; return the record and the architectures.

    Raises:
        RequestError: the model cannot be compared here.
        ChildDiedError: what the child wrote is not what it said.
    """
    file = folder / examined.file
    if examined.file != model_uploads.FILES[examined.kind] or not outbox.is_plain(file):
        raise not_an_answer()
    if examined.outputs > MAX_CLASSES:
        raise RequestError(
            f"This model tells {examined.outputs:,} classes apart, and {MAX_CLASSES:,} is the most "
            "that is compared here.",
            "Upload a classifier of fewer classes.",
        )
    if not _is_within_measure(examined):
        raise not_an_answer()
    if examined.kind == "state_dict":
        # The child that wrote it may have been taken over by a hostile file, so it is checked.
        check(file)
        model = _of_weights(examined, file)
    else:
        model = _of_program(examined, file)
    file.replace(upload_folder / examined.file)
    return model, tuple(f"torchvision/{each.architecture}" for each in examined.candidates)


def _is_within_measure(examined: Examined) -> bool:
    """Return whether a child's figures and texts are such as any model's: it chooses what it says.

    They are written down and drawn on every page that shows the model.
    """
    texts = (*examined.labels, *examined.notes, *examined.dynamic_layers)
    figures = examined.parameters, *examined.dynamic_layers.values()
    ranges = (examined.mean, -MAX_RANGE), (examined.std, 0.0)
    return (
        examined.outputs >= MIN_CLASSES
        and 1 <= examined.image_size <= MAX_PX
        and all(0 <= each <= MAX_NUMBERS for each in figures)
        and len(examined.labels) <= MAX_CLASSES
        and len(examined.notes) <= MAX_NOTES
        and len(examined.dynamic_layers) <= MAX_NOTES
        and all(len(each) <= LONGEST_TEXT for each in texts)
        and all(_are_channels(each, above) for each, above in ranges)
    )


def _are_channels(numbers: tuple[float, ...], above: float) -> bool:
    """Return whether numbers are one for each channel and within measure, or none."""
    return len(numbers) in (0, CHANNELS) and all(above < each < MAX_RANGE for each in numbers)


def _of_weights(examined: Examined, file: Path) -> UploadedModel:
    best = examined.candidates[0]
    info = catalogue().get(f"torchvision/{best.architecture}")
    if info is None or examined.outputs != best.classes:
        raise not_an_answer()
    size = best.image_size
    return UploadedModel(
        form="state_dict",
        architecture=info.name,
        classes=examined.outputs,
        labels=_labels(examined),
        image_size=size,
        resize_size=round(info.resize_size * size / info.image_size),
        mean=info.mean,
        std=info.std,
        parameters=examined.parameters,
        weights=file_digest(file),
        interpolation=info.interpolation,
        dynamic_layers=tuple(sorted(info.dynamic_layers.items())),
        float_attention=info.float_attention,
        notes=examined.notes,
    )


def _of_program(examined: Examined, file: Path) -> UploadedModel:
    if examined.channels != CHANNELS:
        raise RequestError(
            f"This model takes pictures of {examined.channels} channel, and here pictures have "
            f"{CHANNELS}.",
            "Wrap it in a module that takes three channels and hands on their mean, and save that.",
        )
    if not examined.any_batch:
        raise RequestError(
            "This model takes one picture at a time, and here it is asked several at once.",
            "Trace it with two pictures as the example, or export it with a dynamic batch "
            '(torch.onnx.export: dynamic_axes={"images": {0: "pictures"}}).',
        )
    if examined.image_size > LARGEST_PX:
        raise RequestError(
            f"This model takes pictures of {examined.image_size:,} px, and {LARGEST_PX:,} is the "
            "most here.",
            "Export it for smaller pictures.",
        )
    size = examined.image_size
    return UploadedModel(
        form=examined.kind,
        architecture=None,
        classes=examined.outputs,
        labels=_labels(examined),
        image_size=size,
        resize_size=round(size * USUAL_RESIZE),
        mean=examined.mean or IMAGENET_MEAN,
        std=examined.std or IMAGENET_STD,
        parameters=examined.parameters,
        weights=file_digest(file),
        dynamic_layers=tuple(sorted(examined.dynamic_layers.items())),
        notes=examined.notes,
        in_8_bits=examined.in_8_bits,
    )


def _labels(examined: Examined) -> tuple[str, ...]:
    """Return the file's own class names, ImageNet's for a thousand classes, or numbers."""
    if len(examined.labels) == examined.outputs:
        return examined.labels
    published = catalogue()[LIKE].labels
    if examined.outputs == len(published):
        return published
    return placeholders(examined.outputs)
