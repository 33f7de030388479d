"""Turns of files whose true times are known, on a machine with starts, drift and bursts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quantcore.schema import Turn

QUIET_MS = 0.28
DISTURBED = 1.7


@dataclass(frozen=True)
class Machine:
    """How a machine blurs what it times; spreads are standard deviations of logarithms.

    Attributes:
        starts: of a start of a process from the next.
        rounds: of a round from the next.
        drift: of all files together, from one moment to the next.
        wander: of a single file, from one moment to the next.
        bursts: share of rounds in which somebody else's work slows everything down, which shows
            in the pace.
        hidden: share of starts that are slower by far without a sign.
    """

    starts: float = 0.02
    rounds: float = 0.02
    drift: float = 0.03
    wander: float = 0.0
    bursts: float = 0.0
    hidden: float = 0.0

    def moment(
        self,
        rng: np.random.Generator,
        files: Mapping[str, float],
        starts: int = 6,
        rounds: int = 3,
    ) -> tuple[Turn, ...]:
        """Return the turns of files of these milliseconds, timed at one moment."""
        shared = rng.normal(0, self.drift)
        levels = {
            name: math.log(ms) + shared + rng.normal(0, self.wander) for name, ms in files.items()
        }
        turns = []
        for start in range(starts):
            at_start = {
                name: level
                + rng.normal(0, self.starts)
                + (rng.exponential(0.5) if rng.random() < self.hidden else 0.0)
                for name, level in levels.items()
            }
            for index in range(rounds):
                is_burst = rng.random() < self.bursts
                for name, level in at_start.items():
                    ms = math.exp(level + rng.normal(0, self.rounds)) * (1 + 0.7 * is_burst)
                    samples = ms * np.exp(rng.normal(0, 0.03, 5))
                    pace = QUIET_MS * (DISTURBED if is_burst else 1.0)
                    turns.append(Turn(name, start, index, pace, 0.0, tuple(samples)))
        return tuple(turns)
