"""The verdict: what to ship, in one sentence, and why not the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantcore import wording
from quantcore.decide.budgets import KINDS, Budgets, broken_budgets, too_close
from quantcore.decide.candidates import Candidate
from quantcore.decide.evidence import Evidence
from quantcore.decide.reasons import Other, describe, others
from quantcore.schema import RANDOM, VariantResult

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
        headline: `Ship static on x86`, `Keep float32`, `Nothing keeps these budgets`. Among several
            models or sizes, the row's name says which.
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


def recommend(evidence: Evidence, budgets: Budgets | None = None) -> Verdict:
    """Return the verdict under these budgets.

    A budget tests the estimate. Of the rows that keep them all, the one ships that gains most
    over float32 for what it loses; which of two comes first never depends on a third.
    """
    limits = budgets or Budgets()
    kept = [i for i, c in enumerate(evidence.candidates) if not broken_budgets(c.figures, limits)]
    best = kept[0] if kept else None
    headline, reason = _sentence(evidence, kept, limits)
    keys = [candidate.key for candidate in evidence.candidates]
    return Verdict(
        ship=None if best is None else keys[best],
        headline=headline,
        reason=reason,
        qualifying=tuple(keys[i] for i in kept),
        front=tuple(keys[i] for i in kept if not evidence.beats[kept, i].any()),
        ties=tuple(keys[i] for i in kept if i != best and evidence.tie(best or 0, i)),
        close=tuple(c.key for c in evidence.candidates if _is_close(c, limits)),
        others=others(evidence, kept, limits),
        misses=() if kept else _misses(evidence.candidates, limits),
        caveats=_caveats(evidence, best, limits),
    )


def _is_close(candidate: Candidate, limits: Budgets) -> bool:
    """Return whether only intervals decide: what breaks another budget for certain is not close."""
    close = too_close(candidate.figures, limits)
    return bool(close) and set(broken_budgets(candidate.figures, limits)) <= set(close)


def nearest_in_8_bits(evidence: Evidence, verdict: Verdict) -> VariantResult | None:
    """Return the 8-bit variant that ships, else the one that comes nearest to it; None without."""
    quantized = [one.row for one in evidence.candidates if not one.is_float]
    ships = (row for row in quantized if row.key == verdict.ship)
    return next(ships, quantized[0] if quantized else None)


def _sentence(evidence: Evidence, kept: Sequence[int], budgets: Budgets) -> tuple[str, str]:
    if not evidence.candidates:
        return "Nothing was measured", "see below what went wrong and what to do"
    if not kept:
        nearest = _misses(evidence.candidates, budgets)[0]
        return "Nothing keeps these budgets", nearest.sentence.rstrip(".")
    best = evidence.candidates[kept[0]]
    if best.is_float and best.row.backend is None and not evidence.several:
        return "Keep float32", _why_float(evidence, kept)
    return f"Ship {best.label}", describe(evidence, kept[0])


def _why_float(evidence: Evidence, kept: Sequence[int]) -> str:
    if len(evidence.candidates) == 1:
        return "no variant was measured beside it"
    if len(kept) == 1:
        return "no variant keeps these budgets"
    nearest = evidence.candidates[kept[1]]
    gains = describe(evidence, kept[1])
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


def _caveats(evidence: Evidence, best: int | None, budgets: Budgets) -> tuple[str, ...]:
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
    one = evidence.candidates[best]
    apart = _apart(evidence) if evidence.several else []
    return (*general, *_unknown(one, budgets), *apart, *_doubts(one, budgets))


def _apart(evidence: Evidence) -> list[str]:
    """Return notes on what is not compared between rows."""
    notes = {
        "Models and image sizes that are not evaluated on the same pictures are compared in size "
        "and latency only.": not evidence.evaluated_alike.all(),
        "Latency is of a whole call, so different batches are not compared; the shortest call "
        "comes first.": not evidence.timed_alike.all(),
    }
    return [note for note, holds in notes.items() if holds]


def _unknown(one: Candidate, budgets: Budgets) -> list[str]:
    """Return notes on an unknown accuracy of the row to ship."""
    if one.row.accuracy is not None or (one.is_float and not one.row.model.endswith(RANDOM)):
        return []
    if one.row.model.endswith(RANDOM):
        notes = ["Its accuracy is unknown, since the weights are random: size and latency decide."]
    elif one.row.agreement is None:
        notes = ["Its accuracy is unknown, since the pictures carry no labels."]
    else:
        share = wording.digits(100 * one.row.agreement, 3)
        notes = [
            "Its accuracy is unknown, since the pictures carry no labels; "
            f"it names the same class as float32 on {share} % of them."
        ]
    untested = budgets.accuracy_lost_points is not None and one.lost is None
    return [*notes, "The accuracy budget could not be tested."] if untested else notes


def _doubts(one: Candidate, budgets: Budgets) -> list[str]:
    limits = budgets.limits()
    doubts = [
        f"Too close to call: its {KINDS[name].figure} lies between "
        f"{KINDS[name].text(one.figures[name].low)} and {KINDS[name].text(one.figures[name].high)},"
        f" and the budget is {KINDS[name].text(limits[name])}."
        for name in too_close(one.figures, budgets)
    ]
    speed = one.row.speedup
    if not speed.settled and not one.is_float:
        low, high = wording.digits(speed.low), wording.digits(speed.high)
        doubts.append(f"Its speed-up did not settle: it lies between {low}× and {high}×.")
    if one.row.machine_busy:
        doubts.append("The machine was busy while it was timed.")
    return doubts
