"""A comparison in a few lines of Markdown: what a ticket or a message needs to decide."""

from collections.abc import Collection

from quantcore import wording
from quantcore.decide import KINDS, Budgets
from quantcore.draw import titles, tuning
from quantcore.report.context import ReportContext, report_context
from quantcore.report.rows import Row, method, summary_rows
from quantcore.report.text import MARKDOWN_COLUMNS, escaped, promise_lines, without_figures
from quantcore.schema import Comparison


def to_summary(
    comparison: Comparison,
    budgets: Budgets | None = None,
    link: str = "",
    *,
    name: str = "",
    visible: Collection[str] | None = None,
) -> str:
    """Return verdict, budgets, the front as a table, promise and machine as Markdown.

    The table holds what no other variant really beats, what ships in bold, and float32.

    Args:
        comparison: the whole answer.
        budgets: the limits that the verdict keeps; none where left out.
        link: address of the live comparison; left out where it is none of the web.
        name: of the comparison; its models where left out.
        visible: keys of the results to recommend from; all where left out.
    """
    context = report_context(comparison, budgets, link, name, visible)
    blocks = (
        f"## {escaped(context.title)}",
        _verdict(context),
        _budgets(context),
        _front(context),
        _promises(context),
        _without_figures(context),
        _method(context) if context.rows else "",
        f"[Open the comparison](<{_address(context.link)}>)" if context.link else "",
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def _verdict(context: ReportContext) -> str:
    verdict, speak = context.verdict, titles.speaker(context.rows.values())
    sentence = f"**{escaped(speak(verdict.headline))}**: {escaped(speak(verdict.reason))}."
    chosen = tuning.chosen(context.ships.tuning) if context.ships else ""
    points = [*filter(None, [chosen]), *map(speak, verdict.caveats)]
    return "\n".join([sentence, *(f"- {escaped(point)}" for point in points)])


def _budgets(context: ReportContext) -> str:
    limits = context.budgets.limits()
    if not context.rows:
        return ""
    if not limits:
        return "**Budgets**: none."
    texts = [_budget(name, limit) for name, limit in limits.items()]
    kept, of = len(context.verdict.qualifying), wording.count(len(context.rows), "variant")
    keep = "keeps" if kept == 1 else "keep"
    every = "all of them" if len(limits) > 1 else "it"
    return f"**Budgets**: {wording.joined(texts)}; {kept} of {of} {keep} {every}."


def _budget(name: str, limit: float) -> str:
    kind = KINDS[name]
    noun = "accuracy lost" if name == "accuracy_lost_points" else kind.figure
    return f"{noun} at most {kind.text(limit)}"


def _front(context: ReportContext) -> str:
    shown = {
        *context.verdict.front,
        *(r.key for r in context.rows.values() if r.is_float),
    }
    rows = [row for row in summary_rows(context.comparison) if row.key in shown and row.measured]
    if not rows:
        return ""
    aligned = ["---", *["---:"] * (len(MARKDOWN_COLUMNS) - 1)]
    cells = [_cells(row, context) for row in rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in ([*MARKDOWN_COLUMNS], aligned, *cells))
    return f"{table}{_more(len(context.rows) - len(rows))}"


def _cells(row: Row, context: ReportContext) -> list[str]:
    name = escaped(context.names()[row.key])
    named = f"**{name}**" if row.key == context.badge else name
    figures = list(MARKDOWN_COLUMNS.values())[1:]
    return [named, *(escaped(str(getattr(row, figure))) for figure in figures)]


def _more(count: int) -> str:
    if not count:
        return ""
    is_or_are = "is" if count == 1 else "are"
    return f"\n\n{wording.count(count, 'more variant')} {is_or_are} beaten or over budget."


def _promises(context: ReportContext) -> str:
    row = context.promised
    if row is None:
        return ""
    return "\n".join(
        [
            f"**Promise and outcome** of {escaped(context.names()[row.key])}",
            "",
            *promise_lines(context.promises(), escaped, "**"),
        ]
    )


def _without_figures(context: ReportContext) -> str:
    if not context.rows:
        return without_figures(summary_rows(context.comparison))
    refused = sum(failure.refused for failure in context.comparison.failures)
    broken = len(context.comparison.failures) - refused
    parts = [f"{refused} not possible here"] if refused else []
    parts = [*([f"{broken} not measured"] if broken else []), *parts]
    return f"Without figures: {wording.joined(parts)}." if parts else ""


def _method(context: ReportContext) -> str:
    sentences = f"{method(context.comparison)} {context.budgets.smallest.sentence}"
    return f"*{escaped(sentences)}*"


def _address(link: str) -> str:
    """Return the link with nothing in it that would end it."""
    return link.translate({ord(sign): f"%{ord(sign):02X}" for sign in "<>\\ \n\r\t"})
