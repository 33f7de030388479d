"""What a verdict does not know, in sentences: thin evidence, degenerate answers, a busy machine."""

from quantcore import wording
from quantcore.decide.budgets import KINDS, Budgets, too_close
from quantcore.decide.candidates import Candidate
from quantcore.decide.evidence import Evidence
from quantcore.decide.targets import NEEDS_VNNI, ONE, needs_vnni, untimed
from quantcore.decide.thresholds import ACCURATE
from quantcore.engine import time_model
from quantcore.schema import RANDOM, Accuracy, VariantResult

# Half width, in points, of the interval of what is lost, above which pictures are too few.
TOLD_APART_POINTS = 1.0
ACCURATE_HALF_POINTS = -ACCURATE.half
# One picture may be anything; this many of one class are no chance.
MIN_PICTURES = 10
# A sentence without its end: some go on with the interval.
UNSETTLED = f"Its speed-up is known less well than ±{100 * time_model.SETTLED:.0f} %"


def names_one_class(row: VariantResult) -> bool:
    """Return whether a row names one class for all pictures, though these are of several."""
    all_of_one = row.accuracy is not None and row.accuracy.chance == 1.0
    many = row.fidelity_images >= MIN_PICTURES
    return row.named is not None and row.named.classes == 1 and many and not all_of_one


def is_near_chance(accuracy: Accuracy | None) -> bool:
    """Return whether always naming the most frequent class may be right as often."""
    return accuracy is not None and accuracy.low <= accuracy.chance < 1.0


def cannot_win(row: VariantResult, *, timed: bool = True) -> str:
    """Return why a row may lose a verdict but not win it; empty where it may.

    Where times do not count (not `timed`), neither does a busy machine.
    """
    if row.is_float:
        return ""
    if row.machine_busy and timed:
        return "the machine was busy while it was timed"
    if names_one_class(row):
        return "it names one class for every picture"
    return ""


def doubts(evidence: Evidence, i: int, budgets: Budgets) -> list[str]:
    """Return what is not sure of the candidate that the verdict names."""
    one = evidence.candidates[i]
    return [
        *_close_budgets(one, budgets),
        *(_timing(one) if evidence.timed else ()),
        *_answers(evidence, i),
        *_unknown_accuracy(one, budgets, evidence.timed),
        *_of_the_target(evidence, one, budgets),
    ]


def _of_the_target(evidence: Evidence, one: Candidate, budgets: Budgets) -> list[str]:
    """Return what where it will run makes of the figures, and of the file."""
    target, notes = evidence.target, []
    if target is not None and not evidence.timed:
        notes.append(untimed(target))
        if budgets.latency_ms is not None:
            notes.append(f"The latency budget is not tested: nothing was timed on {ONE[target]}.")
    if target in (None, "server") and needs_vnni(one.row.backend, one.row.tuning):
        notes.append(NEEDS_VNNI)
    return notes


def _close_budgets(one: Candidate, budgets: Budgets) -> list[str]:
    limits = budgets.limits()
    return [
        f"Too close to call: its {KINDS[name].figure} lies between "
        f"{KINDS[name].text(one.figures[name].low)} and {KINDS[name].text(one.figures[name].high)},"
        f" and the budget is {KINDS[name].text(limits[name])}."
        for name in too_close(one.figures, budgets)
    ]


def _timing(one: Candidate) -> list[str]:
    speed, noted = one.row.speedup, []
    if not speed.settled and not one.is_float:
        low, high = wording.digits(speed.low), wording.digits(speed.high)
        noted.append(f"{UNSETTLED}: from {low}× to {high}×.")
    if one.row.machine_busy:
        noted.append("The machine was busy while it was timed.")
    return noted


def _answers(evidence: Evidence, i: int) -> list[str]:
    """Return what makes the accuracy or the agreement mean little."""
    one, reference = evidence.candidates[i], evidence.reference(i)
    base = None if reference is None else evidence.candidates[reference].row
    noted = []
    if base is not None and names_one_class(base):
        noted.append(
            "float32 names one class for every picture, so that agreeing with it means nothing. "
            "Check how the pictures are prepared."
        )
    elif base is not None and is_near_chance(base.accuracy):
        noted.append(f"float32 is near chance: {_chance(base.accuracy)}.")
    elif names_one_class(one.row):
        noted.append("It names one class for every picture.")
    elif is_near_chance(one.row.accuracy):
        noted.append(f"Its accuracy is near chance: {_chance(one.row.accuracy)}.")
    few = few_pictures(evidence, i, TOLD_APART_POINTS)
    return [*noted, f"{few}."] if few else noted


def doubtful_answers(evidence: Evidence, i: int) -> str:
    """Return why nothing can be said of a candidate's accuracy beside float32's; empty if it can.

    That is less than what is noted: a promise is judged wherever the pictures can break it.
    """
    reference = evidence.reference(i)
    base = None if reference is None else evidence.candidates[reference].row
    if base is not None and names_one_class(base):
        return "float32 names one class for every picture"
    if base is not None and is_near_chance(base.accuracy):
        return f"float32 is near chance, {_chance(base.accuracy)}"
    return few_pictures(evidence, i, ACCURATE_HALF_POINTS)


def _chance(accuracy: Accuracy | None) -> str:
    assert accuracy is not None
    right, chance = wording.percent(accuracy.top1, 0), wording.percent(accuracy.chance, 0)
    return f"{right} right, where always naming the most frequent class gets {chance}"


def few_pictures(evidence: Evidence, i: int, most_points: float) -> str:
    """Return that a tie with float32 may hide more than some points; empty where it may not."""
    one, reference = evidence.candidates[i], evidence.reference(i)
    images = int(evidence.images[i])
    if one.lost is None or one.at_most or reference is None or reference == i or not images:
        return ""
    half = (one.lost.high - one.lost.low) / 2
    if half <= most_points or not evidence.tie_in_accuracy(i, reference):
        return ""
    needed = wording.count_of(round(images * (half / TOLD_APART_POINTS) ** 2))
    return (
        f"{wording.count(images, 'picture')} cannot tell {wording.points(half, 1)} apart; "
        f"{needed} would tell {wording.points(TOLD_APART_POINTS)}"
    )


def _unknown_accuracy(one: Candidate, budgets: Budgets, timed: bool) -> list[str]:
    if one.row.accuracy is not None or (one.is_float and not one.row.model.endswith(RANDOM)):
        return []
    if one.row.model.endswith(RANDOM):
        notes = [
            "Its accuracy is unknown, since the weights are random: "
            f"size and {'latency' if timed else 'memory'} decide."
        ]
    elif one.row.agreement is None:
        notes = ["Its accuracy is unknown, since the pictures carry no labels."]
    else:
        share = wording.digits(100 * one.row.agreement, 3)
        notes = [
            "Its accuracy is unknown, since the pictures carry no labels; it names the same class "
            f"as float32 on {share} % of {wording.count(one.row.fidelity_images, 'picture')}."
        ]
    untested = budgets.accuracy_lost_points is not None and one.lost is None
    return [*notes, "The accuracy budget could not be tested."] if untested else notes
