"""A converted torch module: its numbers, their digest, and the TorchScript file of it."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcore.formats import torchscript
from quantcore.schema import Tuning

if TYPE_CHECKING:
    from torch import Tensor, nn

TRACE_BATCH = 2


@dataclass(frozen=True)
class TorchModel:
    """A converted module in evaluation mode, for one of torch's engines.

    Attributes:
        module: an `nn.Module`, or the `ScriptModule` of an uploaded program.
        image_size: side in px of the pictures it is traced with.
        engine: torch's quantized engine that its weights are packed for.
        is_costly: it took pictures to find, so that its state is worth keeping.
        tuning: what its conversion chose by itself.
    """

    module: "nn.Module"
    image_size: int
    engine: str | None
    is_costly: bool = False
    tuning: Tuning | None = None

    @cached_property
    def numbers(self) -> bytes:
        """Return the state dict as it is on disk; a program's numbers are in its graph."""
        return numbers(self.module)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of every weight, scale and zero point."""
        return state_digest(self.module)

    @property
    def state_bytes(self) -> int:
        """Return the size of the state dict as `torch.save` writes it."""
        return len(self.numbers)

    def state(self) -> bytes | None:
        """Return the state dict where it took pictures to find it; a program has none."""
        return self.numbers if self.is_costly and not is_program(self.module) else None

    def write(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Write the traced, frozen module.

        Raises:
            UnsupportedError: neither traced nor scripted it answers as the module does.
        """
        torchscript.export(self.module, example(self.image_size), self.engine, metadata, path)


def is_program(module: "nn.Module") -> bool:
    """Return whether the module came as TorchScript."""
    import torch

    return isinstance(module, torch.jit.ScriptModule)


def example(image_size: int) -> "Tensor":
    """Return pictures `[2, 3, S, S]` to trace with, always the same."""
    import torch

    noise = torch.Generator().manual_seed(0)
    return torch.randn(TRACE_BATCH, 3, image_size, image_size, generator=noise)


def evaluated(module: "nn.Module") -> "nn.Module":
    """Return the module in evaluation mode; a frozen program has no other."""
    return module.eval() if hasattr(module, "training") else module


def numbers(module: "nn.Module") -> bytes:
    """Return the state dict as it is on disk; the recipe's `print_model_size` takes its size.

    A program's numbers are in its graph: it is returned whole.
    """
    import torch

    if is_program(module):
        program: Any = module
        content: bytes = program.save_to_buffer()
        return content
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.getvalue()


def state_digest(module: "nn.Module") -> str:
    """Return the SHA-256 of every weight, scale and zero point, in the order of the state dict.

    A program's numbers are in its graph: the digest is that of the whole.
    """
    if is_program(module):
        return hashlib.sha256(numbers(module)).hexdigest()
    total = hashlib.sha256()
    for name, value in module.state_dict().items():
        total.update(name.encode())
        _add(total, value)
    return total.hexdigest()


def _add(total: Any, value: Any) -> None:
    import torch

    if isinstance(value, torch.Tensor) and value.is_quantized:
        _add(total, value.int_repr())
        if value.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams):
            _add(total, value.q_per_channel_scales())
            _add(total, value.q_per_channel_zero_points())
        else:
            _add(total, [value.q_scale(), value.q_zero_point()])
    elif isinstance(value, torch.Tensor):
        total.update(str(value.dtype).encode())
        flat = value.detach().contiguous().flatten()
        total.update(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, (list, tuple)):
        for each in value:
            _add(total, each)
    elif isinstance(value, torch.ScriptObject):
        state: Any = value
        _add(total, list(state.__getstate__()))
    else:
        total.update(json.dumps(str(value)).encode())
