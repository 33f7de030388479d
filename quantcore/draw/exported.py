"""Exported files beside the variants they were made from: as rows to draw, and as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

from quantcore import wording
from quantcore.draw import marks, titles
from quantcore.formats import EXPORTERS
from quantcore.schema import VariantResult, VerificationReport
from quantcore.wording import NONE

HEADINGS = ("File", "Size", "Zipped", "Latency", "Top-1", "Proof")


def named(pairs: Sequence[tuple[VariantResult, VerificationReport]]) -> dict[str, VariantResult]:
    """Return the files' figures by their names: `Static on x86 as ONNX`.

    Args:
        pairs: each variant that was measured, with what was proved of a file made from it. A file
            that was not timed, or failed its proof, is left out.
    """
    names = titles.names([row for row, _ in pairs])
    return {
        f"{name} as {EXPORTERS[card.spec.format].title}": row
        for name, (base, card) in zip(names, pairs, strict=True)
        if (row := _row(base, card)) is not None
    }


def _row(base: VariantResult, card: VerificationReport) -> VariantResult | None:
    """Return the variant's row with the file's figures in it; None where it is not drawn."""
    latency = card.latency[0].latency_ms if card.latency else None
    if latency is None or not card.passed:
        return None
    beside = card.latency[0].speedup
    ratio = base.speedup.ratio * (beside.ratio if beside else 1.0)
    return replace(
        base,
        key=f"{base.key} {card.spec.format}",
        artifact=card.exported.artifact,
        latency_ms=latency,
        speedup=replace(base.speedup, ratio=ratio),
        accuracy=card.accuracy,
        agreement=None,
        peak_memory_bytes=card.peak_memory_bytes,
    )


def table(pairs: Sequence[tuple[VariantResult, VerificationReport]]) -> str:
    """Return every file with its figures, as a table that is cards on a narrow screen."""
    names = titles.names([row for row, _ in pairs])
    head = "".join(f'<th scope="col">{title}</th>' for title in HEADINGS)
    body = "".join(_line(name, *pair) for name, pair in zip(names, pairs, strict=True))
    return (
        '<div class="qw-scroll"><table class="qw-table"><thead>'
        f"<tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _line(name: str, row: VariantResult, card: VerificationReport) -> str:
    latency = card.latency[0].latency_ms if card.latency else None
    figures: Mapping[str, str] = {
        "Size": wording.megabytes(card.exported.artifact.size_bytes, 3),
        "Zipped": wording.megabytes(card.zipped_bytes, 3),
        "Latency": wording.figure(latency.p50, "ms") if latency else NONE,
        "Top-1": wording.percent(card.accuracy.top1) if card.accuracy else NONE,
        "Proof": "held" if card.passed else "failed",
    }
    cells = "".join(
        f'<td data-label="{title}"><b>{escape(text)}</b></td>' for title, text in figures.items()
    )
    mark = marks.glyph(row.workflow, row.backend)
    kind = EXPORTERS[card.spec.format].title
    return (
        f'<tr><th scope="row"><span class="qw-variant">{mark}<span><b>{escape(name)}</b>'
        f"<small>{escape(kind)}, in {escape(card.latency[0].runtime)}</small></span></span></th>"
        f"{cells}</tr>"
    )
