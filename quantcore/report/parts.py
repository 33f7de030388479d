"""The parts of the HTML report, from the verdict to the method, each as a piece of HTML."""

from collections.abc import Iterable
from pathlib import Path

from markupsafe import Markup

from quantcore import wording
from quantcore.decide import (
    KINDS,
    Candidate,
    best_floats,
    broken_budgets,
    has_several_floats,
    over_best,
    reference_group,
    references,
    times_count,
)
from quantcore.draw import lists, method, tables, templating, titles
from quantcore.draw import promises as promise_cards
from quantcore.report.context import ReportContext
from quantcore.schema import Target, VariantResult

TEMPLATES = templating.Templates(Path(__file__).parent / "templates")
BUDGETS = {
    "size_bytes": "File size",
    "latency_ms": "Latency",
    "accuracy_lost_points": "Accuracy lost",
    "peak_memory_bytes": "Peak memory",
}


def verdict(context: ReportContext) -> Markup:
    """Return the variant to ship and its figures."""
    row = context.ships
    base = references(context.comparison.results).get(row.key) if row else None
    return TEMPLATES.render(
        "verdict.html",
        verdict=lists.verdict(context.verdict, context.rows),
        tiles=list(_key_figures(row, base, context)) if row else [],
    )


def _key_figures(
    row: VariantResult, base: VariantResult | None, context: ReportContext
) -> Iterable[tuple[str, str, str]]:
    size, memory = row.artifact.size_bytes, row.peak_memory_bytes
    # float32 itself is described without a comparison.
    base = None if base is not None and base.key == row.key else base
    yield (
        "File size",
        wording.figure(size / 1e6, "MB"),
        _than(wording.smaller(base.artifact.size_bytes / size))
        if base
        else "of the file that ships",
    )
    yield (
        "Latency",
        wording.figure(row.latency_ms.p50, "ms"),
        _faster(row, context) if base else "a call (median)",
    )
    if row.accuracy is not None:
        small = "of the images labelled right"
        if base is not None and base.accuracy is not None:
            gained = 100 * (row.accuracy.top1 - base.accuracy.top1)
            small = f"{wording.gained(gained)} against float32"
        yield "Accuracy", wording.percent(row.accuracy.top1), small
    elif row.agreement is not None:
        yield "Same answer", wording.percent(row.agreement), "as float32"
    yield (
        "Peak memory",
        wording.figure(memory / 1e6, "MB"),
        _than(wording.smaller(base.peak_memory_bytes / memory))
        if base and memory and base.peak_memory_bytes
        else "above the runtime’s own",
    )


def _faster(row: VariantResult, context: ReportContext) -> str:
    """Return how much faster a row is than the float32 that decides."""
    rows = context.comparison.results
    speedup = over_best(row, best_floats(rows).get(reference_group(row)))
    faster = _than(wording.faster(speedup.ratio))
    best = has_several_floats(rows)
    return faster.replace("float32", "the best float32") if best else faster


def _than(ratio: str) -> str:
    return f"{ratio} {'as' if ratio.startswith('as ') else 'than'} float32"


def budgets(context: ReportContext) -> Markup:
    """Return each limit that was set, what ships beside it, and how many variants keep it."""
    if not context.rows:
        return Markup()
    limits, speak = context.budgets.limits(), titles.speaker(context.rows.values())
    return TEMPLATES.render(
        "budgets.html",
        budgets=[_budget(name, limit, context) for name, limit in limits.items()],
        kept=_kept(context, len(limits)),
        misses=[speak(miss.sentence) for miss in context.verdict.misses],
    )


def _kept(context: ReportContext, limits: int) -> str:
    """Return in a sentence how many variants keep the limits."""
    kept, of = len(context.verdict.qualifying), wording.count(len(context.rows), "variant")
    every = "every budget" if limits > 1 else "the budget"
    return f"{kept} of {of} {'keeps' if kept == 1 else 'keep'} {every}."


def _budget(name: str, limit: float, context: ReportContext) -> dict[str, object]:
    candidates = context.evidence.candidates
    ships = next((each for each in candidates if each.key == context.verdict.ship), None)
    return {
        "title": BUDGETS[name],
        "limit": KINDS[name].text(limit),
        "sign": promise_cards.sign(_state(name, limit, ships)) if ships else "",
        "shipped": _shipped(name, ships, context.evidence.target)
        if ships
        else "Nothing ships under these budgets.",
        "within": sum(
            name not in broken_budgets(each.figures, context.budgets) for each in candidates
        ),
        "of": len(candidates),
    }


def _state(name: str, limit: float, ships: Candidate) -> str:
    if name not in ships.figures:
        return "unknown"
    figure = ships.figures[name]
    if figure.crosses(limit):
        return "too close to call"
    return "kept" if figure.value <= limit else "broken"


def _shipped(name: str, ships: Candidate, target: Target | None) -> str:
    """Return the figure of what ships that a budget limits, in a sentence."""
    if name not in ships.figures:
        no_time = name == "latency_ms" and not times_count(target)
        return "Not tested: of this machine only." if no_time else "What ships has no such figure."
    value = ships.figures[name].value
    if name == "accuracy_lost_points":
        bound = "at most " if ships.at_most else ""
        return f"What ships is {bound}{wording.accurate(value)}."
    return f"What ships takes {KINDS[name].text(value)}."


def promises(context: ReportContext) -> Markup:
    """Return the recipe's promises, each with the outcome for the variant to ship."""
    row = context.promised
    if row is None:
        return Markup()
    name = context.names()[row.key]
    return promise_cards.promises(
        context.promises(), row, name, ships=row.key == context.verdict.ship
    )


def table(context: ReportContext) -> Markup:
    """Return every variant with its figures."""
    if not context.rows:
        return Markup()
    count = context.left_out
    is_or_are = "is" if count == 1 else "are"
    return TEMPLATES.render(
        "table.html",
        table=tables.results(context.comparison.results, context.badge),
        left_out=f"{wording.count(count, 'further variant')} {is_or_are}" if count else "",
    )


def others(context: ReportContext) -> Markup:
    """Return one line for each variant that is not shipped, with what speaks against it."""
    return lists.others(context.verdict, context.rows)


def failures(context: ReportContext, *, refused: bool) -> Markup:
    """Return the cells without figures, with reason and remedy; technical texts in a fold."""
    rows = [row for row in context.comparison.failures if row.refused == refused]
    beside = [row for row in context.comparison.failures if row.refused != refused]
    details = [row.details for row in rows if row.details]
    return TEMPLATES.render(
        "failures.html",
        failures=lists.failures(rows, [*beside, *context.comparison.results]),
        technical=lists.technical(details) if details else "",
    )


def notes(context: ReportContext) -> Markup:
    """Return the notes on single variants."""
    return lists.notes(context.comparison.results)


def how(context: ReportContext) -> Markup:
    """Return how the figures were found, and on what machine."""
    # Where nothing was measured, only the machine is known.
    paragraphs = method.paragraphs(context.comparison, context.budgets.smallest)[
        0 if context.rows else -1 :
    ]
    return TEMPLATES.render("method.html", paragraphs=paragraphs)
