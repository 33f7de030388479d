"""Turn one float vision model into its 8-bit variants, and measure what each costs.

    import quantcore

    comparison = quantcore.compare("bundled/mobilenet_v2", ["static"], ["x86", "qnnpack"])
    print(comparison.verdict(quantcore.Budgets(latency_ms=5)).sentence)
    print(comparison.to_dataframe()[["workflow", "backend", "latency_p50_ms"]])
    quantcore.export("bundled/mobilenet_v2", "onnx", "static", "x86", out="files")

What `__all__` names is the public API; everything below is the project's own. Importing it loads
nothing: each name is looked up when it is first used, and none of them imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantcore.api import Comparison, Delivery, compare, export
    from quantcore.decide import Budgets, Verdict
    from quantcore.errors import QuantcoreError, RequestError, UnsupportedError
    from quantcore.schema import Failure, ModelSpec, VariantResult, VerificationReport

_ROOMS = {
    "Budgets": "decide",
    "Comparison": "api",
    "Delivery": "api",
    "Failure": "schema",
    "ModelSpec": "schema",
    "QuantcoreError": "errors",
    "RequestError": "errors",
    "UnsupportedError": "errors",
    "VariantResult": "schema",
    "Verdict": "decide",
    "VerificationReport": "schema",
    "compare": "api",
    "export": "api",
}

__all__ = [
    "Budgets",
    "Comparison",
    "Delivery",
    "Failure",
    "ModelSpec",
    "QuantcoreError",
    "RequestError",
    "UnsupportedError",
    "VariantResult",
    "Verdict",
    "VerificationReport",
    "compare",
    "export",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
