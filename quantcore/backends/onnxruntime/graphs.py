"""Float models as ONNX graphs, and graphs as models that are not written yet.

onnx and onnxruntime are imported inside functions that run in child processes only.
"""

import hashlib
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantcore import models
from quantcore.backends.torch_ao import module as torch_module
from quantcore.errors import UnsupportedError
from quantcore.formats import Predictor, onnx
from quantcore.images import ConversionInput
from quantcore.schema import Report, Tuning, current_environment
from quantcore.settings import physical_cores

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession
    from torch import Tensor

PACKAGES = ("onnx", "onnxruntime")
OPSET = 17
REMEDY = "Choose a backend of torch's, which runs the model as it is."


@dataclass(frozen=True)
class OnnxModel:
    """A graph for any number of pictures.

    Attributes:
        graph: the model.
        kept: the state of the torch module that it was exported from, if that took training.
        tuning: what its conversion chose by itself.
    """

    graph: "ModelProto"
    kept: bytes | None = None
    tuning: Tuning | None = None

    module: ClassVar[None] = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the graph and all its numbers, whatever its metadata says."""
        return hashlib.sha256(self.graph.graph.SerializeToString(deterministic=True)).hexdigest()

    @property
    def state_bytes(self) -> int:
        """Return the size of the numbers in the graph."""
        return sum(each.ByteSize() for each in self.graph.graph.initializer)

    def state(self) -> bytes | None:
        """Return the torch module's state, from which other backends' files are made as well."""
        return self.kept

    def write(self, path: Path, metadata: Mapping[str, object]) -> None:
        """Write the file, the metadata inside."""
        own = {} if self.tuning is None else {"reduce_range": self.tuning.reduce_range}
        onnx.save(self.graph, {**metadata, **own}, path)


def float_graph(inputs: ConversionInput, report: Report) -> "ModelProto":
    """Return the float model as a graph; one that came as a graph is taken as it is.

    Other toolchains whose files come from ONNX start from it as well.

    Raises:
        UnsupportedError: an operator of the model has no form in ONNX, or only one for as many
            pictures as a program was traced with.
    """
    report("exporting to ONNX", 0.0)
    if inputs.model.is_graph:
        return uploaded_graph(inputs)
    module = torch_module.evaluated(models.build(inputs.spec))
    try:
        graph = graph_of(module, inputs)
    except UnsupportedError as error:
        raise UnsupportedError(error.reason, REMEDY) from error
    if inputs.model.is_program:
        _require_any_batch(graph, inputs.image_size)
    return graph


def uploaded_graph(inputs: ConversionInput) -> "ModelProto":
    """Return the graph of a model that came as one, for pictures of the size that is asked for.

    Raises:
        UnsupportedError: it takes pictures of another size only.
    """
    import onnx as onnx_package

    graph = onnx_package.load(models.graph_file(inputs.spec), load_external_data=False)
    (pictures,) = graph.graph.input
    for side in pictures.type.tensor_type.shape.dim[2:]:
        if side.dim_value not in (0, inputs.image_size):
            raise UnsupportedError(
                f"This ONNX model takes pictures of {side.dim_value:,} px, and no others.",
                f"Set its input size to {side.dim_value}, or export it with an open height and "
                "width.",
            )
        side.dim_value = inputs.image_size
    return graph


def _require_any_batch(graph: "ModelProto", image_size: int) -> None:
    """Refuse a graph in which the number of pictures it was traced with is a constant.

    Raises:
        UnsupportedError: it does not answer for every number of pictures.
    """
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException as Unfit

    try:
        predict = predictor(graph)
        answered = [len(predict(torch_module.example(image_size)[:1]))]
        answered.append(len(predict(torch_module.example(image_size).repeat(2, 1, 1, 1))))
    # What ONNX Runtime raises over shapes that do not fit, and over operators that it lacks.
    except (Fail, InvalidArgument, Unfit) as error:
        raise UnsupportedError(
            f"ONNX Runtime cannot run this program's graph: {' '.join(str(error).split())[:200]}",
            REMEDY,
        ) from error
    if answered != [1, 2 * torch_module.TRACE_BATCH]:
        raise UnsupportedError(
            "This program's graph holds how many pictures it was traced with.", REMEDY
        )


def graph_of(module: Any, inputs: ConversionInput) -> "ModelProto":
    """Return a module, converted or not, as a graph for any number of pictures."""
    from quantcore.formats import onnx_graph

    example = torch_module.example(inputs.image_size)
    path = inputs.scratch / "exported.onnx"
    graph = onnx.exported(module, example, path, OPSET, dynamic_batch=True)
    path.unlink()
    return onnx_graph.tidied(graph)[0]


def preprocessed(graph: "ModelProto", scratch: Path) -> Path:
    """Return the graph in a file of `scratch` as the quantizers want it: optimized, shapes known.

    The quantizers put temporary files beside it and into the process's temporary folder.
    """
    import onnxruntime
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Warnings about scalars without a channel, and about cores that a locked process cannot pick.
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(onnx.FATAL)
    tempfile.tempdir = str(scratch)
    source, prepared = scratch / "float.onnx", scratch / "prepared.onnx"
    source.write_bytes(graph.SerializeToString())
    quant_pre_process(source, prepared)
    return prepared


def session(graph: "ModelProto") -> "InferenceSession":
    """Return a graph, ready to be run on all cores; 8-bit sums are exact wherever it runs."""
    from quantcore.formats import onnx_graph

    is_precise = current_environment().lacks_vnni and onnx_graph.takes_all_bits(graph)
    return onnx.session(graph.SerializeToString(), physical_cores(), is_precise=is_precise)


def predictor(graph: "ModelProto") -> Predictor:
    """Return a graph as a function from pictures `[N, 3, H, W]` to logits `[N, classes]`."""
    import torch

    running = session(graph)

    def predict(images: "Tensor") -> "Tensor":
        return torch.from_numpy(running.run(None, {onnx.INPUT: images.contiguous().numpy()})[0])

    return predict


def without_metadata(path: Path) -> "ModelProto":
    """Return the model that a quantizer wrote, without the quantizer's own metadata."""
    import onnx as onnx_package

    graph = onnx_package.load(path)
    used = {node.domain for node in graph.graph.node} | {""}
    imports = [each for each in graph.opset_import if each.domain in used]
    del graph.metadata_props[:], graph.opset_import[:]
    graph.opset_import.extend(imports)
    return graph


def halved(graph: "ModelProto") -> "ModelProto":
    """Return the graph with its weights in float16, cast to float32 before they are used.

    Single numbers, and weights with values that float16 does not reach, stay as they are.
    """
    import numpy as np
    import onnx as onnx_package
    from onnx import TensorProto, helper, numpy_helper

    model = onnx_package.ModelProto()
    model.CopyFrom(graph)
    casts = []
    for each in model.graph.initializer:
        if each.data_type != TensorProto.FLOAT or not each.dims:
            continue
        values = numpy_helper.to_array(each)
        if not (np.abs(values) <= np.finfo(np.float16).max).all():
            continue
        name = each.name
        each.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [each.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
