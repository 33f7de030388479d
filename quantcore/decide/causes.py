"""Why a promise was not kept: what was measured or chosen, and what to do about it.

A cause is claimed where its condition holds. What only some backends do stands in their entries.
"""

from collections.abc import Callable, Mapping

from quantcore import wording
from quantcore.backends import entry
from quantcore.decide.speed import over_own
from quantcore.decide.thresholds import SMALLER
from quantcore.schema import Cause, Environment, Extreme, FloatStatistics, VariantResult

# Below these a model is tiny: what surrounds the arithmetic weighs more than the arithmetic.
TINY_MS = 0.5
TINY_BYTES = 1_000_000
# Of compute in 8 bits. Were that four times as fast, less of it could not make the whole twice as
# fast (Amdahl's law).
MOSTLY_FLOAT = 2 / 3
FEW_IMAGES = 32
# A range so many times too wide leaves 32 of 256 steps: three bits fewer, or 18 dB more noise.
STRETCHED = 8.0
# Between like pictures these figures stay below 0.001 and 0.24 on the bundled models; a difference
# of 0.8 standard deviations is called large (Cohen, Statistical Power Analysis, 1988).
OUTSIDE = 0.01
SHIFTED = 0.8


def size_causes(row: VariantResult, own: VariantResult | None) -> tuple[Cause, ...]:
    """Return why a file is not as small as promised; `own` is the float32 of its runtime."""
    code = row.artifact.size_bytes - row.state_dict_bytes
    ratio = own.state_dict_bytes / row.state_dict_bytes if own else 0.0
    shrank, tiny = ratio >= SMALLER.kept, row.artifact.size_bytes < TINY_BYTES
    converted = row.int8_share >= MOSTLY_FLOAT
    return _holding(
        {
            _left_float(row): not converted,
            Cause(
                f"Its weights shrank as promised; the file also carries {wording.megabytes(code)} "
                "of code and records, which do not shrink.",
                "Look at its exports: other formats carry less beside the weights.",
            ): shrank and code > 0,
            Cause(
                f"The model is tiny: of a file of {wording.megabytes(row.artifact.size_bytes)}, "
                "records weigh about as much as weights.",
                "Keep float32, unless every kilobyte counts.",
            ): tiny and not shrank,
            Cause(
                f"Its weights by themselves are {wording.smaller(ratio or 1.0)}: the scale and the "
                "bias of each channel keep 32 bits or more.",
                "One scale a layer (static, per channel off) takes less, but is coarse.",
            ): own is not None and converted and _per_channel(row) and not (shrank or tiny),
        }
    )


def speed_causes(
    row: VariantResult, own: VariantResult | None, environment: Environment
) -> tuple[Cause, ...]:
    """Return why a file is not as fast as promised; `own` is the float32 of its runtime."""
    backend, speed = entry(row.backend), over_own(row)
    float_ms = own.latency_ms.p50 if own else 0.0
    low, high = wording.digits(speed.low), wording.digits(speed.high)
    general = {
        _left_float(row): row.int8_share < MOSTLY_FLOAT,
        Cause(
            f"The model is tiny: float32 takes {wording.milliseconds(float_ms)} a call, so what "
            "surrounds the arithmetic takes most of the time.",
            "Give it several pictures a call, or keep float32.",
        ): 0 < float_ms < TINY_MS,
        Cause(
            "Others slowed the processor down while it was timed: its speed-up "
            f"lies between {low}× and {high}×.",
            "Measure again while the machine is quiet.",
        ): row.machine_busy,
        Cause(
            "It runs in 8 bits and is slower than in float all the same: its backend has no fast "
            "8-bit kernels for some of its layers.",
            "Use another backend, or keep float32.",
        ): row.int8_share >= MOSTLY_FLOAT and speed.high < 1 and not row.machine_busy,
    }
    return (*(backend.speed_causes(environment) if backend else ()), *_holding(general))


def accuracy_causes(
    row: VariantResult, statistics: FloatStatistics | None, environment: Environment
) -> tuple[Cause, ...]:
    """Return why a variant is less accurate; `statistics` are those of its float model."""
    if not row.int8_share:
        return ()
    backend = entry(row.backend)
    found = [cause(row, statistics) for cause in _MEASURED] if statistics else []
    return (
        *(cause for cause in found if cause),
        *_few_images(row, statistics),
        *_per_tensor(row, statistics),
        *(backend.accuracy_causes(row.settings, environment) if backend else ()),
    )


def _holding(causes: Mapping[Cause, bool]) -> tuple[Cause, ...]:
    return tuple(cause for cause, holds in causes.items() if holds)


def _left_float(row: VariantResult) -> Cause:
    share = wording.digits(100 * row.int8_share)
    if row.workflow == "dynamic":
        return Cause(
            f"Convolutions stay float under dynamic: {share} % of the compute runs in 8 bits.",
            "Use static or QAT, which convert them.",
        )
    return Cause(
        f"Layers stayed float: only {share} % of the compute runs in 8 bits.",
        "Use another backend, which may have 8-bit kernels for them.",
    )


def _outlier(row: VariantResult, statistics: FloatStatistics) -> Cause | None:
    worst = _beyond(statistics.outlier, STRETCHED)
    if worst is None or _observer(row) != "minmax":
        return None
    return Cause(
        f"Rare outliers stretch its ranges: in {worst.layer} the largest activation is "
        f"{_times(worst)} the 99.9th percentile, and a range from minimum to maximum leaves "
        f"{_left(worst)} of its steps for all below.",
        "Choose the histogram observer, which cuts outliers off, where the backend has it, "
        f"or {_training(row)}.",
    )


def _channel(row: VariantResult, statistics: FloatStatistics) -> Cause | None:
    worst = _beyond(statistics.channel, STRETCHED)
    if worst is None or row.workflow == "dynamic":
        return None
    return Cause(
        f"One channel is an outlier: in {worst.layer} its activations reach {_times(worst)} as far "
        f"as the median channel’s, which gets {_left(worst)} of the steps.",
        f"Balance the layers (equalize) where the backend can, or {_training(row)}.",
    )


def _unlike(row: VariantResult, statistics: FloatStatistics) -> Cause | None:
    outside = _beyond(statistics.outside, OUTSIDE)
    shift = _beyond(statistics.shift, SHIFTED)
    if "calibration_images" not in row.settings or not (outside or shift):
        return None
    parts = []
    if outside:
        share = wording.digits(100 * outside.value)
        parts.append(f"{share} % of the activations in {outside.layer} lie outside the range seen")
    if shift:
        distance = wording.digits(shift.value)
        parts.append(f"the means in {shift.layer} lie {distance} standard deviations off")
    return Cause(
        f"The evaluation’s pictures are unlike those of calibration: {wording.joined(parts)}.",
        "Calibrate on pictures like those that it will see.",
    )


_MEASURED: tuple[Callable[[VariantResult, FloatStatistics], Cause | None], ...] = (
    _outlier,
    _channel,
    _unlike,
)


def _few_images(row: VariantResult, statistics: FloatStatistics | None) -> tuple[Cause, ...]:
    asked = row.settings.get("calibration_images")
    if not isinstance(asked, int):
        return ()
    images = min(asked, statistics.calibration_images) if statistics else asked
    cause = Cause(
        f"Its ranges were calibrated on {wording.count(images, 'picture')} only.",
        "Calibrate on more (calibration images); 256 are a good start.",
    )
    return _holding({cause: images < FEW_IMAGES})


def _per_tensor(row: VariantResult, statistics: FloatStatistics | None) -> tuple[Cause, ...]:
    """Return what one weight scale for a whole layer costs, where that is how it was made."""
    if _per_channel(row) or row.workflow == "dynamic":
        return ()
    remedy = f"Give each channel a scale of its own (static, per channel), or {_training(row)}."
    worst = statistics and _beyond(statistics.depthwise, STRETCHED)
    if not (statistics and worst):
        coarse = "Its weights share one scale a layer (per tensor), which is coarse."
        return (Cause(coarse, remedy),)
    layers = wording.count(statistics.depthwise_layers, "depthwise layer")
    sentence = (
        f"Each of its {layers} has a single weight scale (per tensor): in {worst.layer} the widest "
        f"channel’s weights reach {_times(worst)} as far as the median channel’s, which gets "
        f"{_left(worst)} of the steps."
    )
    return (Cause(sentence, remedy),)


def _per_channel(row: VariantResult) -> bool:
    """Return whether each channel's weights have a scale: as chosen, else as its backend does."""
    backend, chosen = entry(row.backend), row.settings.get("per_channel")
    return bool(backend is None or backend.per_channel if chosen is None else chosen)


def _beyond(worst: Extreme | None, limit: float) -> Extreme | None:
    return worst if worst is not None and worst.value >= limit else None


def _times(worst: Extreme) -> str:
    return f"{wording.digits(worst.value)}×"


def _left(worst: Extreme) -> str:
    return f"{wording.digits(100 / worst.value)} %"


def _observer(row: VariantResult) -> object:
    """Return how a row's ranges of activations were found; None where none had to be."""
    return row.tuning.observer if row.tuning else row.settings.get("observer")


def _training(row: VariantResult) -> str:
    return "train longer (steps)" if row.workflow == "qat" else "use QAT"
