"""torch's own runtime: four engines for 8-bit kernels, and float32 as torch serves it best."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from quantcore.backends.base import (
    NO_VNNI,
    PHONES,
    REDUCED_RANGE,
    RunsFormat,
    Symbol,
    Toolchain,
)
from quantcore.backends.options import Observer
from quantcore.backends.torch_ao import TORCH, TORCH_BFLOAT16, numerics
from quantcore.backends.torch_ao.numerics import Numerics
from quantcore.formats import MeasuredFormat, TorchScript
from quantcore.schema import SERVERS, YES, Cause, Environment, Setting, Support, Target

FOR_PHONES = Cause(
    "Its kernels are made for ARM phones, not for this processor.",
    "Time it on the phone, or use x86 or oneDNN here.",
)


@dataclass(frozen=True)
class TorchEngine(RunsFormat):
    """One of torch's quantized engines, which runs TorchScript files.

    Attributes:
        engine: as torch names it; None leaves torch as it is (float32 needs none).
        numerics: how its 8-bit numbers are laid out.
        takes_float16: it has kernels for weights in half precision.
        takes_bfloat16: it has kernels that compute in bfloat16.
        processors: the processors its kernels are written for, as `platform.machine()` names them.
    """

    name: str
    title: str
    summary: str
    engine: str | None
    numerics: Numerics
    takes_float16: bool
    processors: tuple[str, ...]
    targets: tuple[Target, ...]
    symbol: Symbol
    pace: float = 1.0
    takes_bfloat16: bool = False

    aliases: ClassVar[tuple[str, ...]] = ()
    format: ClassVar[MeasuredFormat] = TorchScript()
    float_backend: ClassVar[str | None] = None
    observer: ClassVar[Observer] = "histogram"

    @property
    def toolchain(self) -> Toolchain:
        """Return torch's toolchain, with a step for 16 bits where the engine computes in them."""
        return TORCH_BFLOAT16 if self.takes_bfloat16 else TORCH

    @property
    def per_channel(self) -> bool:
        """Return whether weights have one scale per output channel by default."""
        return self.numerics.per_channel

    @property
    def saturates(self) -> bool:
        """Return whether its activations take all 8 bits, whose sums overflow without VNNI."""
        return self.engine is not None and not self.numerics.reduce_range

    @property
    def rounds_biases(self) -> bool:
        """Return whether its 8-bit layers add biases as whole numbers."""
        return self.numerics.rounds_biases

    def available(self, environment: Environment) -> Support:
        """Return whether that machine's torch carries the engine."""
        if self.engine is None or self.engine in environment.engines:
            return YES
        return Support(
            False,
            f"torch on this {environment.machine} machine has no {self.title} kernels.",
            f"Choose {' or '.join(environment.engines)}.",
        )

    def overflows(self, environment: Environment) -> bool:
        """Return whether its 8-bit sums can overflow on that machine."""
        is_made_for_it = environment.machine in self.processors
        return self.saturates and is_made_for_it and environment.lacks_vnni

    def speed_causes(self, environment: Environment) -> tuple[Cause, ...]:
        """Return that its kernels are for other processors, or that this one lacks VNNI."""
        if environment.machine not in SERVERS or self.engine is None:
            return ()
        if environment.machine not in self.processors:
            return (FOR_PHONES,)
        return () if environment.has_vnni else (NO_VNNI,)

    def accuracy_causes(
        self, settings: Mapping[str, Setting], environment: Environment
    ) -> tuple[Cause, ...]:
        """Return that its activations have 7 bits only, or that sums of 8 bits can overflow."""
        overflow = Cause(
            f"Without VNNI, {self.title}’s 8-bit sums can overflow.",
            "Use x86, which leaves one bit free for them.",
        )
        reduced = self._reduced(settings, environment)
        trained = "steps" in settings
        causes = {
            # Where it is trained, training makes up for it.
            REDUCED_RANGE: reduced and not trained,
            overflow: self.overflows(environment) and not (reduced or trained),
        }
        return tuple(cause for cause, holds in causes.items() if holds)

    def _reduced(self, settings: Mapping[str, Setting], environment: Environment) -> bool:
        """Return whether a variant's activations leave one of their 8 bits free."""
        chosen = settings.get("reduce_range")
        if "reduce_range" not in settings or chosen is not None:
            return self.numerics.reduce_range if chosen is None else bool(chosen)
        return self.numerics.reduce_range or self.overflows(environment)


X86 = TorchEngine(
    name="x86",
    title="x86",
    summary="Servers and PCs. Picks FBGEMM's or oneDNN's kernels, layer by layer.",
    engine="x86",
    numerics=numerics.X86,
    takes_float16=True,
    processors=SERVERS,
    targets=("server",),
    symbol="square",
)
FBGEMM = TorchEngine(
    name="fbgemm",
    title="FBGEMM",
    summary="Servers and PCs. The older kernels for Intel and AMD, still the widest known.",
    engine="fbgemm",
    numerics=numerics.X86,
    takes_float16=True,
    processors=SERVERS,
    targets=("server",),
    symbol="diamond",
)
ONEDNN = TorchEngine(
    name="onednn",
    title="oneDNN",
    summary="Servers and PCs with 8-bit dot products (VNNI); keeps all 8 bits of activations.",
    engine="onednn",
    numerics=numerics.ONEDNN,
    takes_float16=False,
    processors=SERVERS,
    targets=("server",),
    symbol="triangle-up",
    takes_bfloat16=True,
)
QNNPACK = TorchEngine(
    name="qnnpack",
    title="QNNPACK",
    summary="Phones. Its kernels are for ARM; on a PC it shows size and accuracy, not speed.",
    engine="qnnpack",
    numerics=numerics.QNNPACK,
    takes_float16=False,
    processors=PHONES,
    targets=("phone",),
    symbol="cross",
    pace=2.0,
)
FLOAT = TorchEngine(
    name="float32",
    title="float32",
    summary="torch's own float kernels, with the graph optimized for inference after loading.",
    engine=None,
    numerics=numerics.X86,
    takes_float16=True,
    processors=SERVERS + PHONES,
    targets=("server", "phone"),
    symbol="circle",
)
