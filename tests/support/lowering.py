"""What children do in the tests of ExecuTorch: lower small models, and ask the programs."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from quantcore.errors import RequestError

SIDE = 16
ROUNDED = ("depthwise", "linear")


def small_models() -> dict[str, Callable[[], Any]]:
    """Return models of one kind of layer each, by name."""
    import torch
    from torch import nn

    class Products(nn.Module):
        def forward(self, images: Any) -> Any:
            rows = images.flatten(2)
            return (rows @ rows.transpose(1, 2)).flatten(1)

    class Moving(nn.Module):
        """A convolution whose weights depend on the picture, which XNNPACK does not have."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

        def forward(self, images: Any) -> Any:
            return nn.functional.conv2d(images, self.weight * images.mean()).flatten(1)

    return {
        "convolution": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Flatten()),
        "depthwise": lambda: nn.Sequential(nn.Conv2d(3, 6, 5, groups=3), nn.Flatten()),
        "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 2, 2), nn.Flatten()),
        "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 10)),
        "products": Products,
        "portable": Moving,
    }


def all_lowered(_: Connection, folder: Path) -> dict[str, dict[str, Any]]:
    """Lower the small models, some rounded as well; `folder` takes temporary files."""
    import tempfile

    tempfile.tempdir = str(folder)
    plain = {name: _lowered(folder, name, rounded=False) for name in small_models()}
    rounded = {f"{name}, rounded": _lowered(folder, name, rounded=True) for name in ROUNDED}
    return plain | rounded


def _lowered(folder: Path, name: str, *, rounded: bool) -> dict[str, Any]:
    """Lower a small model, and return what is counted in its program, and how far it is off."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from quantcore.backends import pt2e, xnnpack
    from quantcore.formats.executorch_program import Program

    torch.manual_seed(0)
    model = small_models()[name]().eval()
    pictures = torch.randn(4, 3, SIDE, SIDE)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(pictures[:1])
    graph: Any = torch.export.export(model, (pictures[:1],)).module()
    if rounded:
        observed = pt2e.prepared(graph, "minmax")
        for picture in pictures:
            pt2e.predictor(observed)(picture[None])
        graph = pt2e.converted(observed)
    program = xnnpack.lowered(graph, pictures[:1])
    path = folder / "small.pte"
    path.write_bytes(program.with_provenance({"name": name, "why": ["ä", 1]}))
    expected = np.concatenate([pt2e.predictor(graph)(each[None]).numpy() for each in pictures])
    work = program.work()
    return {
        "counted": counter.get_total_flops() // 2,
        "int8": work.int8,
        "float32": work.float32,
        "portable": work.portable,
        "left": list(work.left),
        "off": float(np.abs(_asked(path, pictures) - expected).max() / np.abs(expected).max()),
        "provenance": Program(path.read_bytes()).provenance,
    }


def _asked(path: Path, pictures: Any) -> Any:
    from quantcore.backends import runtime

    backend = runtime("executorch")
    return backend.load(path, 1)(pictures).numpy()


def by_hand(_: Connection, request: Any, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Quantize a model as ExecuTorch's documentation has it, and as the product does.

    Returns the logits of both programs, and of the graph that was lowered by hand.
    """
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from quantcore import models
    from quantcore.backends import runtime
    from quantcore.engine import conversion_input
    from quantcore.workflows import workflow

    torch.set_num_threads(1)
    inputs = conversion_input(request, folder)
    calibration = inputs.images.calibration.tensor(settings["calibration_images"]).contiguous()
    pictures = inputs.images.evaluation.tensor(request.images.evaluation_images).contiguous()
    sample = (pictures[:1],)
    exported = torch.export.export(models.build(inputs.spec).eval(), sample)
    quantizer = XNNPACKQuantizer().set_global(
        get_symmetric_quantization_config(is_per_channel=True)
    )
    prepared: Any = prepare_pt2e(exported.module(), quantizer)
    with torch.no_grad():
        for picture in calibration:
            prepared(picture[None])
        graph: Any = convert_pt2e(prepared)
        rounded = torch.cat([graph(picture[None]) for picture in pictures]).numpy()
    program = to_edge_transform_and_lower(
        torch.export.export(graph, sample), partitioner=[XnnpackPartitioner()]
    ).to_executorch()
    (folder / "hand.pte").write_bytes(program.buffer)
    method = Runtime.get().load_program(folder / "hand.pte").load_method("forward")
    hand = torch.cat([method.execute([picture[None]])[0].clone() for picture in pictures]).numpy()

    backend = runtime("executorch")
    made = workflow("static", settings).convert(inputs, backend, lambda _stage, _share: None)
    made.write(folder / "ours.pte", {})
    ours = backend.load(folder / "ours.pte", 1)(pictures).numpy()
    return {"hand": hand, "ours": ours, "graph": rounded}


def chosen(_: Connection, request: Any, folder: Path) -> dict[str, Any]:
    """Quantize a model in several ways, without lowering it.

    Returns, by setting, what the conversion chose by itself and the layers that read floats.
    """
    from unittest.mock import patch

    from quantcore.backends import executorch, pt2e, runtime, tuning
    from quantcore.engine import conversion_input
    from quantcore.workflows import workflow

    inputs, backend = conversion_input(request, folder), runtime("executorch")
    # Where a loss is judged matters to nothing here but time.
    tuning.CHOOSING = 64

    def made(name: str, **settings: Any) -> dict[str, Any]:
        options = workflow(name, settings)
        with patch.object(executorch, "_lowered", lambda *arguments: arguments):
            graph, _inputs, _report, *found = options.convert(inputs, backend, ignored)
        reads = [node for node in pt2e.layers(graph) if not _is_rounded(node)]
        return {"floats": [pt2e.layer_of(node) for node in reads], "tuning": found}

    few = {"calibration_images": 16}
    return {
        "auto": made("static", observer="auto", **few),
        "kept": made("static", observer="minmax", keep_float=2, **few),
        "per tensor": made("static", observer="minmax", per_channel=False, **few),
        "dynamic": made("dynamic"),
        "named": made("dynamic", layers=("fc",)),
        "unknown": _error(lambda: made("dynamic", layers=("layer9",))),
    }


def ignored(_stage: str, _share: float) -> None:
    """Take no notice of a progress report."""


def _is_rounded(node: Any) -> bool:
    return all("dequantize" in str(read.target) for read in node.args[:2])


def _error(call: Callable[[], Any]) -> str:
    try:
        call()
    except RequestError as error:
        return error.reason
    return ""
