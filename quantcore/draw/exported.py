"""Exported files beside the variants they were made from: as rows to draw, and as a table."""

from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from quantcore import wording
from quantcore.draw import marks, titles
from quantcore.draw.templating import render
from quantcore.formats import FORMATS
from quantcore.schema import Latency, VariantResult, VerificationReport
from quantcore.wording import NONE

HEADINGS = ("File", "Size", "Zipped", "Latency", "Top-1", "Verification")


def named(pairs: Sequence[tuple[VariantResult, VerificationReport]]) -> dict[str, VariantResult]:
    """Return the files' figures by their names: `Static on x86 as ONNX`.

    Args:
        pairs: each variant that was measured, with what was verified of a file made from it. A file
            that was not timed, or failed its verification, is left out.
    """
    names = titles.names([row for row, _ in pairs])
    return {
        f"{name} as {FORMATS[report.spec.format].title}": row
        for name, (base, report) in zip(names, pairs, strict=True)
        if (row := _row(base, report)) is not None
    }


def _row(base: VariantResult, report: VerificationReport) -> VariantResult | None:
    """Return the variant's row with the file's figures in it; None where it is not drawn."""
    latency = _latency(base, report)
    if latency is None or not report.passed:
        return None
    ratio = base.speedup.ratio * base.latency_ms.p50 / latency.p50
    return replace(
        base,
        key=f"{base.key} {report.spec.format}",
        artifact=report.exported.artifact,
        latency_ms=latency,
        speedup=replace(base.speedup, ratio=ratio),
        accuracy=report.accuracy,
        agreement=None,
        peak_memory_bytes=report.peak_memory_bytes,
    )


def _latency(base: VariantResult, report: VerificationReport) -> Latency | None:
    """Return a file's milliseconds as the comparison has them; None where it was not timed.

    File and variant took turns when the file was made, at another moment than the comparison: what
    is true at both is their ratio.
    """
    timed = report.latency[0] if report.latency else None
    if timed is None or timed.latency_ms is None:
        return None
    if timed.speedup is None:
        return base.latency_ms
    own, beside = base.latency_ms, timed.speedup
    tail = timed.latency_ms.p90 / timed.latency_ms.p50
    p50 = own.p50 / beside.ratio
    return replace(
        own, p50=p50, p90=p50 * tail, low=own.low / beside.high, high=own.high / beside.low
    )


def table(pairs: Sequence[tuple[VariantResult, VerificationReport]]) -> Markup:
    """Return every file with its figures, as a table that is cards on a narrow screen."""
    names = titles.names([row for row, _ in pairs])
    files = [_file(name, *pair) for name, pair in zip(names, pairs, strict=True)]
    return render("exported_files.html", headings=HEADINGS, files=files)


def _file(name: str, row: VariantResult, report: VerificationReport) -> dict[str, object]:
    latency = _latency(row, report)
    return {
        "name": name,
        "mark": marks.glyph(row.workflow, row.backend),
        "format": FORMATS[report.spec.format].title,
        "runtime": report.latency[0].runtime,
        "figures": {
            "Size": wording.megabytes(report.exported.artifact.size_bytes, 3),
            "Zipped": wording.megabytes(report.zipped_bytes, 3),
            "Latency": wording.figure(latency.p50, "ms") if latency else NONE,
            "Top-1": wording.percent(report.accuracy.top1) if report.accuracy else NONE,
            "Verification": "held" if report.passed else "failed",
        },
    }
