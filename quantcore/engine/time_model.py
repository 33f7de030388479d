"""The time model: milliseconds, ratios and their intervals, all from one fit of every timed turn.

On a logarithmic scale, the time of a file in one start of its process is the file's own, plus what
the start has in common for all files that took turns in it, plus noise:

    y[file, start] = file + start + noise

which is the analysis of a blocked design: every start is a block, and float32 and another file are
in many of them (Cochran and Cox, Experimental Designs, 1957, ch. 9). So files are compared within
starts, however fast the machine was meanwhile, and every ratio is a quotient of two of these
figures. Disturbed turns are left out; a start that is unlike the others of its file weighs little
(Tukey's biweight; Huber and Ronchetti, Robust Statistics, 2009, ch. 7). Intervals come from the
spread between starts, shrunk towards that of all files (Smyth 2004), and from how much float32's
speed wanders between moments minutes apart, in a way that other files' does not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantcore.engine import metrics, processor
from quantcore.schema import Latency, Speedup, Turn

Floats = NDArray[np.float64]

# Undisturbed starts below which a file counts as timed on a busy machine.
MIN_QUIET_STARTS = 3
# Starts that the spread of all files counts for, beside a file's own.
PRIOR_STARTS = 6
# Spread between starts that any file has at least, as a share.
MIN_SPREAD = 0.002
# Half width of its 95 % interval, as a share, up to which a speed-up counts as settled.
SETTLED = 0.1
# By how much a file's speed wanders between moments by itself, a standard deviation as a share,
# as long as nothing else is seen; and how many moments that counts for.
USUAL_WANDER, PRIOR_MOMENTS = 0.005, 2
MIN_MOMENTS = 3
BIWEIGHT, LEAST_WEIGHT = 4.685, 0.01
# How much larger than their deviation from the median errors may be in root mean square.
MAX_TAIL = 4.0
# Half width of an interval, of a logarithm, at which nothing is known: 150 times either way.
MAX_HALF_WIDTH = 5.0
ITERATIONS = 20


@dataclass(frozen=True, eq=False)
class TimeModel:
    """Times of files, fitted together.

    Attributes:
        index: of each file, by its name in the turns.
        log_ms: natural logarithm of each file's milliseconds per call, `[F]`.
        covariance: of these, `[F, F]`.
        starts: that each file's figures come from, `[F]`.
        spread_to_p90: 90th percentile over median of each file's calls, `[F]`.
        busy: moments, by number, in which too few starts were undisturbed.
        drift: by how much the machine's speed wandered between moments, a standard deviation.
    """

    index: Mapping[str, int]
    log_ms: Floats
    covariance: Floats
    starts: NDArray[np.int64]
    spread_to_p90: Floats
    busy: frozenset[int]
    drift: float

    def latency(self, file: str) -> Latency:
        """Return a file's milliseconds per call."""
        i = self.index[file]
        p50, starts = math.exp(self.log_ms[i]), int(self.starts[i])
        half = half_width(float(self.covariance[i, i]), starts)
        p90 = p50 * float(self.spread_to_p90[i])
        return Latency(p50, p90, p50 * math.exp(-half), p50 * math.exp(half), starts, self.drift)

    def speedup(self, file: str, over: str) -> Speedup:
        """Return how many times faster a file is than another."""
        i, j = self.index[file], self.index[over]
        starts = int(min(self.starts[i], self.starts[j]))
        if i == j:
            return Speedup(1.0, 1.0, 1.0, starts)
        variance = self.covariance[i, i] + self.covariance[j, j] - 2 * self.covariance[i, j]
        ratio, half = math.exp(self.log_ms[j] - self.log_ms[i]), half_width(float(variance), starts)
        return Speedup(
            ratio, ratio * math.exp(-half), ratio * math.exp(half), starts, settled=half <= SETTLED
        )


def half_width(variance: float, starts: int) -> float:
    """Return the half width of a 95 % interval, of a logarithm known with this variance."""
    half = metrics.student_t(degrees(starts)) * math.sqrt(max(0.0, variance))
    return min(half, MAX_HALF_WIDTH)


def degrees(starts: int) -> int:
    """Return the degrees of freedom of an interval that comes from so many starts."""
    return max(1, starts - 1 + PRIOR_STARTS)


def fit(moments: Sequence[Sequence[Turn]], names: Mapping[str, str] | None = None) -> TimeModel:
    """Return the times of all files, from the turns of every moment at which some were timed.

    Args:
        moments: of each variant, the turns of its file and of those that took turns with it.
        names: what float32's files are called, by digest; all others are called by their digest.

    Raises:
        ValueError: there is no turn.
    """
    table = _table(moments, names or {})
    weights, spread = _robust(table.levels)
    variances = _variances(table, weights, spread)
    weights = weights * spread**2 / variances
    log_ms, gain = _solved(table.levels, weights)
    # Every estimate is a sum of levels, so its variance is a sum of theirs.
    covariance = np.einsum("fgb,fb,fhb->gh", gain, variances, gain, optimize=True)
    p90 = np.array([table.p90[name] for name in table.index])
    starts = np.isfinite(table.levels).sum(axis=1)
    drift = _drift(table, weights)
    return TimeModel(table.index, log_ms, covariance, starts, p90, table.busy, drift)


@dataclass(frozen=True, eq=False)
class _Table:
    """Levels `[F, B]` of files in starts (NaN where they did not run), and of which moment each is.

    `p90` is the 90th percentile over the median of each file's calls; `floats` are the indices of
    the files that were given a name, which are float32's.
    """

    index: dict[str, int]
    levels: Floats
    moment: NDArray[np.int64]
    p90: dict[str, float]
    busy: frozenset[int]
    floats: list[int]


def _table(moments: Sequence[Sequence[Turn]], names: Mapping[str, str]) -> _Table:
    paces = [turn.pace_ms for turns in moments for turn in turns]
    if not paces:
        raise ValueError("the time model takes at least one turn")
    limit = processor.QUIET_PACE * processor.usual_pace_ms(paces)
    busy: set[int] = set()
    columns: list[dict[str, float]] = []
    belongs: list[int] = []
    ratios: dict[str, list[float]] = {}
    for number, turns in enumerate(moments):
        kept, is_busy = _undisturbed(turns, limit)
        if is_busy:
            busy.add(number)
        for start in sorted({turn.start for turn in kept}):
            logs: dict[str, list[float]] = {}
            for turn in (turn for turn in kept if turn.start == start):
                name = names.get(turn.file, turn.file)
                p50, p90 = metrics.median_and_p90(turn.samples_ms)
                logs.setdefault(name, []).append(math.log(p50))
                ratios.setdefault(name, []).append(p90 / p50)
            columns.append({name: float(np.median(each)) for name, each in logs.items()})
            belongs.append(number)
    index = {name: i for i, name in enumerate(dict.fromkeys(n for c in columns for n in c))}
    levels = np.full((len(index), len(columns)), np.nan)
    for b, column in enumerate(columns):
        for name, level in column.items():
            levels[index[name], b] = level
    tails = {name: float(np.median(ratios[name])) for name in index}
    floats = [index[name] for name in dict.fromkeys(names.values()) if name in index]
    return _Table(index, levels, np.array(belongs), tails, frozenset(busy), floats)


def _undisturbed(turns: Sequence[Turn], limit: float) -> tuple[list[Turn], bool]:
    """Return the turns of a moment that count, and whether too few of them were undisturbed."""
    quiet = [
        turn for turn in turns if turn.pace_ms <= limit and turn.waited <= processor.MAX_WAITED
    ]
    files, starts = {turn.file for turn in turns}, {turn.start for turn in turns}
    whole = [start for start in starts if {t.file for t in quiet if t.start == start} == files]
    if len(whole) >= min(MIN_QUIET_STARTS, len(starts)):
        return [turn for turn in quiet if turn.start in whole], False
    return list(turns), True


def _robust(levels: Floats) -> tuple[Floats, float]:
    """Return the weight of every level, `[F, B]`, and the spread of a level around its fit.

    Medians come first, so that the weights begin from a fit that no single start has bent.
    """
    present = np.isfinite(levels)
    starts = np.zeros(levels.shape[1])
    for _ in range(ITERATIONS):
        files = np.nanmedian(levels - starts, axis=1)
        starts = np.nanmedian(levels - files[:, None], axis=0)
    weights, spread = present.astype(np.float64), MIN_SPREAD
    for _ in range(ITERATIONS):
        residuals = (levels - files[:, None] - starts)[present]
        # Of a few levels, medians fit some exactly, and their deviation alone may then vanish.
        largest = float(np.sqrt(np.mean(residuals**2))) / MAX_TAIL
        likely = max(metrics.deviation(residuals), largest)
        spread = max(MIN_SPREAD, _inflation(present) * likely)
        u = np.minimum(1.0, np.abs(residuals) / (BIWEIGHT * spread))
        weights[present] = np.maximum((1 - u**2) ** 2, LEAST_WEIGHT)
        files, starts = _least_squares(levels, weights)
    return weights, spread


def _inflation(present: NDArray[np.bool_]) -> float:
    """Return how much larger errors are than residuals, since a fit takes part of them up."""
    together = present[:, present.sum(axis=0) > 1]
    count, files, starts = int(together.sum()), int(together.any(axis=1).sum()), together.shape[1]
    freedom = count - files - starts + 1
    return math.sqrt(count / freedom) if freedom > 0 else 1.0


def _least_squares(levels: Floats, weights: Floats) -> tuple[Floats, Floats]:
    files, _ = _solved(levels, weights)
    total = weights.sum(axis=0)
    starts = (weights * (np.nan_to_num(levels) - files[:, None])).sum(axis=0) / total
    return files, starts


def _solved(levels: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the files' levels at the mean state of the machine, and what they are sums of.

    Starts are eliminated first, which leaves an equation for each file.

    Returns:
        `[F]`, and the factor of every level in each of them: `[F (of the level), F, B]`.
    """
    share = weights / weights.sum(axis=0)
    reduced = np.diag(weights.sum(axis=1)) - weights @ share.T
    inverse = np.linalg.pinv(reduced, hermitian=True)
    # Of each level: its own weight, less that of its start's mean.
    factors = np.einsum("gf,fb->fgb", inverse, weights) - np.einsum(
        "gh,hb,fb->fgb", inverse, weights, share
    )
    # Differences are known now; the mean of all levels tells where they lie.
    mean = weights / weights.sum()
    presence = weights.sum(axis=1) / weights.sum()
    centred = factors - np.einsum("g,fgb->fb", presence, factors)[:, None, :] + mean[:, None, :]
    return np.einsum("fgb,fb->g", centred, np.nan_to_num(levels)), centred


def _variances(table: _Table, weights: Floats, spread: float) -> Floats:
    """Return the variance of every level, `[F, B]`.

    It is that of the file's starts, shrunk towards all files', times how much noisier its moment
    was, and more where the file's speed wanders between moments.
    """
    files, starts = _least_squares(table.levels, weights)
    residuals = _inflation(np.isfinite(table.levels)) * (table.levels - files[:, None] - starts)
    residuals[:, np.isfinite(table.levels).sum(axis=0) < 2] = np.nan
    own = np.array([_shrunk(row, spread) for row in residuals])
    noisier = np.ones(len(table.moment))
    for each in np.unique(table.moment):
        here = table.moment == each
        noisier[here] = _shrunk(residuals[:, here], spread) / spread**2
    return own[:, None] * noisier + _between_moments(table, own)[:, None]


def _shrunk(residuals: Floats, spread: float) -> float:
    """Return the variance of some residuals, shrunk towards that of all."""
    present = residuals[np.isfinite(residuals)]
    own = metrics.deviation(present) if present.size else 0.0
    return float((PRIOR_STARTS * spread**2 + present.size * own**2) / (PRIOR_STARTS + present.size))


def _drift(table: _Table, weights: Floats) -> float:
    """Return the standard deviation, between moments, of what all files had in common."""
    _, starts = _least_squares(table.levels, weights)
    levels = [float(np.median(starts[table.moment == each])) for each in np.unique(table.moment)]
    return float(np.std(levels, ddof=1)) if len(levels) > 1 else 0.0


def _between_moments(table: _Table, within: Floats) -> Floats:
    """Return what a start's variance gains, of each file, from how moments differ, `[F]`.

    How much faster a file in 8 bits is than float32 differs between moments, since neighbours on
    the memory's bus slow one of the two more; files in 8 bits are slowed alike. The difference is
    seen in the two files that were timed at most moments, float32 and a variant. It is laid upon
    float32, so that a variant is tied by that other variant rather than by float32.
    """
    numbers = np.unique(table.moment)
    starts = len(table.moment) / len(numbers)
    wander = np.full(len(table.levels), USUAL_WANDER**2)
    often = np.argsort(-np.isfinite(table.levels).sum(axis=1), kind="stable")[:2]
    if len(often) == 2:
        apart = table.levels[often[0]] - table.levels[often[1]]
        moments = [apart[table.moment == each] for each in numbers]
        medians = [float(np.nanmedian(each)) for each in moments if np.isfinite(each).any()]
        if len(medians) >= MIN_MOMENTS:
            # The variance of a median is pi / 2 times that of a mean.
            noise = math.pi / 2 * within[often].sum() / starts
            spread = metrics.deviation(np.array(medians) - np.median(medians)) ** 2
            seen, own = len(medians) - 1, max(0.0, spread - noise)
            own = (PRIOR_MOMENTS * USUAL_WANDER**2 + seen * own) / (PRIOR_MOMENTS + seen)
            wander[table.floats or often[:1]] = own
    return starts * wander
