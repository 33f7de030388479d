"""The verdict: what to ship, in one sentence, and why not the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantcore import wording
from quantcore.decide.budgets import KINDS, Budgets, broken_budgets, too_close
from quantcore.decide.candidates import Candidate
from quantcore.decide.doubts import cannot_win, doubts
from quantcore.decide.evidence import Evidence
from quantcore.decide.reasons import Other, describe, others
from quantcore.decide.timing import drift
from quantcore.schema import VariantResult

NEAREST = 3


@dataclass(frozen=True)
class Miss:
    """A row that would qualify with the budgets in `relax` raised to those values."""

    key: str
    label: str
    relax: tuple[tuple[str, float], ...]
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The recommendation, and everything that a page says around it. Rows are named by key.

    Attributes:
        ship: the row to ship; None where nothing qualifies or nothing was measured.
        headline: `Ship static on x86`, `Keep float32`, `Nothing keeps these budgets`, behind `So
            far (2 of 6)` while more is measured. Among several models or sizes, the row's name
            says which.
        reason: the rest of the sentence.
        qualifying: rows whose estimates keep every budget, best first.
        front: qualifying rows that no qualifying row really beats.
        ties: qualifying rows that nothing tells apart from the one to ship.
        close: rows whose interval crosses a budget: too close to call.
        others: one line for every row but the one to ship.
        misses: where nothing qualifies, the nearest rows and what would let them in.
        caveats: what the verdict cannot know, in sentences.
    """

    ship: str | None
    headline: str
    reason: str
    qualifying: tuple[str, ...]
    front: tuple[str, ...]
    ties: tuple[str, ...]
    close: tuple[str, ...]
    others: tuple[Other, ...]
    misses: tuple[Miss, ...]
    caveats: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Return the verdict as one sentence."""
        return f"{self.headline}: {self.reason}."


def recommend(evidence: Evidence, budgets: Budgets | None = None, missing: int = 0) -> Verdict:
    """Return the verdict under these budgets.

    A budget tests the estimate. Of the rows that keep them all, the one ships that gains most
    over float32 for what it loses; which of two comes first never depends on a third. A variant
    ships only where it is surely better than the best float32 in something, and was timed on a
    quiet machine; else float32 stays.

    Args:
        evidence: of the rows measured.
        budgets: limits; none by default.
        missing: variants that are still to be measured.
    """
    limits = budgets or Budgets()
    kept = [i for i, c in enumerate(evidence.candidates) if not broken_budgets(c.figures, limits)]
    best = _best(evidence, kept)
    # What ships comes first of all that the rest is held against.
    kept = kept if best is None else [best, *(i for i in kept if i != best)]
    headline, reason = _sentence(evidence, kept, best, limits)
    keys = [candidate.key for candidate in evidence.candidates]
    return Verdict(
        ship=None if best is None else keys[best],
        headline=_so_far(headline, len(keys), missing),
        reason=reason,
        qualifying=tuple(keys[i] for i in kept),
        front=tuple(keys[i] for i in kept if not evidence.beats[kept, i].any()),
        ties=() if best is None else tuple(keys[i] for i in _ties(evidence, best, kept)),
        close=tuple(c.key for c in evidence.candidates if _is_close(c, limits)),
        others=others(evidence, kept, limits) if best is not None or not kept else (),
        misses=() if kept else _misses(evidence.candidates, limits),
        caveats=_caveats(evidence, best, kept, limits),
    )


def _best(evidence: Evidence, kept: Sequence[int]) -> int | None:
    """Return the first of those kept that may win; None where there is nothing to compare."""
    if len(evidence.candidates) < 2:
        return None
    return next((i for i in kept if _may_win(evidence, i, kept)), None)


def _may_win(evidence: Evidence, i: int, kept: Sequence[int]) -> bool:
    """Return whether a row is surely better than the best float32 in something that counts.

    That need not be where float32 breaks a budget.
    """
    one, base = evidence.candidates[i], evidence.index(evidence.best_float[i])
    if cannot_win(one.row):
        return False
    if one.is_float or base is None or base not in kept:
        return True
    return one.gains


def _so_far(headline: str, measured: int, missing: int) -> str:
    if not missing or not measured:
        return headline
    return f"So far ({measured} of {measured + missing}): {headline[:1].lower()}{headline[1:]}"


def _is_close(candidate: Candidate, limits: Budgets) -> bool:
    """Return whether only intervals decide: what breaks another budget for certain is not close."""
    close = too_close(candidate.figures, limits)
    return bool(close) and set(broken_budgets(candidate.figures, limits)) <= set(close)


def nearest_in_8_bits(evidence: Evidence, verdict: Verdict) -> VariantResult | None:
    """Return the 8-bit variant that ships, else the one that comes nearest to it; None without."""
    quantized = [one.row for one in evidence.candidates if not one.is_float]
    ships = (row for row in quantized if row.key == verdict.ship)
    return next(ships, quantized[0] if quantized else None)


def _sentence(
    evidence: Evidence, kept: Sequence[int], best: int | None, budgets: Budgets
) -> tuple[str, str]:
    if not evidence.candidates:
        return "Nothing was measured", "see below what went wrong and what to do"
    if len(evidence.candidates) == 1:
        (only,) = evidence.candidates
        return "No verdict from one row", f"only {only.label} was measured"
    if not kept:
        nearest = _misses(evidence.candidates, budgets)[0]
        return "Nothing keeps these budgets", nearest.sentence.rstrip(".")
    if best is None:
        first = evidence.candidates[kept[0]]
        why = cannot_win(first.row)
        return (
            "No verdict yet",
            f"of those that keep these budgets, {first.label} is first, but {why}",
        )
    if _keeps_float(evidence, best):
        return "Keep float32", _why_float(evidence, kept)
    return f"Ship {evidence.candidates[best].label}", describe(evidence, best)


def _keeps_float(evidence: Evidence, best: int) -> bool:
    row = evidence.candidates[best].row
    # Torch's, or what stands for it where torch cannot read the model.
    is_reference = row.backend is None or evidence.reference(best) == best
    return row.is_float and is_reference and not evidence.several


def _why_float(evidence: Evidence, kept: Sequence[int]) -> str:
    if len(kept) == 1:
        return "no variant keeps these budgets"
    index = min(kept[1:])
    nearest, gains = evidence.candidates[index], describe(evidence, index)
    why = cannot_win(nearest.row)
    if why:
        return f"{nearest.label} may be better, but {why}; it is {gains}"
    return f"no variant gains enough for what it costs; the nearest, {nearest.label}, is {gains}"


def _misses(candidates: Sequence[Candidate], budgets: Budgets) -> tuple[Miss, ...]:
    ranked = sorted(candidates, key=_distance(budgets))
    return tuple(_miss(candidate, budgets) for candidate in ranked[:NEAREST])


def _distance(budgets: Budgets) -> Callable[[Candidate], tuple[int, float, str]]:
    limits = budgets.limits()

    def distance(one: Candidate) -> tuple[int, float, str]:
        broken = broken_budgets(one.figures, budgets)
        excess = sum(KINDS[n].excess(one.figures[n].value, limits[n]) for n in broken)
        return len(broken), excess, one.key

    return distance


def _miss(one: Candidate, budgets: Budgets) -> Miss:
    limits = budgets.limits()
    broken = broken_budgets(one.figures, budgets)
    relax = tuple((name, wording.enough(one.figures[name].value)) for name in broken)
    steps = [
        f"{KINDS[name].noun} budget of {KINDS[name].text(value)} "
        f"({KINDS[name].text(wording.enough(value - limits[name]))} more)"
        for name, value in relax
    ]
    sentence = f"{one.label} would, with a {wording.joined(steps)}."
    return Miss(one.key, one.label, relax, sentence)


def _caveats(
    evidence: Evidence, best: int | None, kept: Sequence[int], budgets: Budgets
) -> tuple[str, ...]:
    if not evidence.candidates:
        return ()
    if not any(c.is_float for c in evidence.candidates):
        general = ["float32 has no figures here, so nothing is compared with it."]
    elif best is not None and evidence.candidates[best].reference is None:
        general = ["Its own float32 has no figures here, so it is not compared with it."]
    else:
        general = []
    if best is None:
        return tuple(general)
    apart = _apart(evidence) if evidence.several else []
    return (
        *general,
        *doubts(evidence, best, budgets),
        *_held_back(evidence, best, kept),
        *_tied(evidence, best, kept),
        *apart,
    )


def _tied(evidence: Evidence, best: int, kept: Sequence[int]) -> list[str]:
    """Return which other variants are as good, and what little speaks for the one named."""
    ties = _ties(evidence, best, kept)
    if not ties:
        return []
    one, other = evidence.candidates[best], evidence.candidates[ties[0]]
    if len(ties) > 1:
        names = wording.some([evidence.candidates[i].label for i in ties])
        return [f"A tie between {one.label} and {wording.count(len(ties), 'other')}: {names}."]
    bytes_more = other.row.artifact.size_bytes - one.row.artifact.size_bytes
    # What is too little to count is worth a word only where it speaks for the one named.
    smaller = f"{one.label} is {wording.megabytes(bytes_more)} smaller"
    why = smaller if bytes_more > 0 else "either will do"
    return [f"A tie between {one.label} and {other.label}: {why}."]


def _ties(evidence: Evidence, best: int, kept: Sequence[int]) -> list[int]:
    return [i for i in kept if i != best and evidence.tie(best, i)]


def _held_back(evidence: Evidence, best: int, kept: Sequence[int]) -> list[str]:
    """Return the rows that would come before the one named, had they been measured better."""
    # Where float32 stays, its reason names the nearest of the others already.
    named = min(kept[1:], default=None) if _keeps_float(evidence, best) else None
    before = [i for i in kept if i < best and i != named and cannot_win(evidence.candidates[i].row)]
    return [
        f"{wording.capital(evidence.candidates[i].label)} may be better, but "
        f"{cannot_win(evidence.candidates[i].row)}."
        for i in before
    ]


def _drifts(evidence: Evidence) -> float:
    return max(drift(candidate.row) for candidate in evidence.candidates)


def _apart(evidence: Evidence) -> list[str]:
    """Return notes on what is not compared between rows, and on what is compared less surely."""
    notes = {
        "Models and image sizes that are not evaluated on the same pictures are compared in size "
        "and latency only.": not evidence.evaluated_alike.all(),
        "Latency is of a whole call, so different batches are not compared; the shortest call "
        "comes first.": not evidence.timed_alike.all(),
        "Models, image sizes and numbers of threads were timed at different moments, between which "
        f"the machine may have become {wording.percent(_drifts(evidence), 0)} faster or slower.": (
            True
        ),
    }
    return [note for note, holds in notes.items() if holds]
