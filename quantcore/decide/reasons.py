"""Sentences on a candidate: its gains over float32, and why it is not the one to ship."""

from collections.abc import Sequence
from dataclasses import dataclass

from quantcore import wording
from quantcore.decide.budgets import (
    MEMORY_SHARE,
    MIN_MEMORY_BYTES,
    Budgets,
    broken_budgets,
    over,
)
from quantcore.decide.candidates import Candidate, differs_in_memory
from quantcore.decide.evidence import Evidence
from quantcore.decide.targets import misfit
from quantcore.schema import TORCH_FLOAT

# Size, accuracy, and either latency or memory.
ALL_FIGURES = 3


@dataclass(frozen=True)
class Other:
    """Why a row is not the one to ship. `more_images` would likely settle a tie in accuracy."""

    key: str
    label: str
    sentence: str
    qualifies: bool
    more_images: int | None = None


def describe(evidence: Evidence, i: int) -> str:
    """Return candidate `i` against its float32: '3.5× smaller (2.7 MB), 2.6× faster (2.7 ms), …'.

    What it is worse in stands behind a 'but'. Among several models or sizes, one in float is
    described by its own figures. Times are left out where they are none of the target.
    """
    one = evidence.candidates[i]
    if one.size_ratio is None or (evidence.several and one.is_float):
        return _alone(one, evidence.timed)
    size, speed = one.row.artifact.size_bytes, one.row.speedup
    latency = wording.milliseconds(one.row.latency_ms.p50)
    parts = {
        f"{_size(evidence, one.size_ratio)} ({wording.megabytes(size)})": one.size_ratio < 1,
        _speed(evidence, one, latency) if evidence.timed else "": speed.high < 1,
        _accuracy(evidence, i): one.lost is not None and one.lost.value >= evidence.smallest.points,
        _memory(evidence, i): True,
        _saved_memory(evidence, i): False,
    }
    better = ", ".join(part for part, is_worse in parts.items() if part and not is_worse)
    worse = wording.joined([part for part, is_worse in parts.items() if part and is_worse] or [""])
    against = "against its own float32 " if evidence.several else ""
    return against + ", but ".join(filter(None, (better, worse)))


def _size(evidence: Evidence, ratio: float) -> str:
    counts = max(ratio, 1 / ratio) >= 1 + evidence.smallest.share
    return wording.smaller(ratio if counts else 1.0)


def _memory(evidence: Evidence, i: int) -> str:
    """Return how much more memory it takes than float32, where that is worth a word."""
    one, reference = evidence.candidates[i].row, evidence.reference(i)
    base = one if reference is None else evidence.candidates[reference].row
    more = one.peak_memory_bytes - base.peak_memory_bytes
    if more < MEMORY_SHARE * base.peak_memory_bytes or more < MIN_MEMORY_BYTES:
        return ""
    return f"{wording.megabytes(more)} more memory"


def _saved_memory(evidence: Evidence, i: int) -> str:
    """Return how much less memory it takes than float32, where that counts."""
    reference = evidence.reference(i)
    if reference is None or not evidence.leaner[i, reference]:
        return ""
    base, one = evidence.candidates[reference].row, evidence.candidates[i].row
    return f"{wording.megabytes(base.peak_memory_bytes - one.peak_memory_bytes)} less memory"


def _speed(evidence: Evidence, one: Candidate, latency: str) -> str:
    """Return how much faster a candidate is, and than which float32 where there are several."""
    ratio, other = one.row.speedup.ratio, "the best float32"
    if one.is_float and TORCH_FLOAT in one.row.speedups:
        ratio, other = one.row.speedups[TORCH_FLOAT].ratio, "torch's float32"
    faster = _speed_in_words(evidence, one, ratio)
    than = f"{' as' if faster.startswith('as ') else ' than'} {other}"
    return f"{faster} ({latency}){than if evidence.several_floats else ''}"


def _speed_in_words(evidence: Evidence, one: Candidate, ratio: float) -> str:
    """Return a speed ratio in words; one that is not sure, or does not count, is 'as fast'."""
    speed = one.row.speedup
    is_sure = one.is_float or not speed.low <= 1.0 <= speed.high
    counts = max(ratio, 1 / ratio) >= 1 + evidence.smallest.share
    return wording.faster(ratio if is_sure and counts else 1.0)


def _alone(one: Candidate, timed: bool) -> str:
    size, latency, accuracy = one.row.artifact.size_bytes, one.row.latency_ms.p50, one.row.accuracy
    a_call = f", {wording.milliseconds(latency)} a call" if timed else ""
    figures = f"{wording.megabytes(size)}{a_call}"
    if accuracy is None or not one.is_float:
        return figures
    return f"{figures}, {wording.digits(100 * accuracy.top1, 3)} % right"


def _accuracy(evidence: Evidence, i: int) -> str:
    one, reference = evidence.candidates[i], evidence.reference(i)
    if one.lost is None or reference is None:
        return "accuracy unknown"
    if one.at_most:
        return f"at most {wording.accurate(one.lost.value)}" if one.lost.value else "same classes"
    on = f" on {wording.count(int(evidence.images[i]), 'picture')}"
    loss = wording.accurate(one.lost.value)
    if loss == wording.accurate(0):
        return loss + on
    tie = evidence.tie_in_accuracy(i, reference)
    return f"{loss} (a tie{on})" if tie else loss + on


def others(evidence: Evidence, kept: Sequence[int], budgets: Budgets) -> tuple[Other, ...]:
    """Return one line for every candidate but the best, which is the first of `kept`."""
    best = kept[0] if kept else None
    return tuple(
        _why_not(evidence, i, kept, budgets) for i in range(len(evidence.candidates)) if i != best
    )


def _why_not(evidence: Evidence, i: int, kept: Sequence[int], budgets: Budgets) -> Other:
    one = evidence.candidates[i]
    elsewhere = misfit(one.row, evidence.target)
    if elsewhere:
        return Other(one.key, one.label, f"{wording.capital(elsewhere)}.", qualifies=False)
    broken = broken_budgets(one.figures, budgets)
    if broken:
        return Other(one.key, one.label, _breaks(one, broken[0], budgets), qualifies=False)
    best = kept[0]
    beaters = [j for j in kept if evidence.beats[j, i]]
    if beaters:
        return Other(one.key, one.label, _beaten(evidence, i, beaters[0]), qualifies=True)
    if not evidence.comparable(best, i):
        return Other(one.key, one.label, _apart(evidence, i, best), qualifies=True)
    more = evidence.images_to_settle(best, i) if evidence.tie_in_accuracy(best, i) else None
    tied = evidence.tie(best, i)
    sentence = _tie(evidence, best, i, more) if tied else _trade(evidence, i, best)
    return Other(one.key, one.label, sentence, qualifies=True, more_images=more)


def _breaks(one: Candidate, name: str, budgets: Budgets) -> str:
    figure, limit = one.figures[name], budgets.limits()[name]
    close = "; too close to call" if figure.crosses(limit) else ""
    return f"{over(name, figure.value, limit)}{close}."


def _beaten(evidence: Evidence, i: int, by: int) -> str:
    better = _advantages(evidence, by, i)
    rest = "" if len(better) == ALL_FIGURES else ", for the rest a tie"
    aside = _memory_aside(evidence, by, i)
    return f"{evidence.candidates[by].label} is {wording.joined(better)}{rest}{aside}."


def _memory_aside(evidence: Evidence, by: int, i: int) -> str:
    """Return how much less memory a beaten row takes, where that was not weighed."""
    more, less = (evidence.candidates[each].row.peak_memory_bytes for each in (by, i))
    if not evidence.timed or more < less or not differs_in_memory(more, less):
        return ""
    return f"; {wording.megabytes(more - less)} more memory is not weighed"


def _tie(evidence: Evidence, best: int, i: int, more: int | None) -> str:
    label = evidence.candidates[best].label
    if not evidence.tie_in_accuracy(best, i):
        other = "latency" if evidence.timed else "memory"
        return f"A tie with {label}: no difference in size or {other} counts."
    settle = (
        "so far both are right equally often"
        if more is None
        else f"{wording.count_of(more)} more would settle which is more accurate"
    )
    return f"A tie with {label} on these {evidence.images[i]:,} images; {settle}."


def _trade(evidence: Evidence, i: int, best: int) -> str:
    label, differences = evidence.candidates[best].label, _against(evidence, i, best)
    if _advantages(evidence, best, i):
        return f"Against {label}: {differences}."
    ahead = _seems_ahead(evidence.candidates[best], evidence.candidates[i])
    return f"{differences[:1].upper()}{differences[1:]}, for the rest a tie with {label}{ahead}."


def _seems_ahead(best: Candidate, one: Candidate) -> str:
    """Return why the best is ahead of one that has all the sure advantages: by its estimate."""
    if best.lost is None or one.lost is None or one.lost.value <= best.lost.value:
        return ""
    points = wording.points(one.lost.value - best.lost.value)
    return f", which is ahead by {points} of accuracy that are not sure"


def _apart(evidence: Evidence, i: int, best: int) -> str:
    """Return the comparison of two that are not evaluated or not timed alike."""
    one, other = evidence.candidates[i].row, evidence.candidates[best].row
    differences = _against(evidence, i, best) or "as large"
    apart = []
    if not evidence.timed_alike[i, best]:
        apart.append(f"calls of {other.batch} and of {one.batch} pictures are timed differently")
    if not evidence.evaluated_alike[i, best]:
        unknown = one.accuracy is None or other.accuracy is None
        apart.append(
            "accuracy is unknown" if unknown else "they are evaluated on different pictures"
        )
    rest = f"the rest is not compared, since {wording.joined(apart)}"
    return f"Against {evidence.candidates[best].label}: {differences}; {rest}."


def _against(evidence: Evidence, i: int, best: int) -> str:
    gains, costs = _advantages(evidence, i, best), _advantages(evidence, best, i, reverse=True)
    return ", but ".join(wording.joined(parts) for parts in (gains, costs) if parts)


def _advantages(evidence: Evidence, i: int, j: int, reverse: bool = False) -> list[str]:
    """Return the real advantages of `i` over `j` in words; `reverse` words them as costs of `j`."""
    one, other = evidence.candidates[i], evidence.candidates[j]
    advantages = []
    if evidence.smaller[i, j]:
        saved = other.row.artifact.size_bytes - one.row.artifact.size_bytes
        advantages.append(f"{wording.megabytes(saved)} {'larger' if reverse else 'smaller'}")
    if evidence.faster[i, j]:
        ratio = _speed_ratio(one, other)
        advantages.append(wording.faster(1 / ratio if reverse else ratio))
    if evidence.more_accurate[i, j] and one.row.accuracy and other.row.accuracy:
        gained = 100 * (one.row.accuracy.top1 - other.row.accuracy.top1)
        advantages.append(wording.accurate(gained if reverse else -gained))
    if evidence.leaner[i, j]:
        saved = other.row.peak_memory_bytes - one.row.peak_memory_bytes
        advantages.append(f"{wording.megabytes(saved)} {'more' if reverse else 'less'} memory")
    return advantages


def _speed_ratio(one: Candidate, other: Candidate) -> float:
    """Return how many times faster `one` is."""
    return other.row.latency_ms.p50 / one.row.latency_ms.p50
