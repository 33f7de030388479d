"""A comparison as display-ready text: one row per asked-for cell, with units and equal decimals."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from quantcore.decide import words
from quantcore.results import Comparison, Failure, VariantResult
from quantcore.specs import Variant

NONE = "–"


@dataclass(frozen=True)
class Row:
    """One asked-for cell as text with units; what is not known is an en dash.

    Attributes:
        measured: whether there are figures; else `reason` and `remedy` say why not.
        label: the variant in words, told apart from namesakes: `static on x86`.
    """

    key: str
    label: str
    workflow: str
    backend: str
    measured: bool
    settings: str
    size: str = NONE
    latency: str = NONE
    speedup: str = NONE
    top1: str = NONE
    against_float: str = NONE
    int8_share: str = NONE
    agreement: str = NONE
    sqnr: str = NONE
    memory: str = NONE
    conversion: str = NONE
    notes: str = ""
    reason: str = ""
    remedy: str = ""


def summary_rows(comparison: Comparison) -> tuple[Row, ...]:
    """Return one row per result, in the order asked for, then one per failure."""
    reference = float_row(comparison)
    names = words.labels(comparison.results)
    measured = (_measured(row, reference, names[row.key]) for row in comparison.results)
    return (*measured, *(_not_measured(failure) for failure in comparison.failures))


def float_row(comparison: Comparison) -> VariantResult | None:
    """Return the float32 result, if there is one."""
    return next((row for row in comparison.results if row.workflow == "float32"), None)


def _measured(row: VariantResult, reference: VariantResult | None, label: str) -> Row:
    return Row(
        key=row.key,
        label=label,
        workflow=row.workflow,
        backend=row.backend or NONE,
        measured=True,
        settings=_settings(row.settings),
        size=f"{row.artifact.size_bytes / words.MILLION:.2f} MB",
        latency=f"{row.latency_ms.p50:.2f} ms",
        speedup=_speedup(row),
        top1=_top1(row),
        against_float=_against(row, reference),
        int8_share=f"{100 * row.int8_share:.0f} %",
        agreement=NONE if row.agreement is None else f"{100 * row.agreement:.1f} %",
        sqnr=NONE if row.sqnr_db is None else f"{row.sqnr_db:.1f} dB",
        memory=f"{row.peak_memory_bytes / words.MILLION:.0f} MB",
        conversion=f"{row.conversion_s:.1f} s",
        notes=" ".join(_notes(row)),
    )


def _not_measured(failure: Failure) -> Row:
    return Row(
        key=failure.key,
        label=Variant(failure.workflow, failure.backend).label,
        workflow=failure.workflow,
        backend=failure.backend or NONE,
        measured=False,
        settings=_settings(failure.settings),
        reason=failure.reason,
        remedy=failure.remedy,
    )


def _settings(settings: Mapping[str, object]) -> str:
    pairs = sorted(settings.items())
    return ", ".join(f"{n.replace('_', ' ')} {words.setting_text(value)}" for n, value in pairs)


def _speedup(row: VariantResult) -> str:
    speed = row.speedup
    if row.workflow == "float32":
        return "1.0×"
    places = 1 if speed.low >= 1 else 2
    return f"{speed.ratio:.{places}f}× ({speed.low:.{places}f}-{speed.high:.{places}f})"


def _top1(row: VariantResult) -> str:
    if row.accuracy is None:
        return NONE
    top1, low, high = (100 * x for x in (row.accuracy.top1, row.accuracy.low, row.accuracy.high))
    return f"{top1:.1f} % ({low:.1f}-{high:.1f})"


def lost_points(row: VariantResult, reference: VariantResult | None) -> float | None:
    """Return the percentage points of top-1 below float32, if both are known."""
    if row.accuracy is None or reference is None or reference.accuracy is None:
        return None
    return 100 * (reference.accuracy.top1 - row.accuracy.top1)


def _against(row: VariantResult, reference: VariantResult | None) -> str:
    lost = lost_points(row, reference)
    if lost is None or row.workflow == "float32":
        return NONE
    # Adding zero turns the -0.0 that rounding may leave into 0.0.
    return f"{round(-lost, 1) + 0.0:+.1f} points"


def _notes(row: VariantResult) -> list[str]:
    unsettled = "The speed-up did not settle in the time given." if not row.speedup.settled else ""
    busy = "The machine was busy." if row.machine_busy else ""
    return [note for note in (*row.notes, unsettled, busy) if note]


def method(comparison: Comparison) -> str:
    """Return under what conditions the figures were measured, in one sentence."""
    measure, images = comparison.request.measure, comparison.request.images
    judged = max((row.fidelity_images for row in comparison.results), default=0)
    sizes = sorted({row.image_size for row in comparison.results})
    parts = [
        f"Measured {_day(comparison.created)} on {comparison.environment.sentence()}",
        f"{measure.threads} thread{'s' if measure.threads > 1 else ''}",
        f"batch {measure.batch}",
        *(f"{size} px" for size in sizes),
        f"{judged or images.evaluation_images:,} pictures",
    ]
    return ", ".join(parts) + "."


def _day(created: str) -> str:
    try:
        return f"{datetime.fromisoformat(created):%d %b %Y}".lstrip("0")
    except ValueError:
        return created
