"""Models: from a `ModelSpec` to a module, its weights and its facts.

Importing this package imports no torch; the functions that build modules do when called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from quantcore.errors import UnsupportedError
from quantcore.models.bundle import bundled_file
from quantcore.models.catalogue import LAYER_TYPES, ModelInfo, catalogue, find, offered
from quantcore.models.figures import Figures
from quantcore.models.subject import Subject
from quantcore.schema import ModelSpec

__all__ = [
    "LAYER_TYPES",
    "Figures",
    "ModelInfo",
    "Subject",
    "architectures",
    "build",
    "build_quantizable",
    "bundled_file",
    "catalogue",
    "empty",
    "fashion_mnist",
    "find",
    "graph_file",
    "offered",
    "ready_quantized",
    "torchvision",
    "torchvision_import",
    "uploads",
    "weights_are_here",
    "weights_digest",
    "weights_files",
]

if TYPE_CHECKING:
    from torch import nn

    from quantcore.models.catalogue import ModelInfo


def build(spec: ModelSpec) -> "nn.Module":
    """Return the plain float module in eval mode, mapping `[N, 3, H, W]` to logits `[N, classes]`.

    Raises:
        RequestError: there is no such model.
        WeightsUnavailableError: its weights are not here and cannot be fetched.
    """
    from quantcore.models import bundled, torchvision, uploads
    from quantcore.models.catalogue import find

    info = find(spec)
    if spec.source == "upload":
        return uploads.build(info)
    if spec.is_random:
        return torchvision.build_random(info)
    return bundled.build(info) if spec.source == "bundled" else torchvision.build(info)


def graph_file(spec: ModelSpec) -> Path:
    """Return the file of a model that came as an ONNX graph, in the form that all graphs have."""
    from quantcore.models import uploads

    return uploads.graph_file(spec.name)


def build_quantizable(spec: ModelSpec) -> "nn.Module":
    """Return torchvision's quantizable twin with the weights of `build`: eval mode, not fused.

    Raises:
        UnsupportedError: torchvision has no such twin.
        RequestError, WeightsUnavailableError: as `build`.
    """
    from quantcore.models import bundled, torchvision, uploads
    from quantcore.models.catalogue import find
    from quantcore.models.empty import EmptyParameters

    info = find(spec)
    if info.static_mode != "eager":
        raise UnsupportedError(
            f"torchvision has no quantizable twin of {info.title}.",
            "Quantize it in FX graph mode." if info.static_mode else info.static_refusal,
        )
    weights = build(spec).state_dict()
    with EmptyParameters():
        twin = {"bundled": bundled.twin, "upload": uploads.twin}.get(spec.source, torchvision.twin)
        model = twin(info)
    model.load_state_dict(weights, assign=True)
    return model.eval()


def ready_quantized(spec: ModelSpec, engine: str) -> "nn.Module":
    """Return the module of the ready-quantized checkpoint, its weights packed for the engine.

    Leaves `torch.backends.quantized.engine` set to the engine.

    Raises:
        UnsupportedError: there is no ready-quantized checkpoint for this engine.
        RequestError, WeightsUnavailableError: as `build`.
    """
    import torch

    from quantcore.models import bundled, torchvision
    from quantcore.models.catalogue import find

    info = find(spec)
    _require_ready_quantized(info, engine)
    torch.backends.quantized.engine = engine
    if info.source == "bundled":
        return bundled.ready_quantized(info, engine)
    return torchvision.ready_quantized(info, engine)


def weights_digest(spec: ModelSpec, ready_quantized_for: str | None = None) -> str:
    """Return the SHA-256 of the file that `build` (or `ready_quantized`) reads. Needs no torch.

    Random weights have no file: theirs is the digest of the architecture and the seed.

    Raises:
        UnsupportedError: as `ready_quantized`.
        RequestError, WeightsUnavailableError: as `build`.
    """
    from quantcore.models import torchvision, uploads
    from quantcore.models.catalogue import find
    from quantcore.schema import file_digest

    info = find(spec)
    if spec.source == "upload" and ready_quantized_for is None:
        return uploads.digest(spec)
    if ready_quantized_for is not None:
        _require_ready_quantized(info, ready_quantized_for)
    elif spec.is_random:
        return torchvision.random_digest(info)
    return file_digest(_weights_path(info, ready_quantized_for))


def weights_are_here(spec: ModelSpec, ready_quantized_for: str | None = None) -> bool:
    """Return whether `weights_digest` answers from this machine, without fetching anything."""
    from quantcore.models import torchvision, uploads
    from quantcore.models.bundle import bundled_file
    from quantcore.models.catalogue import find

    if spec.source == "upload":
        return ready_quantized_for is None and uploads.is_here(spec)
    info = find(spec)
    if spec.is_random and ready_quantized_for is None:
        return True
    engine = ready_quantized_for
    name = info.weights_file if engine is None else info.pretrained_weights.get(engine)
    if name is None:
        return False
    if info.source == "torchvision":
        return (torchvision.hub_folder() / name).is_file()
    return bundled_file(f"{'checkpoints' if engine is None else 'quantized'}/{name}").is_file()


def weights_files(spec: ModelSpec) -> tuple[Path, ...]:
    """Return the existing files of torch hub's cache that published weights are read from.

    Uploads have folders of their own.
    """
    from quantcore.models import torchvision
    from quantcore.models.catalogue import find

    if spec.source != "torchvision" or spec.is_random:
        return ()
    info = find(spec)
    names = filter(None, (info.weights_file, *info.pretrained_weights.values()))
    paths = (torchvision.hub_folder() / name for name in names)
    return tuple(path for path in paths if path.is_file())


def _weights_path(info: "ModelInfo", engine: str | None) -> Path:
    from quantcore.models import bundled, torchvision

    if info.source == "bundled":
        return bundled.weights_path(info, engine)
    return torchvision.weights_path(info, engine)


def _require_ready_quantized(info: "ModelInfo", engine: str) -> None:
    if engine in info.pretrained_weights:
        return
    available = " and ".join(info.pretrained_engines)
    raise UnsupportedError(
        f"There is no ready-quantized checkpoint of {info.title} for {engine}.",
        f"There is one for {available}." if available else "Use static or qat instead.",
    )
