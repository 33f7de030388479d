"""How an engine's 8-bit numbers are laid out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Numerics:
    """Ranges and scales of 8-bit numbers.

    Attributes:
        qconfig: name of torch's default configuration. Engines that share it convert a model to
            the same weights, scales and zero points, so the work is done once for both.
        reduce_range: activations use 7 of their 8 bits, so that sums of products cannot overflow.
        per_channel: weights have one scale per output channel unless a workflow says otherwise.
        rounds_biases: layers add biases as whole numbers of their products' scale, not as floats.
    """

    qconfig: str
    reduce_range: bool
    per_channel: bool
    rounds_biases: bool = False


X86 = Numerics("x86", reduce_range=True, per_channel=True)
ONEDNN = Numerics("onednn", reduce_range=False, per_channel=True)
QNNPACK = Numerics("qnnpack", reduce_range=False, per_channel=False, rounds_biases=True)
