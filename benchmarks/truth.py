"""Whether equal files are called equal, slower ones slower, and whether an outsider agrees."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.app import FLOAT32, Workshop, absence, cold_settings, finished
from benchmarks.lines import Figure, at_least, at_most, near, note
from quantcore.decide import weigh
from quantcore.engine import TimedFile, image_size, time_in_turns, timed_together
from quantcore.formats import Predictor
from quantcore.models import find
from quantcore.sandbox import Progress, never_stop
from quantcore.schema import (
    CompareRequest,
    Comparison,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Turn,
    Variant,
    VariantResult,
)
from quantcore.service import Service

MODELS = ("bundled/mobilenet_v2", "bundled/shufflenet_v2_x1_0", "bundled/resnet18")
BACKENDS = ("x86", "onednn")
# Static variants that differ by one calibration picture compute the same, so they are as fast.
EQUALS = 12
FEWEST_PICTURES = 8
EVALUATION_IMAGES = 8
SLOWER = {0.05: 80.0, 0.10: 99.0}
COMPARISONS = 20
OUTSIDER_STARTS = 5
PROJECT = Path(__file__).parents[1]


class ToldApart(NamedTuple):
    """How many pairs of equal files are called different in speed, and of how many."""

    apart: int
    pairs: int


def lines(
    models: Sequence[str] = MODELS,
    backends: Sequence[str] = BACKENDS,
    equals: int = EQUALS,
    comparisons: int = COMPARISONS,
) -> Iterator[Figure | str]:
    """Yield how often the app errs on files whose truth is known.

    Args:
        models: whose files are timed.
        backends: that run them.
        equals: files of each that are as fast as each other.
        comparisons: of a file with slowed copies of itself.
    """
    missing = next(filter(None, map(absence, models)), None)
    if missing:
        yield note(missing)
        return
    compared, told = [], []
    for name in models:
        compared.append(_compared(name, backends, equals))
        told.append(_told_apart(compared[-1], backends))
        yield from _equal(name, compared[-1], told[-1])
    yield from _all_equal(compared, told)
    yield _orders(compared)
    yield from _slower(models[0], backends[0], comparisons)
    for name in models:
        yield from _outsider(name, backends)


def _request(name: str, backends: Sequence[str], equals: int) -> CompareRequest:
    counts = range(FEWEST_PICTURES, FEWEST_PICTURES + equals)
    variants = [
        Variant("static", b, (("calibration_images", n),)) for b in backends for n in counts
    ]
    images = ImageSpec(evaluation_images=EVALUATION_IMAGES)
    return CompareRequest(ModelSpec(name), (FLOAT32, *variants), images)


def _compared(name: str, backends: Sequence[str], equals: int) -> Comparison:
    with cold_settings() as settings, closing(Service(settings)) as service:
        request = _request(name, backends, equals)
        return finished(service, replace(request, measure=MeasureSpec.of(settings)))


def _rows(comparison: Comparison, backend: str) -> list[VariantResult]:
    return [row for row in comparison.results if row.backend == backend]


def _pooled(rows: Sequence[VariantResult]) -> float:
    return float(np.exp(np.mean(np.log([row.speedup.ratio for row in rows]))))


def _equal(name: str, comparison: Comparison, told: Mapping[str, ToldApart]) -> Iterator[str]:
    busy = sum(row.machine_busy for row in comparison.results)
    yield note(f"{name}: {len(comparison.results)} rows, {busy} of them on a busy machine")
    for backend, pairs in told.items():
        rows = _rows(comparison, backend)
        ratios = [row.speedup.ratio for row in rows]
        yield note(
            f"{name} on {backend}: {_pooled(rows):.3f} x, from {min(ratios):.3f} to "
            f"{max(ratios):.3f}, intervals of {_mean_width(rows):.1f} %, "
            f"{pairs.apart} pairs called different, "
            f"{_covered(rows)} of {len(rows)} intervals hold it"
        )


def _mean_width(rows: Sequence[VariantResult]) -> float:
    """Return by how many per cent the intervals reach to either side, on average."""
    return float(np.mean([100 * (row.speedup.high / row.speedup.ratio - 1) for row in rows]))


def _told_apart(comparison: Comparison, backends: Sequence[str]) -> dict[str, ToldApart]:
    evidence = weigh(comparison.results)
    told = {}
    for backend in backends:
        same = [i for i, c in enumerate(evidence.candidates) if c.row.backend == backend]
        pairs = list(combinations(same, 2))
        apart = sum(bool(evidence.faster[i, j] or evidence.faster[j, i]) for i, j in pairs)
        told[backend] = ToldApart(apart, len(pairs))
    return told


def _covered(rows: Sequence[VariantResult]) -> int:
    pooled = _pooled(rows)
    return sum(row.speedup.low <= pooled <= row.speedup.high for row in rows)


def _all_equal(
    compared: Sequence[Comparison], told: Sequence[Mapping[str, ToldApart]]
) -> Iterator[Figure | str]:
    counts = [pairs for each in told for pairs in each.values()]
    share = 100 * sum(each.apart for each in counts) / max(1, sum(each.pairs for each in counts))
    yield at_most("pairs of equal files called different", share, "%", 5.0)
    families = [
        _rows(comparison, backend)
        for comparison, each in zip(compared, told, strict=True)
        for backend in each
    ]
    covered = 100 * sum(map(_covered, families)) / max(1, sum(map(len, families)))
    yield near("intervals that hold the pooled speed-up", covered, "%", 94.5, 4.5)


def _orders(compared: Sequence[Comparison]) -> Figure:
    """Return how many pairs of rows are in one order by milliseconds and another by ratio."""
    against = 0
    for comparison in compared:
        for one, other in combinations(comparison.results, 2):
            by_ms = one.latency_ms.p50 - other.latency_ms.p50
            by_ratio = other.speedups["torch"].ratio - one.speedups["torch"].ratio
            against += by_ms * by_ratio < 0
    return at_most("pairs in one order by ms, in another by ratio", against, "pairs", 0, digits=0)


@dataclass(frozen=True)
class SlowedFile(TimedFile):
    """A file whose every call is followed by doing nothing, for a share of the call's time."""

    share: float = 0.0

    def loaded(self, threads: int) -> Predictor:
        """Return the file in its runtime, slowed. Runs in a child process."""
        predict = super().loaded(threads)

        def slowed(images: object) -> object:
            began = time.perf_counter()
            answer = predict(images)  # type: ignore[arg-type]
            until = time.perf_counter() + self.share * (time.perf_counter() - began)
            while time.perf_counter() < until:
                pass
            return answer

        return slowed  # type: ignore[return-value]


def _slower(name: str, backend: str, comparisons: int) -> Iterator[Figure | str]:
    """Yield how often a slowed copy of a file is found slower than the file."""
    found = dict.fromkeys(SLOWER, 0)
    template = _compared(name, (backend,), 1).results
    with cold_settings() as settings:
        measure = MeasureSpec.of(settings)
        request = replace(_request(name, (backend,), 1), measure=measure)
        with Workshop(request, settings) as workshop:
            paths = {
                each.backend: workshop.path(workshop.convert(each)) for each in request.variants
            }
            side = image_size(request, find(request.model))
            for _ in range(comparisons):
                rows = _timed(workshop, template, paths, side, measure)
                evidence = weigh(rows)
                places = {c.row.artifact.sha256: i for i, c in enumerate(evidence.candidates)}
                for share in SLOWER:
                    found[share] += bool(evidence.faster[places["0.0"], places[str(share)]])
    for share, limit in SLOWER.items():
        figure = 100 * found[share] / comparisons
        yield at_least(
            f"of {comparisons}, slower by {100 * share:.0f} % and found so", figure, "%", limit
        )


def _timed(
    workshop: Workshop,
    template: Sequence[VariantResult],
    paths: dict[str | None, Path],
    side: int,
    measure: MeasureSpec,
) -> tuple[VariantResult, ...]:
    """Return float32, a file, and slowed copies of it, timed as a comparison times its cells."""
    base, variant = template
    files: dict[str, TimedFile] = {
        str(share): SlowedFile(paths[variant.backend], variant.backend, side, share=share)
        for share in (0.0, *SLOWER)
    }
    files["float"] = TimedFile(paths[None], None, side)
    rows = []
    for name in ("float", *map(str, (0.0, *SLOWER))):
        tie = [] if name in ("float", "0.0") else ["0.0"]
        order = list(dict.fromkeys((name, "float", *tie)))
        timing = time_in_turns(
            workshop.pool, {each: files[each] for each in order}, measure, _ignore, never_stop
        )
        rows.append(_row(base if name == "float" else variant, name, timing.turns))
    return timed_together(rows)


def _row(template: VariantResult, name: str, turns: tuple[Turn, ...]) -> VariantResult:
    artifact = replace(template.artifact, sha256=name)
    return replace(template, key=name, artifact=artifact, turns=turns, floats={"torch": "float"})


def _ignore(_: Progress) -> None:
    """Listen to no progress."""


def _outsider(name: str, backends: Sequence[str]) -> Iterator[Figure | str]:
    """Yield how far the app's ratios are from those of a loop that knows nothing of it."""
    with cold_settings() as settings, closing(Service(settings)) as service:
        request = replace(_request(name, backends, 1), measure=MeasureSpec.of(settings))
        comparison = finished(service, request)
        paths = {row.backend: service.store.path(row.artifact.sha256) for row in comparison.results}
        side = comparison.results[0].image_size
        for backend in backends:
            (row,) = _rows(comparison, backend)
            theirs = _by_hand(paths[None], paths[backend], backend, side, request.measure.threads)
            apart = 100 * abs(row.speedup.ratio / theirs - 1)
            what = f"{name} on {backend}: {row.speedup.ratio:.2f} x, by hand {theirs:.2f} x"
            yield at_most(what, apart, "% apart", 10.0, "benchmarks/outsider.py")


def _by_hand(float_path: Path, path: Path, backend: str, side: int, threads: int) -> float:
    """Return the ratio of medians, of several starts in turns with float32's."""
    ratios = []
    for _ in range(OUTSIDER_STARTS):
        ours, theirs = (
            json.loads(
                subprocess.run(
                    [sys.executable, "-m", "benchmarks.outsider", *map(str, arguments)],
                    cwd=PROJECT,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for arguments in ((float_path, "float", side, threads), (path, backend, side, threads))
        )
        ratios.append(ours / theirs)
    return float(np.median(ratios))
