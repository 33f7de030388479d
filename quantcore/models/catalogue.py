"""Facts of each model, read from `catalogue.json` without torch.

`python -m quantcore.models.catalogue` writes that file anew; it needs torch and takes minutes.
"""

import difflib
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from quantcore import uploads
from quantcore.errors import RequestError
from quantcore.models.bundle import bundled_file
from quantcore.models.figures import Figures
from quantcore.schema import RANDOM, ModelSpec

CATALOGUE = Path(__file__).with_name("catalogue.json")
CLOSE_NAMES = 5
# The types of layers that dynamic quantization converts.
RECURRENT = ("LSTM", "GRU")
LAYER_TYPES = ("Linear", *RECURRENT)


@dataclass(frozen=True)
class ModelInfo:
    """Facts of one model.

    Attributes:
        name: as a `ModelSpec` writes it.
        title: as people write it.
        dataset: what it was trained on, which decides the pictures it is evaluated on; `own` for
            an upload.
        channels: the order in which it takes them, or the same grey in all three.
        image_size: side of the square it sees, px.
        resize_size: shorter side of the picture before the square is cut out, px.
        mean: of the three channels, of pixels in 0 to 1.
        std: of the three channels, of pixels in 0 to 1.
        interpolation: how pictures are resized.
        classes: width of the logits.
        labels: class names, as many as `classes`.
        parameters: of the float model.
        gflops: billions of multiply-adds for one picture of `image_size`, which is what
            torchvision publishes under this name.
        figures: its size and accuracy in float32; None for uploads and random weights.
        weights_file: its name in torch hub's checkpoints folder or in the bundle; None for random.
        static_mode: `eager` where torchvision has a quantizable twin, `fx` where FX graph mode
            handles it, `jit` where there is a TorchScript graph and no source, None where nothing
            does; `static_refusal` then says why.
        is_program: its weights are somebody's program, which only runs in a sandboxed process pool.
        is_graph: that program is an ONNX graph, which torch cannot read.
        in_8_bits: it was quantized before it came, and has no float32.
        dynamic_layers: how many layers of each type dynamic quantization would convert.
        float_attention: it holds attention that stays float under dynamic quantization.
        pretrained_weights: engine -> file of the ready-quantized weights for it.
    """

    name: str
    title: str
    architecture: str
    source: Literal["bundled", "torchvision", "upload"]
    dataset: Literal["fashion_mnist", "imagenet", "own"]
    image_size: int
    resize_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bilinear", "bicubic"]
    classes: int
    labels: tuple[str, ...]
    parameters: int
    gflops: float | None
    figures: Figures | None
    weights_file: str | None
    static_mode: Literal["eager", "fx", "jit"] | None
    static_refusal: str
    dynamic_layers: dict[str, int]
    float_attention: bool
    pretrained_weights: dict[str, str]
    channels: Literal["RGB", "BGR", "grey"] = "RGB"
    is_program: bool = False
    is_graph: bool = False
    in_8_bits: bool = False

    @property
    def pretrained_engines(self) -> tuple[str, ...]:
        """Return the engines that have ready-quantized weights."""
        return tuple(self.pretrained_weights)

    @property
    def recurrent(self) -> tuple[str, ...]:
        """Return the types of recurrent layers that it has."""
        return tuple(name for name in RECURRENT if self.dynamic_layers.get(name))


@cache
def catalogue() -> dict[str, ModelInfo]:
    """Return every model by name, the bundled ones first; `@random` names are not listed."""
    content = json.loads(CATALOGUE.read_bytes())
    measured = _measured()
    labels = {dataset: tuple(names) for dataset, names in content["labels"].items()}
    return {
        name: _INFO.validate_python(
            {
                **content["defaults"],
                **facts,
                **({"figures": measured[name]} if name in measured else {}),
                "name": name,
                "labels": labels[facts["dataset"]],
                "channels": "grey" if facts["dataset"] == "fashion_mnist" else "RGB",
            }
        )
        for name, facts in content["models"].items()
    }


def _measured() -> dict[str, Any]:
    """Return, by bundled model, the figures that `bundled.make` measured."""
    manifest = bundled_file("manifest.json")
    entries = json.loads(manifest.read_bytes()) if manifest.exists() else {}
    return {
        f"bundled/{Path(file).stem}": facts["figures"]
        for file, facts in entries.items()
        if "figures" in facts
    }


def offered() -> dict[str, ModelInfo]:
    """Return the models of the catalogue whose checkpoint this copy has or can fetch."""
    return {
        name: info
        for name, info in catalogue().items()
        if info.source != "bundled" or bundled_file(f"checkpoints/{info.weights_file}").is_file()
    }


def find(spec: ModelSpec) -> ModelInfo:
    """Return the facts of the model a spec names.

    Raises:
        RequestError: there is no such model; the sentence names the nearest.
    """
    if spec.source == "upload":
        return _uploaded(spec)
    info = catalogue().get(spec.listed)
    if info is None or (spec.is_random and spec.source == "bundled"):
        raise _unknown(spec)
    return _without_weights(info) if spec.is_random else info


def _uploaded(spec: ModelSpec) -> ModelInfo:
    """Return the facts of an uploaded model, as it was recognised."""
    upload = uploads.find(spec.name)
    if upload.model is None:
        raise RequestError(
            f"{upload.filename} is not a model.", "Choose it as images, or upload a model."
        )
    model = upload.model
    like = catalogue().get(model.architecture or "")
    return ModelInfo(
        name=spec.name,
        title=uploads.title(upload),
        architecture=like.architecture if like else "",
        source="upload",
        dataset="own",
        image_size=model.image_size,
        resize_size=model.resize_size,
        mean=model.mean,
        std=model.std,
        interpolation=model.interpolation,
        classes=model.classes,
        labels=model.labels,
        parameters=model.parameters,
        gflops=like.gflops if like else None,
        figures=None,
        weights_file=None,
        static_mode=like.static_mode if like else "jit",
        static_refusal=like.static_refusal if like else "",
        dynamic_layers=dict(model.dynamic_layers),
        float_attention=model.float_attention,
        pretrained_weights={},
        channels=model.channels,
        is_program=model.is_program,
        is_graph=model.form == "onnx",
        in_8_bits=model.in_8_bits,
    )


def _without_weights(info: ModelInfo) -> ModelInfo:
    return replace(
        info,
        name=info.name + RANDOM,
        title=f"{info.title}, random weights",
        figures=None,
        weights_file=None,
        pretrained_weights={},
    )


def _unknown(spec: ModelSpec) -> RequestError:
    names = list(catalogue())
    if spec.is_random and spec.name.removesuffix(RANDOM) in names:
        return RequestError(
            f"{spec.name} does not exist: bundled models come with trained weights.",
            f"Take {spec.listed}, or torchvision/NAME{RANDOM}.",
        )
    close = difflib.get_close_matches(spec.listed, names, CLOSE_NAMES, cutoff=0.0)
    bundled = [name for name in names if name.startswith("bundled/")]
    return RequestError(
        f"There is no model {spec.name!r}. Did you mean {close[0]}?",
        f"Also close: {', '.join(close[1:])}. Bundled: {', '.join(bundled)}. "
        f"`python -m quantcore models` lists all {len(names)}.",
    )


_INFO: TypeAdapter[Any] = TypeAdapter(ModelInfo)

if __name__ == "__main__":
    from quantcore.models.generate import write_catalogue

    write_catalogue(CATALOGUE)
