"""Import what children need, once. Importing runs no model and starts no thread."""

import torch.ao.quantization
import torch.ao.quantization.quantize_fx
import torch.fx
import torch.utils.flop_counter  # noqa: F401

from quantcore.models.torchvision_import import torchvision

torchvision().models.quantization  # noqa: B018
