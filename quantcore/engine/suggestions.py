"""What a variant might gain from: the same workflow with one setting changed.

Each workflow's settings are listed in `CHANGES`, best guess first. Needs no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from quantcore.backends import runtime
from quantcore.engine.grid import refusals
from quantcore.schema import CompareRequest, Environment, Setting, Variant, VariantResult
from quantcore.workflows import settings_of, workflow

MAX_CALIBRATION_IMAGES = 1_024
MAX_STEPS = 2_000
# Lost points from which it is worth a word that layers can be kept in float.
WORTH_KEEPING_POINTS = 0.5
# The way out where 8 bits lose too much.
SIXTEEN_BITS = 16
SIXTEEN_BITS_WORDS = "16 bits instead of 8: half float32’s size, nothing to calibrate"


@dataclass(frozen=True)
class Suggestion:
    """A variant that differs in one setting, and that difference in words."""

    variant: Variant
    sentence: str


@dataclass(frozen=True)
class Change:
    """Another value of a setting, given the present one and the backend's name.

    `for_losses` is a change that is only worth it where accuracy is lost.
    """

    setting: str
    change: Callable[[Setting, str | None], Setting]
    words: Callable[[Setting, Setting], str]
    for_losses: bool = False


def _more_images(now: Setting, _: str | None) -> Setting:
    return max(_number(now), min(4 * _number(now), MAX_CALIBRATION_IMAGES))


def _more_steps(now: Setting, _: str | None) -> Setting:
    return max(_number(now), min(3 * _number(now), MAX_STEPS))


def _other_observer(now: Setting, backend: str | None) -> Setting:
    return "minmax" if (now or runtime(backend).observer) == "histogram" else "histogram"


def _best_observer(now: Setting, backend: str | None) -> Setting:
    return now if (now or runtime(backend).observer) == "auto" else "auto"


def _other_scales(now: Setting, backend: str | None) -> Setting:
    return not (runtime(backend).per_channel if now is None else now)


def _number(value: Setting) -> int:
    assert isinstance(value, int)
    return value


_SCALES = Change(
    "per_channel",
    _other_scales,
    lambda _, new: f"one weight scale for each {'channel' if new else 'layer'}",
)
CHANGES: Mapping[str, tuple[Change, ...]] = {
    "static": (
        Change(
            "calibration_images",
            _more_images,
            lambda old, new: f"{new:,} calibration images instead of {old:,}",
        ),
        Change(
            "observer",
            _other_observer,
            lambda _, new: (
                "ranges from a histogram, which ignores rare outliers"
                if new == "histogram"
                else "ranges from minimum and maximum, which keep rare outliers"
            ),
        ),
        Change(
            "observer",
            _best_observer,
            lambda _, __: "ranges found the way that answers nearest to float32",
        ),
        Change(
            "keep_float",
            lambda now, _: now or "auto",
            lambda _, __: "the layers that hurt most kept in float32",
            for_losses=True,
        ),
        _SCALES,
    ),
    "qat": (
        Change("steps", _more_steps, lambda old, new: f"{new:,} training steps instead of {old:,}"),
        _SCALES,
    ),
    "dynamic": (
        Change(
            "dtype",
            lambda now, _: "float16" if now == "qint8" else "qint8",
            lambda _, new: (
                "16-bit float weights, which round less"
                if new == "float16"
                else "8-bit weights, which take half the space"
            ),
        ),
    ),
}


def suggested_variants(
    row: VariantResult,
    request: CompareRequest,
    environment: Environment | None = None,
    lost_points: float | None = None,
) -> tuple[Suggestion, ...]:
    """Return the variants one step from a measured one that can be made.

    Args:
        row: what was measured.
        request: how it was asked for: its model and pictures.
        environment: the measuring machine's; None takes this one's.
        lost_points: of accuracy against float32; None where that is unknown.

    Raises:
        RequestError: the pictures cannot be read any more.
    """
    options = workflow(row.workflow, _changed(row))
    candidates = []
    for step in CHANGES.get(row.workflow, ()):
        if step.for_losses and (lost_points is None or lost_points < WORTH_KEEPING_POINTS):
            continue
        now = getattr(options, step.setting)
        new = step.change(now, row.backend)
        if new != now:
            settings = {**_changed(row), step.setting: new}
            variant = Variant(row.workflow, row.backend, tuple(sorted(settings.items())))
            candidates.append(Suggestion(variant, step.words(now, new)))
    if row.workflow in CHANGES and options.bits < SIXTEEN_BITS:
        candidates.append(Suggestion(Variant("half", row.backend), SIXTEEN_BITS_WORDS))
    candidate_request = replace(request, variants=tuple(each.variant for each in candidates))
    refused = refusals(candidate_request, environment)
    return tuple(each for each in candidates if each.variant not in refused)


def variant_of(row: VariantResult) -> Variant:
    """Return the variant a row is of, with the settings that are not its workflow's defaults."""
    if row.is_float:
        return Variant(row.workflow, row.backend)
    return Variant(row.workflow, row.backend, tuple(sorted(_changed(row).items())))


def _changed(row: VariantResult) -> dict[str, Setting]:
    usual, plain = settings_of(Variant(row.workflow, row.backend)), workflow(row.workflow, {})
    return {
        name: value
        for name, value in row.settings.items()
        if value not in (usual.get(name, value), getattr(plain, name, value))
    }
