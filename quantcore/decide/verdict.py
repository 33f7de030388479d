"""The verdict: what to ship, in one sentence, and why not the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantcore import wording
from quantcore.backends import serves
from quantcore.decide.budgets import KINDS, Budgets, broken_budgets, too_close
from quantcore.decide.candidates import Candidate
from quantcore.decide.doubts import cannot_win, doubts
from quantcore.decide.evidence import Evidence
from quantcore.decide.reasons import Other, describe, others
from quantcore.decide.targets import at
from quantcore.decide.timing import drift
from quantcore.schema import VariantResult
from quantcore.workflows import bits_of

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
            far (2 of 6)` while more is measured; with where it will run, `Ship static on x86 on a
            server or PC`. Among several models or sizes, the row's name
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
    quiet machine; else float32 stays. Nothing ships to a target that its backend is not made for.

    Args:
        evidence: of the rows measured.
        budgets: limits; none by default.
        missing: variants that are still to be measured.
    """
    limits = budgets or Budgets()
    kept = [
        i
        for i, candidate in enumerate(evidence.candidates)
        if evidence.fits(i) and not broken_budgets(candidate.figures, limits)
    ]
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
        close=tuple(
            one.key
            for i, one in enumerate(evidence.candidates)
            if evidence.fits(i) and _is_close(one, limits)
        ),
        others=others(evidence, kept, limits) if best is not None or not kept else (),
        misses=() if kept else _misses(evidence, limits),
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
    if cannot_win(one.row, timed=evidence.timed):
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
    """Return the 8-bit variant that ships, else the one that comes nearest to it; None without.

    One that is made for the target is nearer than any that is not.
    """
    fitting = sorted(
        (i for i, one in enumerate(evidence.candidates) if is_8_bit(one.row)),
        key=lambda i: not evidence.fits(i),
    )
    quantized = [evidence.candidates[i].row for i in fitting]
    ships = (row for row in quantized if row.key == verdict.ship)
    return next(ships, quantized[0] if quantized else None)


def is_8_bit(row: VariantResult) -> bool:
    """Return whether a row is neither float32 nor of 16 bits."""
    return bits_of(row.workflow, row.settings) == 8


def _sentence(
    evidence: Evidence, kept: Sequence[int], best: int | None, budgets: Budgets
) -> tuple[str, str]:
    if len(evidence.candidates) < 2:
        return _from_too_few(evidence)
    if not any(map(evidence.fits, range(len(evidence.candidates)))):
        return f"Nothing to ship{at(evidence.target)}", _nothing_fits(evidence)
    if not kept:
        nearest = _misses(evidence, budgets)[0]
        return "Nothing keeps these budgets", nearest.sentence.rstrip(".")
    if best is None:
        first = evidence.candidates[kept[0]]
        why = cannot_win(first.row, timed=evidence.timed)
        return (
            "No verdict yet",
            f"of those that keep these budgets, {first.label} is first, but {why}",
        )
    if _keeps_float(evidence, best):
        return f"Keep float32{at(evidence.target)}", _why_float(evidence, kept)
    headline = f"Ship {evidence.candidates[best].label}{at(evidence.target)}"
    return headline, describe(evidence, best)


def _from_too_few(evidence: Evidence) -> tuple[str, str]:
    if not evidence.candidates:
        return "Nothing was measured", "see below what went wrong and what to do"
    (only,) = evidence.candidates
    return "No verdict from one row", f"only {only.label} was measured"


def _nothing_fits(evidence: Evidence) -> str:
    remedy = serves(evidence.candidates[0].row.backend, evidence.target).remedy
    return f"no variant here is made for it. {remedy}".rstrip(".")


def _keeps_float(evidence: Evidence, best: int) -> bool:
    row = evidence.candidates[best].row
    # Torch's, or what stands for it where torch cannot read the model.
    is_reference = row.backend is None or evidence.reference(best) == best
    return row.is_float and is_reference and not evidence.several


def _why_float(evidence: Evidence, kept: Sequence[int]) -> str:
    if len(kept) == 1:
        fitting = [i for i, one in enumerate(evidence.candidates) if not one.is_float]
        if fitting and not any(map(evidence.fits, fitting)):
            return "no other variant here is made for it"
        return "no variant keeps these budgets"
    index = min(kept[1:])
    nearest, gains = evidence.candidates[index], describe(evidence, index)
    why = cannot_win(nearest.row, timed=evidence.timed)
    if why:
        return f"{nearest.label} may be better, but {why}; it is {gains}"
    return f"no variant gains enough for what it costs; the nearest, {nearest.label}, is {gains}"


def _misses(evidence: Evidence, budgets: Budgets) -> tuple[Miss, ...]:
    fitting = [one for i, one in enumerate(evidence.candidates) if evidence.fits(i)]
    ranked = sorted(fitting, key=_distance(budgets))
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
    before = (evidence.candidates[i] for i in kept if i < best and i != named)
    known = ((one.label, cannot_win(one.row, timed=evidence.timed)) for one in before)
    return [f"{wording.capital(label)} may be better, but {why}." for label, why in known if why]


def _drifts(evidence: Evidence) -> float:
    return max(drift(candidate.row) for candidate in evidence.candidates)


def _apart(evidence: Evidence) -> list[str]:
    """Return notes on what is not compared between rows, and on what is compared less surely."""
    other = "latency" if evidence.timed else "memory"
    notes = {
        "Models and image sizes that are not evaluated on the same pictures are compared in size "
        f"and {other} only.": not evidence.evaluated_alike.all(),
        "Latency is of a whole call, so different batches are not compared; the shortest call "
        "comes first.": not evidence.timed_alike.all(),
        "Models, image sizes and numbers of threads were timed at different moments, between which "
        f"the machine may have become {wording.percent(_drifts(evidence), 0)} faster or slower.": (
            evidence.timed
        ),
    }
    return [note for note, holds in notes.items() if holds]
