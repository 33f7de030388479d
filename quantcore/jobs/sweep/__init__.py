"""Many comparisons in one request: lists of models and settings, multiplied with one another."""

from quantcore.jobs.sweep.file import read_sweep, write_sweep
from quantcore.jobs.sweep.sweep import MAX_VARIANTS, Sweep, cells_of, labels_of

__all__ = ["MAX_VARIANTS", "Sweep", "cells_of", "labels_of", "read_sweep", "write_sweep"]
