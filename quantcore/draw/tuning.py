"""What a conversion chose by itself, in words: said alike on pages, in reports and in terminals."""

from quantcore import wording
from quantcore.decide import needs_vnni
from quantcore.schema import Tuning, VariantResult

OBSERVERS = {
    "minmax": "min-max",
    "histogram": "histogram",
    "percentile": "percentile",
    "entropy": "entropy",
}


def tuned(row: VariantResult) -> str:
    """Return what a row's conversion chose, and what that brought; empty where it chose nothing.

    As in 'Ranges: percentile, 17.0 dB on pictures it had not seen (min-max 14.2). 2 of 53 layers
    stay float: 0.3 points lost on images held back. On PCs it needs 8-bit dot products (VNNI).'
    """
    return _sentences(*_found(row.tuning), _vnni(row)) if row.tuning else ""


def chosen(tuning: Tuning | None) -> str:
    """Return what was found out by trial, and what that brought; empty where nothing was tried.

    What the file needs, a verdict says by itself.
    """
    # A loss is estimated where float layers were asked for, even if none was needed.
    if tuning is None or not (
        tuning.sqnr_db or tuning.kept_float or tuning.loss_points is not None
    ):
        return ""
    return _sentences(*_found(tuning))


def _found(tuning: Tuning) -> tuple[str, ...]:
    return _ranges(tuning), _kept(tuning), _rest(tuning)


def _sentences(*texts: str) -> str:
    return " ".join(filter(None, texts))


def remarks(row: VariantResult) -> tuple[str, ...]:
    """Return all that is to be said of a row beside its figures."""
    return tuple(filter(None, (*row.notes, tuned(row))))


def _ranges(tuning: Tuning) -> str:
    name = OBSERVERS.get(tuning.observer, tuning.observer)
    if not name:
        return ""
    decibels = tuning.sqnr_db.get(tuning.observer)
    if decibels is None:
        return f"Ranges: {name}."
    tried = sorted(tuning.sqnr_db.items(), key=lambda pair: -pair[1])
    others = [f"{OBSERVERS.get(n, n)} {db:.1f}" for n, db in tried if n != tuning.observer]
    beside = f" ({', '.join(others)})" if others else ""
    return f"Ranges: {name}, {decibels:.1f} dB on pictures it had not seen{beside}."


def _kept(tuning: Tuning) -> str:
    """Return how many layers stay float, and what is lost then."""
    lost = "" if tuning.loss_points is None else f": {_loss(tuning.loss_points)}"
    if not tuning.kept_float:
        return f"No layer has to stay float{lost}." if lost else ""
    count = len(tuning.kept_float)
    of = f" of {tuning.layers}" if tuning.layers else ""
    noun = "layer" if count == 1 and not of else "layers"
    return f"{count:,}{of} {noun} {'stays' if count == 1 else 'stay'} float{lost}."


def _loss(points: float) -> str:
    on = "on images held back"
    if abs(points) < 0.005:
        return f"nothing lost {on}"
    return f"{wording.points(abs(points))} {'lost' if points > 0 else 'gained'} {on}"


def _rest(tuning: Tuning) -> str:
    done = {
        "biases corrected": tuning.bias_correction,
        "weights balanced": tuning.equalized,
        "one of 8 bits left free": tuning.reduce_range,
    }
    parts = [part for part, holds in done.items() if holds]
    return f"{wording.capital(wording.joined(parts))}." if parts else ""


def _vnni(row: VariantResult) -> str:
    needs = needs_vnni(row.backend, row.tuning)
    return "On PCs it needs 8-bit dot products (VNNI)." if needs else ""
