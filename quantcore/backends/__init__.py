"""Where the numbers run. `BACKENDS` is the list; `runtime` also answers for float32 (None)."""

import difflib

from quantcore.backends.base import Backend, Predictor
from quantcore.backends.qconfigs import Observer, qat_qconfig, static_qconfig
from quantcore.errors import RequestError

__all__ = [
    "BACKENDS",
    "FLOAT",
    "Backend",
    "Observer",
    "Predictor",
    "qat_qconfig",
    "runtime",
    "static_qconfig",
]


_SERVERS = ("x86_64", "AMD64")
_PHONES = ("aarch64", "arm64")

BACKENDS: dict[str, Backend] = {
    "x86": Backend(
        name="x86",
        title="x86",
        summary="Servers and PCs. Picks FBGEMM's or oneDNN's kernels, layer by layer.",
        engine="x86",
        qconfig="x86",
        reduce_range=True,
        per_channel=True,
        made_for=_SERVERS,
    ),
    "fbgemm": Backend(
        name="fbgemm",
        title="FBGEMM",
        summary="Servers and PCs. The older kernels for Intel and AMD, still the widest known.",
        engine="fbgemm",
        qconfig="x86",
        reduce_range=True,
        per_channel=True,
        made_for=_SERVERS,
    ),
    "onednn": Backend(
        name="onednn",
        title="oneDNN",
        summary="Servers and PCs with 8-bit dot products (VNNI); keeps all 8 bits of activations.",
        engine="onednn",
        qconfig="onednn",
        reduce_range=False,
        per_channel=True,
        made_for=_SERVERS,
    ),
    "qnnpack": Backend(
        name="qnnpack",
        title="QNNPACK",
        summary="Phones. Its kernels are for ARM; on a PC it shows size and accuracy, not speed.",
        engine="qnnpack",
        qconfig="qnnpack",
        reduce_range=False,
        per_channel=False,
        made_for=_PHONES,
    ),
}

FLOAT = Backend(
    name="float32",
    title="float32",
    summary="torch's own float kernels, with the graph optimized for inference after loading.",
    engine=None,
    qconfig="float32",
    reduce_range=False,
    per_channel=False,
    made_for=_SERVERS + _PHONES,
)


def runtime(name: str | None) -> Backend:
    """Return the backend of that name; None is float32's.

    Raises:
        RequestError: there is no such backend; the sentence names the nearest.
    """
    if name is None:
        return FLOAT
    if name not in BACKENDS:
        near = difflib.get_close_matches(name, BACKENDS, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise RequestError(
            f"There is no backend {name!r}.{guess}", f"The backends are {', '.join(BACKENDS)}."
        )
    return BACKENDS[name]
