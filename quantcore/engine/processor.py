"""The processor while something is timed: which cores, and whether somebody slows them down.

Other processes, other machines on the same host and a falling clock all show in the same way: a
fixed piece of work takes longer than it did. So that work, the pace, is timed around every turn.
"""

import os
import time
from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from quantcore.schema import Steadying

# About half a millisecond of work on a processor of today.
PACE_STEPS = 10_000
# How much slower than usual the fixed work may be where nobody disturbs. Where another
# machine shares the core it was 1.6 to 1.9 times slower, and else within 5 %.
QUIET_PACE = 1.2
# Which quantile of the paces seen lately counts as usual: disturbances only ever add time.
USUAL_QUANTILE = 0.2
# Share of a turn that a process may have waited for its core.
MAX_WAITED = 0.1
MAX_CORES_TRIED = 8
_CPUS = Path("/sys/devices/system/cpu")


def pace_ms() -> float:
    """Return the milliseconds that a fixed piece of work takes now, the better of two tries."""
    return min(_work_ms(), _work_ms())


def _work_ms() -> float:
    started = time.perf_counter_ns()
    total = 0
    for step in range(PACE_STEPS):
        total += step
    return (time.perf_counter_ns() - started) / 1e6


def usual_pace_ms(paces_ms: Collection[float]) -> float:
    """Return the pace of an undisturbed processor among those that were seen."""
    return float(np.quantile(list(paces_ms), USUAL_QUANTILE))


class Paces:
    """The paces seen lately in this process, which tell a disturbed one from a usual one."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=1_000)

    def note(self, pace: float) -> None:
        """Count a pace among those seen."""
        self._seen.append(pace)

    def is_quiet(self, pace: float) -> bool:
        """Return whether a pace is that of an undisturbed processor; so is the first."""
        return not self._seen or pace <= QUIET_PACE * usual_pace_ms(self._seen)


def waited_ns() -> int:
    """Return how long the threads of this process waited for a core; 0 where nothing tells."""
    total = 0
    for thread in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(thread.read_text().split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return total


def cores() -> list[int]:
    """Return one logical processor of each physical core that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    first: dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = _text(_CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list") or str(cpu)
        first.setdefault(siblings, cpu)
    return list(first.values())


def pin(pid: int, chosen: Sequence[int]) -> None:
    """Keep every thread of a process on some cores; those it starts later inherit them."""
    if not chosen:
        return
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            os.sched_setaffinity(int(thread.name), chosen)
        except OSError:
            # The thread has ended, or the machine keeps its processes where they are.
            continue


def steadying(chosen: Sequence[int]) -> Steadying:
    """Return what steadies a measurement on these cores, as far as the machine tells."""
    cpu = _CPUS / f"cpu{chosen[0] if chosen else 0}" / "cpufreq" / "scaling_governor"
    return Steadying(cores=tuple(chosen), governor=_text(cpu), turbo=_turbo())


def _turbo() -> bool | None:
    no_turbo, boost = _text(_CPUS / "intel_pstate" / "no_turbo"), _text(_CPUS / "cpufreq" / "boost")
    if no_turbo is not None:
        return no_turbo == "0"
    return None if boost is None else boost == "1"


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
