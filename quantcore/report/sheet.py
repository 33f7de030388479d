"""A comparison as CSV, for spreadsheets and scripts."""

import csv
import io
import json
from collections.abc import Callable

from quantcore.decide import references
from quantcore.draw import tuning
from quantcore.report.rows import lost_points
from quantcore.schema import Accuracy, Comparison, Failure, VariantResult

# What a spreadsheet takes for the start of a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

Cell = str | int | float | bool | None

# Name with its unit, and where the figure stands.
FIGURES: dict[str, Callable[[VariantResult], Cell]] = {
    "size_bytes": lambda row: row.artifact.size_bytes,
    "state_dict_bytes": lambda row: row.state_dict_bytes,
    "latency_p50_ms": lambda row: row.latency_ms.p50,
    "latency_low_ms": lambda row: row.latency_ms.low or None,
    "latency_high_ms": lambda row: row.latency_ms.high or None,
    "latency_p90_ms": lambda row: row.latency_ms.p90,
    "speedup_ratio": lambda row: row.speedup.ratio if row.has_speedup else None,
    "speedup_low": lambda row: row.speedup.low if row.has_speedup else None,
    "speedup_high": lambda row: row.speedup.high if row.has_speedup else None,
    "latency_starts": lambda row: row.latency_ms.starts,
    "speedup_settled": lambda row: row.speedup.settled if row.has_speedup else None,
    "agreement_share": lambda row: row.agreement,
    "sqnr_db": lambda row: row.sqnr_db,
    "fidelity_images": lambda row: row.fidelity_images,
    "int8_share": lambda row: row.int8_share,
    "peak_memory_bytes": lambda row: row.peak_memory_bytes,
    "memory_baseline_bytes": lambda row: row.memory_baseline_bytes,
    "load_ms": lambda row: row.cold_start.load_ms if row.cold_start else None,
    "first_answer_ms": lambda row: row.cold_start.first_answer_ms if row.cold_start else None,
    "machine_busy": lambda row: row.machine_busy,
    "conversion_s": lambda row: row.conversion_s,
    "threads": lambda row: row.threads,
    "batch_images": lambda row: row.batch,
    "image_size_px": lambda row: row.image_size,
    "cached": lambda row: row.cached,
    "artifact_format": lambda row: row.artifact.format,
    "artifact_sha256": lambda row: row.artifact.sha256,
    "notes": lambda row: " ".join(tuning.remarks(row)),
}
ACCURACY: dict[str, Callable[[Accuracy], Cell]] = {
    "top1_share": lambda accuracy: accuracy.top1,
    "top1_low": lambda accuracy: accuracy.low,
    "top1_high": lambda accuracy: accuracy.high,
    "accuracy_images": lambda accuracy: accuracy.images,
}
WHAT = ("model", "workflow", "backend", "settings", "outcome")
WHY = ("reason", "remedy")
SOURCE = ("key", "created", "cpu", "target")
COLUMNS = (*WHAT, *ACCURACY, "accuracy_lost_points", *FIGURES, *WHY, *SOURCE)


def to_records(comparison: Comparison) -> list[dict[str, Cell]]:
    """Return a record per result and per failure, by names of `COLUMNS`, which carry the units."""
    own = references(comparison.results)
    records = [
        _shared(row, comparison) | _figures(row, own.get(row.key)) for row in comparison.results
    ]
    return records + [_shared(row, comparison) | _why(row) for row in comparison.failures]


def to_csv(comparison: Comparison) -> str:
    """Return a line per result and per failure, under a header.

    Text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for record in to_records(comparison):
        writer.writerow({name: _safe(value) for name, value in record.items()})
    return out.getvalue()


def _safe(value: Cell) -> Cell:
    dangerous = isinstance(value, str) and value.startswith(FORMULA_STARTS)
    return f"'{value}" if dangerous else value


def _shared(row: VariantResult | Failure, comparison: Comparison) -> dict[str, Cell]:
    return {
        "model": row.model,
        "workflow": row.workflow,
        "backend": row.backend,
        "settings": json.dumps(row.settings, sort_keys=True),
        "outcome": _outcome(row),
        "key": row.key,
        "created": comparison.created,
        "cpu": comparison.environment.cpu,
        "target": comparison.request.target,
    }


def _outcome(row: VariantResult | Failure) -> str:
    if isinstance(row, VariantResult):
        return "measured"
    return "not possible" if row.refused else "failed"


def _why(failure: Failure) -> dict[str, Cell]:
    return {
        "reason": failure.reason,
        "remedy": failure.remedy,
        "threads": failure.threads,
        "batch_images": failure.batch,
        "image_size_px": failure.image_size,
    }


def _figures(row: VariantResult, reference: VariantResult | None) -> dict[str, Cell]:
    accuracy = row.accuracy
    accuracies = {name: figure(accuracy) for name, figure in ACCURACY.items()} if accuracy else {}
    figures = {name: figure(row) for name, figure in FIGURES.items()}
    return accuracies | figures | {"accuracy_lost_points": lost_points(row, reference)}
