"""Write `catalogue.json` from torchvision's published facts and from the modules themselves.

Modules are built on the meta device, where they have shapes and no numbers, so that the largest
costs no memory. The output is the same for the same torch and torchvision.
"""

import json
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from quantcore.models import fashion_mnist, small
from quantcore.models.architectures import architecture
from quantcore.models.empty import EmptyParameters
from quantcore.models.layers import dynamic_layers, has_float_attention
from quantcore.models.torchvision_import import torchvision

MIB = 2**20
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BUNDLED_SIZE = 64
BUNDLED_TWINS = ("mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0", "resnet18")
BUNDLED_OWN = {"row_lstm": small.row_lstm, "vit_tiny": small.vit_tiny}
OWN_TITLES = {"row_lstm": "Row LSTM", "vit_tiny": "ViT Tiny"}
# Which engines can run weights that were quantized for one.
SERVES = {"fbgemm": ("x86", "fbgemm"), "x86": ("x86", "fbgemm"), "qnnpack": ("qnnpack",)}
LSTM_REFUSAL = (
    "An LSTM has no static 8-bit form in PyTorch: its steps feed back into themselves. "
    "Dynamic quantization is made for it."
)
TRACE_REFUSAL = (
    "PyTorch's FX graph mode cannot follow this model's code ({error}). "
    "Dynamic quantization needs no tracing."
)
DEFAULTS: dict[str, Any] = {
    "interpolation": "bilinear",
    "static_refusal": "",
    "figures": None,
    "pretrained_weights": {},
}
TITLE_WORDS = (
    (r"^alexnet", "AlexNet"),
    (r"^convnext", "ConvNeXt"),
    (r"^densenet", "DenseNet-"),
    (r"^efficientnet", "EfficientNet"),
    (r"^googlenet", "GoogLeNet"),
    (r"^inception", "Inception"),
    (r"^maxvit", "MaxViT"),
    (r"^mnasnet", "MNASNet "),
    (r"^mobilenet", "MobileNet"),
    (r"^regnet_(.)_", r"RegNet \1 "),
    (r"^resnet", "ResNet-"),
    (r"^resnext(\d+)_", r"ResNeXt-\1 "),
    (r"^shufflenet", "ShuffleNet"),
    (r"^squeezenet", "SqueezeNet "),
    (r"^swin", "Swin"),
    (r"^vgg", "VGG-"),
    (r"^vit_(.)_", r"ViT \1/"),
    (r"^wide_resnet(\d+)_2", r"Wide ResNet-\1-2"),
)


def write_catalogue(path: Path) -> None:
    """Write every model's facts and the labels of both data sets."""
    logging.getLogger("torch").setLevel(logging.ERROR)
    models = torchvision().models
    names = models.list_models(module=models)
    categories = models.get_model_weights("resnet18").DEFAULT.meta["categories"]
    entries = {f"bundled/{name}": bundled_facts(name) for name in (*BUNDLED_TWINS, *BUNDLED_OWN)}
    entries |= {f"torchvision/{name}": published_facts(name) for name in names}
    content = {
        "labels": {"fashion_mnist": fashion_mnist.LABELS, "imagenet": categories},
        "defaults": DEFAULTS,
        "models": {name: _without_defaults(facts) for name, facts in entries.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _without_defaults(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in facts.items() if key not in DEFAULTS or value != DEFAULTS[key]
    }


def bundled_facts(name: str) -> dict[str, Any]:
    """Return the catalogue's entry of a bundled model."""
    own = BUNDLED_OWN.get(name)
    with EmptyParameters():
        model = own() if own else torchvision().models.get_model(name, num_classes=10)
    files = {
        engine: f"{name}.{quantized_for}.pt"
        for quantized_for in ("x86", "qnnpack")
        for engine in SERVES[quantized_for]
    }
    model.to("meta")
    return {
        "title": OWN_TITLES.get(name) or title(name),
        "architecture": name,
        "source": "bundled",
        "dataset": "fashion_mnist",
        "image_size": BUNDLED_SIZE,
        "resize_size": BUNDLED_SIZE,
        "mean": (fashion_mnist.MEAN,) * 3,
        "std": (fashion_mnist.STD,) * 3,
        "classes": len(fashion_mnist.LABELS),
        "weights_file": f"{name}.safetensors",
        "gflops": _multiply_adds(model, BUNDLED_SIZE),
        "pretrained_weights": {} if own else files,
        **_structure(model, name, BUNDLED_SIZE),
    }


def published_facts(name: str) -> dict[str, Any]:
    """Return the catalogue's entry of one of torchvision's architectures."""
    weights = torchvision().models.get_model_weights(name).DEFAULT
    preprocess = weights.transforms()
    with EmptyParameters():
        model = architecture(name)
    return {
        "title": title(name),
        "architecture": name,
        "source": "torchvision",
        "dataset": "imagenet",
        "image_size": preprocess.crop_size[0],
        "resize_size": preprocess.resize_size[0],
        "mean": preprocess.mean,
        "std": preprocess.std,
        "interpolation": preprocess.interpolation.value,
        "classes": len(weights.meta["categories"]),
        "weights_file": weights.url.rpartition("/")[2],
        "gflops": weights.meta["_ops"],
        "figures": {
            "size_bytes": round(weights.meta["_file_size"] * MIB),
            "top1": round(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 6),
        },
        "pretrained_weights": _quantized_files(name),
        **_structure(model.to("meta"), name, preprocess.crop_size[0]),
        "parameters": weights.meta["num_params"],
    }


def _structure(model: nn.Module, name: str, size: int) -> dict[str, Any]:
    mode, refusal = _static_mode(model, name, size)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "static_mode": mode,
        "static_refusal": refusal,
        "dynamic_layers": {kind: len(names) for kind, names in dynamic_layers(model).items()},
        "float_attention": has_float_attention(model),
    }


def _static_mode(model: nn.Module, name: str, size: int) -> tuple[str | None, str]:
    if _has_twin(name):
        return "eager", ""
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return None, LSTM_REFUSAL
    try:
        _prepare_fx(model, size)
    # Whatever FX raises, the answer is its refusal.
    except Exception as error:
        return None, TRACE_REFUSAL.format(error=str(error).splitlines()[0])
    return "fx", ""


def _prepare_fx(model: nn.Module, size: int) -> None:
    from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx

    example = (torch.empty(1, 3, size, size, device="meta"),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_fx.prepare_fx(model.eval(), get_default_qconfig_mapping("x86"), example)


def _has_twin(name: str) -> bool:
    models = torchvision().models
    return f"quantized_{name}" in models.list_models(module=models.quantization)


def _quantized_files(name: str) -> dict[str, str]:
    if not _has_twin(name):
        return {}
    weights = torchvision().models.get_model_weights(f"quantized_{name}").DEFAULT
    file = weights.url.rpartition("/")[2]
    return dict.fromkeys(SERVES[weights.meta["backend"]], file)


def _multiply_adds(model: nn.Module, size: int) -> float:
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return _recurrent_multiply_adds(model, size)
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return float(round(counter.get_total_flops() / 2 / 1e9, 4))


def _recurrent_multiply_adds(model: nn.Module, steps: int) -> float:
    """Return billions of multiply-adds: each matrix is used once a step, and the head is small."""
    matrices = (parameter.numel() for parameter in model.parameters() if parameter.dim() == 2)
    return round(sum(matrices) * steps / 1e9, 4)


def title(name: str) -> str:
    """Return an architecture's name as its paper writes it: `ResNet-18`, `ViT B/16`."""
    for pattern, words in TITLE_WORDS:
        name = re.sub(pattern, words, name)
    name = re.sub(r"(\d)gf$", r"\1 GF", re.sub(r"(\d)mf$", r"\1 MF", name))
    name = re.sub(r"(?<=\d)_(?=\d)", ".", name).replace("_bn", " BN")
    return " ".join(
        part if re.match(r"v\d|x\d|\d", part) else part[0].upper() + part[1:]
        for part in name.replace("_", " ").split()
    )
