"""A module in bfloat16: weights and arithmetic in 16 bits, float32 in and out.

bfloat16 has float32's range, so nothing overflows that did not before, and nothing is calibrated.
Batch norms are folded first, in float32: in bfloat16, each would round a second time.
"""

from typing import TYPE_CHECKING, Any

from quantcore import models
from quantcore.backends.torch_ao import traced
from quantcore.backends.torch_ao.module import example, is_program
from quantcore.errors import UnsupportedError
from quantcore.images import ConversionInput

if TYPE_CHECKING:
    from torch import nn


def halved(inputs: ConversionInput) -> "nn.Module":
    """Return the float model in bfloat16, which takes no pictures.

    Raises:
        UnsupportedError: it is a program whose numbers torch cannot reach.
    """
    import torch

    from quantcore.backends.torch_ao.bfloat16 import BFloat16

    model: Any = models.build(inputs.spec)
    pictures = example(inputs.image_size)
    program = model
    if not is_program(model):
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad():
            program = torch.jit.trace(model.eval(), pictures, check_trace=False)
    module: Any = traced.modular(program, pictures)
    if module is None and is_program(model):
        raise UnsupportedError(
            "torch cannot reach the numbers in this program to round them.",
            "Use half on openvino or onnxruntime, or upload the weights alone.",
        )
    module = model if module is None else module
    halved = BFloat16(module.eval().bfloat16().to(memory_format=torch.channels_last))
    return halved.eval()
