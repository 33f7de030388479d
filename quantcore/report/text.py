"""A comparison as text: a table for a terminal, and Markdown for a ticket."""

import re
import textwrap
from collections.abc import Callable, Sequence

from quantcore import decide, wording
from quantcore.report.rows import Row, method, summary_rows
from quantcore.report.table import FIGURES, table
from quantcore.schema import Comparison

WIDTH = 100
# Rows that share a reason or a note are named up to here, then counted.
MAX_NAMED = 3
MARKDOWN_COLUMNS = {"variant": "label", **FIGURES, "agreement": "agreement"}


def to_text(
    comparison: Comparison, width: int = WIDTH, budgets: decide.Budgets | None = None
) -> str:
    """Return verdict, table, promises, failures and method, no line over `width` columns."""
    limits = budgets or decide.Budgets()
    target = comparison.request.target
    evidence = decide.weigh(comparison.results, smallest=limits.smallest, target=target)
    verdict = decide.recommend(evidence, limits, comparison.missing)
    rows = summary_rows(comparison)
    measured = [row for row in rows if row.measured]
    notes = [(_named(labels, len(measured)), note) for labels, note in _grouped(measured, _note)]
    failures = [(_named(labels, len(rows)), why) for labels, why in _grouped(rows, _failure)]
    blocks = [
        _wrapped([verdict.sentence, *verdict.caveats], width),
        table(measured, width),
        _wrapped(_promises(comparison, evidence, verdict), width),
        _wrapped([f"{names}: {why}" for names, why in failures], width),
        _wrapped([f"{names}: {note}" for names, note in notes], width),
        _wrapped(
            [method(comparison), limits.smallest.sentence] if comparison.results else [], width
        ),
    ]
    return "\n\n".join(block for block in blocks if block)


def _promises(
    comparison: Comparison, evidence: decide.Evidence, verdict: decide.Verdict
) -> list[str]:
    row = decide.nearest_in_8_bits(evidence, verdict)
    if row is None:
        return []
    name = decide.labels.labels(comparison.results)[row.key]
    promises = decide.promise(comparison, row, evidence)
    return [f"Promise and outcome of {name}", *promise_lines(promises)]


def promise_lines(
    promises: Sequence[decide.Promise],
    escape: Callable[[str], str] = str,
    strong: str = "",
) -> list[str]:
    """Return a line for each promise, and below it one for each cause, with its remedy.

    Args:
        promises: as one variant kept them.
        escape: called with every text.
        strong: stands around the state.
    """
    lines = []
    for one in promises:
        lines.append(
            f"- {escape(one.promise)}: {strong}{one.state}{strong} ({escape(one.outcome)}). "
            f"{escape(one.threshold.sentence)}"
        )
        lines += [f"  - {escape(f'{each.sentence} {each.remedy}')}" for each in one.causes]
    return lines


def _failure(row: Row) -> str:
    return f"{row.reason} {row.remedy}".strip()


def _note(row: Row) -> str:
    return row.notes


def _grouped(rows: Sequence[Row], text: Callable[[Row], str]) -> list[tuple[list[str], str]]:
    """Return the texts of single rows, each with the names of the rows that share it.

    Many rows of a sweep share a reason, so there it is said once; elsewhere each has its own line.
    """
    labelled = [(row.label, text(row)) for row in rows if text(row)]
    if not any(row.surroundings or row.differs for row in rows):
        return [([label], sentence) for label, sentence in labelled]
    groups: dict[str, list[str]] = {}
    for label, sentence in labelled:
        groups.setdefault(sentence, []).append(label)
    return [(labels, sentence) for sentence, labels in groups.items()]


def _named(labels: Sequence[str], of: int) -> str:
    if len(labels) == of > 1:
        return f"All {of} variants"
    more = len(labels) - MAX_NAMED
    return "; ".join([*labels[:MAX_NAMED], *([f"{more} more"] if more > 0 else [])])


def _wrapped(lines: Sequence[str], width: int) -> str:
    return "\n".join(textwrap.fill(line, width, subsequent_indent=_indent(line)) for line in lines)


def _indent(line: str) -> str:
    """Return what stands before the second line of a paragraph, or of a point of a list."""
    return " " * (2 + len(line) - len(line.lstrip()))


def to_markdown(comparison: Comparison) -> str:
    """Return verdict, table, failures and method as Markdown, to paste into a ticket."""
    verdict, rows = decide.decide(comparison), summary_rows(comparison)
    blocks = [
        f"## {escaped(_models(comparison))} quantized",
        f"**{escaped(verdict.headline)}**: {escaped(verdict.reason)}.",
        "\n".join(f"- {escaped(caveat)}" for caveat in verdict.caveats),
        _markdown_table([row for row in rows if row.measured]),
        without_figures(rows),
        _markdown_notes([row for row in rows if row.measured]),
        f"*{escaped(method(comparison))}*" if comparison.results else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _models(comparison: Comparison) -> str:
    requests = (comparison.request, *comparison.also)
    return wording.joined(list(dict.fromkeys(request.model.name for request in requests)))


def _markdown_table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    aligned = ["---", *["---:"] * (len(MARKDOWN_COLUMNS) - 1)]
    cells = [
        [escaped(str(getattr(row, name))) for name in MARKDOWN_COLUMNS.values()] for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*MARKDOWN_COLUMNS], aligned, *cells))


def _markdown_notes(rows: Sequence[Row]) -> str:
    """Return what is to know of single rows as a Markdown list."""
    lines = [
        f"- **{escaped('; '.join(labels))}**: {escaped(note)}"
        for labels, note in _grouped(rows, _note)
    ]
    return "\n".join(["Notes:", "", *lines]) if lines else ""


def without_figures(rows: Sequence[Row]) -> str:
    """Return the cells without figures as a Markdown list, with reason and remedy."""
    lines = [
        f"- **{escaped('; '.join(labels))}**: {escaped(why)}"
        for labels, why in _grouped(rows, _failure)
    ]
    return "\n".join(["Without figures:", "", *lines]) if lines else ""


def escaped(text: str) -> str:
    """Return the text with nothing in it that Markdown would take for markup or a new row."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))
