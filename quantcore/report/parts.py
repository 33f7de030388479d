"""The parts of the HTML report, from the verdict to the method, each as a piece of HTML."""

from collections.abc import Iterable
from html import escape

from quantcore import wording
from quantcore.decide import KINDS, Candidate, broken_budgets, references
from quantcore.draw import lists, method, tables, titles
from quantcore.draw import promises as drawn
from quantcore.report.told import Told
from quantcore.schema import Failure, VariantResult

BUDGETS = {
    "size_bytes": "File size",
    "latency_ms": "Latency",
    "accuracy_lost_points": "Accuracy lost",
    "peak_memory_bytes": "Peak memory",
}


def section(title: str, body: str, name: str = "") -> str:
    """Return a part under its heading; nothing where there is nothing to say."""
    named = f' class="rp-{name}"' if name else ""
    return f"<section{named}><h2>{escape(title)}</h2>{body}</section>" if body else ""


def verdict(about: Told) -> str:
    """Return what to ship, and the figures that this brings."""
    return lists.verdict(about.verdict, about.rows) + _tiles(about.ships, about)


def _tiles(row: VariantResult | None, about: Told) -> str:
    if row is None:
        return ""
    base = references(about.comparison.results).get(row.key)
    tiles = "".join(
        f"<div><dt>{escape(title)}</dt><dd><b>{escape(figure)}</b>"
        f"<small>{escape(small)}</small></dd></div>"
        for title, figure, small in _key_figures(row, None if base is row else base)
    )
    return f'<dl class="rp-tiles">{tiles}</dl>'


def _key_figures(row: VariantResult, base: VariantResult | None) -> Iterable[tuple[str, str, str]]:
    size, memory = row.artifact.size_bytes, row.peak_memory_bytes
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
        _than(wording.faster(row.speedup.ratio)) if base else "a call (median)",
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


def _than(ratio: str) -> str:
    return f"{ratio} {'as' if ratio.startswith('as ') else 'than'} float32"


def budgets(about: Told) -> str:
    """Return each limit that was set, what ships beside it, and how many variants keep it."""
    limits = about.budgets.limits()
    if not limits or not about.rows:
        said = "No budget was set, so every variant counts." if about.rows else ""
        return f"<p>{said}</p>" if said else ""
    lines = "".join(_budget(name, limit, about) for name, limit in limits.items())
    kept, of = len(about.verdict.qualifying), wording.count(len(about.rows), "variant")
    keep = "keeps" if kept == 1 else "keep"
    every = "every budget" if len(limits) > 1 else "the budget"
    return f'<ul class="qw-cards">{lines}</ul><p>{kept} of {of} {keep} {every}.</p>{_misses(about)}'


def _budget(name: str, limit: float, about: Told) -> str:
    candidates = about.evidence.candidates
    keep = sum(name not in broken_budgets(one.figures, about.budgets) for one in candidates)
    ships = next((one for one in candidates if one.key == about.verdict.ship), None)
    brings = "Nothing ships under these budgets." if ships is None else _brought(name, ships)
    state = drawn.sign(_state(name, limit, ships)) if ships else ""
    return (
        f"<li><h3>{BUDGETS[name]}: at most {escape(KINDS[name].text(limit))}</h3>{state}"
        f"<p>{escape(brings)}</p><small>{keep} of {len(candidates)} keep it</small></li>"
    )


def _state(name: str, limit: float, ships: Candidate) -> str:
    if name not in ships.figures:
        return "unknown"
    figure = ships.figures[name]
    if figure.crosses(limit):
        return "too close to call"
    return "kept" if figure.value <= limit else "broken"


def _brought(name: str, ships: Candidate) -> str:
    if name not in ships.figures:
        return "What ships has no such figure."
    value = ships.figures[name].value
    if name == "accuracy_lost_points":
        bound = "at most " if ships.at_most else ""
        return f"What ships is {bound}{wording.accurate(value)}."
    return f"What ships takes {KINDS[name].text(value)}."


def _misses(about: Told) -> str:
    speak = titles.speaker(about.rows.values())
    said = [speak(miss.sentence) for miss in about.verdict.misses]
    lines = "".join(f"<li>{escape(text[:1].upper() + text[1:])}</li>" for text in said)
    return f"<p>Nearest to them:</p><ul>{lines}</ul>" if lines else ""


def promises(about: Told) -> str:
    """Return what the recipe promised, and what came of it, for the variant that ships."""
    row = about.promised
    if row is None:
        return ""
    name = about.names()[row.key]
    return drawn.promises(about.promises(), row, name, ships=row is about.ships)


def table(about: Told) -> str:
    """Return every variant with its figures."""
    if not about.rows:
        return ""
    left_out = about.left_out
    is_or_are = "is" if left_out == 1 else "are"
    more = f"<p>{wording.count(left_out, 'further variant')} {is_or_are} not shown here.</p>"
    every = tables.results(about.comparison.results, about.verdict.ship)
    return every + (more if left_out else "")


def others(about: Told) -> str:
    """Return one line for each variant that is not shipped, with what speaks against it."""
    return lists.others(about.verdict, about.rows) if about.verdict.others else ""


def failures(about: Told, *, refused: bool) -> str:
    """Return the cells without figures, with reason and remedy; technical texts in a fold."""
    rows = [row for row in about.comparison.failures if row.refused == refused]
    beside = [row for row in about.comparison.failures if row.refused != refused]
    return lists.failures(rows, [*beside, *about.comparison.results]) + _technical(rows)


def _technical(rows: Iterable[Failure]) -> str:
    details = [row.details for row in rows if row.details]
    fold = "<details><summary>Technical details</summary>"
    return f"{fold}{lists.technical(details)}</details>" if details else ""


def notes(about: Told) -> str:
    """Return what must be known of single variants."""
    return lists.notes(about.comparison.results)


def how(about: Told) -> str:
    """Return how the figures were found, and on what machine."""
    # Where nothing was measured, only the machine can be told.
    told = method.paragraphs(about.comparison)[0 if about.rows else -1 :]
    lines = "".join(f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in told)
    return f'<dl class="rp-method">{lines}</dl>'
