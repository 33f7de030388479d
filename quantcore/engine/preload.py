"""Import what children need, once. Importing runs no model and starts no thread."""

import torch.ao.quantization
import torch.ao.quantization.quantize_fx
import torch.fx
import torch.utils.flop_counter  # noqa: F401

from quantcore.models import torchvision_import

torchvision_import.torchvision().models.quantization  # noqa: B018
