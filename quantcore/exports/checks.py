"""The checks of an exported file, each with its finding in a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantcore import wording
from quantcore.backends import agreement, sqnr_db
from quantcore.schema import Check, Exported, ExportSpec

Logits = NDArray[np.float32]

# Where another runtime rounds elsewhere, so many of the pictures must still get the same class.
MIN_AGREEMENT = 0.995
# For random weights, whose classes mean nothing: noise in the logits.
EXACT_TOLERANCE = 1e-3
MIN_SQNR_DB = 20.0
# Said in a sentence as they stand in the file.
LABELS, IMAGE_SIZE, CHANNELS = "labels", "image_size", "channels"


@dataclass(frozen=True, eq=False)
class Evidence:
    """The facts about a file after it was evaluated.

    Attributes:
        spec: which file.
        exported: as it was made.
        is_exact: it has to answer exactly as its variant.
        max_overhead: how much larger than the variant's state dict it may be, as a share; None
            where nobody counts.
        expected: the provenance written into it.
        embedded: the provenance read from it.
        logits: its answers `[N, classes]`.
        variant_logits: those of the variant's own file.
        labels: the right classes `[N]`; None where nobody knows them.
        state_dict_bytes: of the variant.
    """

    spec: ExportSpec
    exported: Exported
    is_exact: bool
    max_overhead: float | None
    expected: Mapping[str, object]
    embedded: Mapping[str, object]
    logits: Logits
    variant_logits: Logits
    labels: NDArray[np.int64] | None
    state_dict_bytes: int

    @property
    def is_random(self) -> bool:
        """Return whether the classes mean nothing."""
        return self.spec.request.model.is_random

    @property
    def agreement(self) -> float | None:
        """Return on which share of the pictures the file names its variant's class."""
        return None if self.is_random else agreement(self.variant_logits, self.logits)

    @property
    def largest_difference(self) -> float:
        """Return the largest difference of a logit from its variant's."""
        return float(np.abs(self.logits - self.variant_logits).max())


def checks(evidence: Evidence) -> tuple[Check, ...]:
    """Return everything that must hold for the file to be offered without a warning."""
    results = (_loads(evidence), _provenance(evidence), _answers(evidence))
    if evidence.max_overhead is None:
        return results
    return *results, _size(evidence, evidence.max_overhead)


def does_not_load(reason: str) -> Check:
    """Return the failed check of a file that does not load."""
    return Check("loads in a fresh process", False, f"It does not: {reason}")


def _loads(evidence: Evidence) -> Check:
    size = wording.megabytes(evidence.exported.artifact.size_bytes, 3)
    finding = f"The file, {size}, was loaded by a process that did not make it."
    return Check("loads in a fresh process", True, finding)


def _provenance(evidence: Evidence) -> Check:
    missing = [
        key for key, value in evidence.expected.items() if evidence.embedded.get(key) != value
    ]
    if missing:
        return Check("provenance", False, f"The file does not carry its {wording.joined(missing)}.")
    labels = evidence.expected[LABELS]
    count = len(labels) if isinstance(labels, list) else 0
    return Check(
        "provenance",
        True,
        f"It carries {count} class names, how pictures are prepared "
        f"({evidence.expected[IMAGE_SIZE]} px, {evidence.expected[CHANNELS]}), and what it was "
        "made from.",
    )


def _answers(evidence: Evidence) -> Check:
    if evidence.is_random:
        return _noise(evidence)
    return _same_classes(evidence)


def _same_classes(evidence: Evidence) -> Check:
    agreed = agreement(evidence.variant_logits, evidence.logits)
    least = 1.0 if evidence.is_exact else MIN_AGREEMENT
    pictures = wording.count(len(evidence.logits), "picture")
    differs = f"logits differ by at most {wording.digits(evidence.largest_difference)}"
    if agreed == 1.0:
        finding = f"All {pictures} get the class that the variant names; {differs}."
    else:
        finding = (
            f"{wording.percent(agreed, 2)} of {pictures} get the class that the variant names, "
            f"of at least {wording.percent(least)}; {differs}."
        )
    return Check("answers as its variant", agreed >= least, finding)


def _noise(evidence: Evidence) -> Check:
    """Return whether logits of random weights, whose classes mean nothing, are near enough."""
    name = "answers as its variant"
    reference = evidence.variant_logits
    if evidence.is_exact:
        allowed = EXACT_TOLERANCE * float(np.abs(reference).max())
        differs = wording.digits(evidence.largest_difference)
        finding = f"Logits differ by at most {differs}, {wording.digits(allowed)} are allowed."
        return Check(name, evidence.largest_difference <= allowed, finding)
    noise = sqnr_db(reference, evidence.logits)
    if noise is None:
        return Check(name, True, "Logits are the same.")
    finding = f"Signal to noise of the logits is {noise:.0f} dB, of at least {MIN_SQNR_DB:.0f}."
    return Check(name, noise >= MIN_SQNR_DB, finding)


def _size(evidence: Evidence, allowed: float) -> Check:
    size, whole = evidence.exported.artifact.size_bytes, evidence.state_dict_bytes
    # Rounded as the sentence shows it, so that both agree at the limit.
    overhead = round(size / whole - 1, 6)
    more = "larger" if overhead > 0 else "smaller"
    return Check(
        "size",
        overhead <= allowed,
        f"{wording.megabytes(size, 3)}, {wording.percent(abs(overhead))} {more} than the variant's "
        f"state dict; at most {wording.percent(allowed, 0)} larger is allowed.",
    )
