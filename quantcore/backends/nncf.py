"""NNCF's quantizer on OpenVINO graphs, and layers of its results put back into float.

NNCF's own search for layers to keep (`quantize_with_accuracy_control`) puts layers back in the same
way: the float weights are still there until the graph is packed. https://github.com/openvinotoolkit/nncf
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from quantcore.backends.options import Observer
from quantcore.formats import openvino_packages
from quantcore.images import Split
from quantcore.schema import Report

# Ranges by NNCF's names. Its `MEAN_MINMAX` stands for percentiles: the mean of all pictures'
# extremes cuts off rare outliers, in half the time and nearer to float32 than its quantiles.
RANGES: dict[Observer, str] = {
    "minmax": "MINMAX",
    "histogram": "HISTOGRAM",
    "percentile": "MEAN_MINMAX",
}
QUANTIZE = "FakeQuantize"
# Layers that multiply and add.
LAYERS = (
    "Convolution",
    "GroupConvolution",
    "ConvolutionBackpropData",
    "GroupConvolutionBackpropData",
    "MatMul",
    "LSTMSequence",
    "GRUSequence",
)
# How much of the outliers weights take over; NNCF's default.
SMOOTHING = 0.95
# Models with this in them are quantized as transformers.
ATTENTION = ("ScaledDotProductAttention", "Softmax")


# Activations that give negative numbers as well, of which symmetric ranges waste half their codes.
# NNCF's documentation asks for its preset `mixed` with them: MobileNetV3 loses 0.2 points instead
# of 2.3, and takes up to 8 % longer. Others are faster with its default.
SIGNED = ("HSwish", "Swish", "Gelu", "PRelu", "Elu", "Mish", "Selu", "SoftPlus")


@dataclass(frozen=True)
class Quantizer:
    """Settings of NNCF.

    Attributes:
        observer: how ranges of activations are found, one of `RANGES`.
        per_channel: weights have one scale per output channel.
        reduce_range: weights leave one of their 8 bits free, so that sums stay exact without VNNI.
        bias_correction: biases make up for what rounding shifts: a little (None), as well as NNCF
            can, or not at all.
        equalize: linear layers of transformers share their inputs' outliers with their weights
            first (SmoothQuant, https://arxiv.org/abs/2211.10438). NNCF has a way for convolutions
            as well, channel alignment, but it fails on OpenVINO's graphs in 3.4.0.
    """

    observer: Observer
    per_channel: bool
    reduce_range: bool
    bias_correction: bool | None
    equalize: bool

    def quantized(self, model: Any, split: Split, report: Report) -> Any:
        """Return an `openvino.Model` calibrated on a split; its weights are not packed yet.

        `report` may raise to stop it.
        """
        nncf = openvino_packages.nncf()
        from nncf.quantization.advanced_parameters import QuantizationParameters
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        fix = nncf.OverflowFix.ENABLE if self.reduce_range else nncf.OverflowFix.DISABLE
        advanced = nncf.AdvancedQuantizationParameters(
            overflow_fix=fix,
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(
                matmul=SMOOTHING if self.equalize else -1
            ),
            disable_bias_correction=self.bias_correction is False,
            activations_range_estimator_params=getattr(
                RangeEstimatorParametersSet, RANGES[self.observer]
            ),
            weights_quantization_params=QuantizationParameters(per_channel=self.per_channel),
            backend_params={"compress_weights": False},
        )
        return nncf.quantize(
            model,
            nncf.Dataset(_Pictures(split, report)),
            preset=nncf.QuantizationPreset.MIXED if _has(model, SIGNED) else None,
            subset_size=len(split),
            fast_bias_correction=self.bias_correction is not True,
            model_type=nncf.ModelType.TRANSFORMER if is_transformer(model) else None,
            advanced_parameters=advanced,
        )


@dataclass(frozen=True)
class _Pictures:
    """Calibration pictures `[1, 3, S, S]`, as often as NNCF reads them."""

    split: Split
    report: Report

    def __len__(self) -> int:
        return len(self.split)

    def __iter__(self) -> Iterator[Any]:
        for part, (images, _) in enumerate(self.split.batches(1)):
            self.report(f"calibrating on {len(self)} images", part / len(self))
            yield images.contiguous().numpy()


def is_transformer(model: Any) -> bool:
    """Return whether a graph is quantized as a transformer."""
    return _has(model, ATTENTION)


def _has(model: Any, kinds: Collection[str]) -> bool:
    return any(each.get_type_name() in kinds for each in model.get_ops())


def layers(model: Any) -> tuple[str, ...]:
    """Return the names of the layers of a quantized graph that compute in 8 bits, in order."""
    return tuple(
        each.get_friendly_name() for each in model.get_ordered_ops() if _sources(each) and _is(each)
    )


def with_float(model: Any, names: Collection[str]) -> Any:
    """Return a quantized graph in which these layers read what is not rounded."""
    changed = model.clone()
    for layer in changed.get_ops():
        if layer.get_friendly_name() in names:
            for inlet, quantize in _sources(layer):
                inlet.replace_source_output(quantize.input_value(0))
    return changed


def _is(layer: Any) -> bool:
    return layer.get_type_name() in LAYERS


def _sources(layer: Any) -> list[tuple[Any, Any]]:
    """Return the inputs of a layer that are rounded, each with what rounds it."""
    read = [(inlet, inlet.get_source_output().get_node()) for inlet in layer.inputs()]
    return [(inlet, node) for inlet, node in read if node.get_type_name() == QUANTIZE]


def packed(model: Any) -> Any:
    """Return a quantized graph whose weights are stored in 8 bits."""
    from openvino._offline_transformations import compress_quantize_weights_transformation

    whole = model.clone()
    compress_quantize_weights_transformation(whole)
    return whole
