"""ONNX Runtime: its own quantizers, and QAT as torch trains it, in files of ONNX.

Its quantizer keeps more of a float model's answers than torch's static modules exported to the same
runtime, range for range (`python -m benchmarks onnxruntime`), so `static` and `dynamic` are its.
"""

from quantcore.backends.onnxruntime.backend import BACKEND
from quantcore.backends.onnxruntime.graphs import OnnxModel, float_graph, graph_of
from quantcore.backends.onnxruntime.steps import ENGINE

__all__ = ["BACKEND", "ENGINE", "OnnxModel", "float_graph", "graph_of"]
