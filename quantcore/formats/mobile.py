"""TorchScript for phones: the lite interpreter's `.ptl`, as small as it gets.

What torch calls `optimize_for_mobile` is a list of passes over the graph. One of them, packing
weights for XNNPACK, needs a torch that carries XNNPACK; where it does not, the others are made one
by one. Every pass is told, with the reason where it was left out.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantcore.errors import RequestError, UnsupportedError
from quantcore.formats import lite
from quantcore.formats.base import METADATA, Kernels, Predictor, Source, Written
from quantcore.formats.calls import operator_calls
from quantcore.formats.programs import TEMPLATES, PythonCode, release
from quantcore.formats.torchscript import RUN, TorchFile, activate, captured, engine_line
from quantcore.schema import Check, Exported, Pass, Report, Target

if TYPE_CHECKING:
    from torch import Tensor

FUSED, FROZEN, NO_DROPOUT, ADD_RELU = (
    "fold batch norm into convolutions",
    "freeze",
    "remove dropout",
    "fuse additions with the ReLU after them",
)
PACKED, HOISTED = "pack weights for XNNPACK", "hoist packed weights out of their layers"
LEAN = "drop debug and source records"
PASSES = (FUSED, FROZEN, PACKED, HOISTED, NO_DROPOUT, ADD_RELU)
NO_XNNPACK = "This torch was built without XNNPACK, and has no other way to do it."
NOT_HOISTED = "Freezing has made constants of them already."
UNFROZEN = "Frozen, the file would be larger."
NORM, DROPOUT, ADDED = "aten::batch_norm", "aten::dropout", "aten::_add_relu"
# The first PyTorch Mobile whose lite interpreter reads a bytecode version, from the headers of
# each release (caffe2/serialize/versions.h).
FIRST_RUNTIME = {4: "1.8", 5: "1.9", 6: "1.10", 7: "1.10", 8: "1.11"}
NEWEST_BYTECODE = max(FIRST_RUNTIME)
# Operators that came later, whatever the bytecode: the first release that has each.
NEWER_OPERATORS = {"aten::scaled_dot_product_attention": "2.0"}
# A phone's PyTorch has these kernels only, whichever the file was made for.
PHONE_ENGINE = "      at::globalContext().setQEngine(at::QEngine::QNNPACK);\n"
# The last release of PyTorch's lite interpreter that is there as a pod.
LAST_POD = "1.13"
POD = f"Podfile: pod 'LibTorch-Lite', '~> {LAST_POD}.0'."
NO_POD = (
    "The pod LibTorch-Lite ends at {last}, and this file needs PyTorch Mobile {least} or newer:\n"
    "// build LibTorch-Lite from PyTorch's sources, with scripts/build_ios.sh there."
)


@dataclass(frozen=True)
class Mobile(TorchFile):
    """TorchScript for PyTorch Mobile's lite interpreter.

    Attributes:
        bytecode: version of the instructions, 4 to 8; an older app needs an older one.
    """

    bytecode: int = NEWEST_BYTECODE

    name: ClassVar[str] = "mobile"
    aliases: ClassVar[tuple[str, ...]] = ("ptl", "lite")
    title: ClassVar[str] = "TorchScript mobile"
    summary: ClassVar[str] = "For PyTorch Mobile on Android and iOS, through its lite interpreter."
    suffix: ClassVar[str] = ".ptl"
    runtime: ClassVar[str] = "lite interpreter"
    targets: ClassVar[tuple[Target, ...]] = ("phone",)
    phone_engine: ClassVar[str | None] = "qnnpack"
    max_overhead: ClassVar[float | None] = 0.10
    templates: ClassVar[Path] = TEMPLATES / "mobile"

    def __post_init__(self) -> None:
        if self.bytecode not in FIRST_RUNTIME:
            raise RequestError(
                f"Bytecode {self.bytecode} cannot be written.",
                f"Take {min(FIRST_RUNTIME)} to {NEWEST_BYTECODE}; PyTorch Mobile 1.11 and newer "
                f"read {NEWEST_BYTECODE}.",
            )

    def write(self, source: Source, path: Path, report: Report) -> Written:
        """Write the smaller of the frozen and the unfrozen module.

        Raises:
            UnsupportedError: the model has an operator that the bytecode version lacks.
        """
        report("making the module again", 0.1)
        script, _ = captured(source.module(), source.example)
        report("optimizing for mobile", 0.5)
        metadata = {**source.provenance, "engine": source.kernels.engine}
        extra = {METADATA: json.dumps(metadata, sort_keys=True)}
        candidates = [
            Candidate(module, passes, self._content(module, extra))
            for module, passes in optimized(script)
        ]
        report("writing the lite interpreter's file", 0.8)
        best = min(candidates, key=lambda each: len(each.content))
        _require_that_it_runs(best.content, source.example, self.bytecode)
        path.write_bytes(best.content)
        calls = operator_calls(best.module, source.example[:1])
        operators = lite.operators(path)
        return Written(
            passes=(*best.passes, Pass(LEAN, True)),
            operators=operators,
            engines=(source.kernels.engine,) if source.kernels.engine else (),
            runs_on=self._runs_on(operators),
            int8_operators=calls.int8,
            total_operators=calls.total,
        )

    def _runs_on(self, operators: tuple[str, ...]) -> str:
        releases = [FIRST_RUNTIME[self.bytecode]]
        releases += [NEWER_OPERATORS[name] for name in operators if name in NEWER_OPERATORS]
        first = max(releases, key=_parts)
        return f"PyTorch Mobile {first} or newer (bytecode {self.bytecode})"

    def _content(self, module: Any, extra: dict[str, str]) -> bytes:
        content = lite.saved(module, extra, self.bytecode, NEWEST_BYTECODE)
        # Where it cannot, torch gives nothing and raises nothing.
        if not content:
            raise UnsupportedError(
                f"This model cannot be written as bytecode {self.bytecode}.",
                f"Take {NEWEST_BYTECODE}, which PyTorch Mobile 1.11 and newer read.",
            )
        return content

    def load(self, path: Path, kernels: Kernels, threads: int) -> Predictor:
        """Return the file in the lite interpreter; torch's threads are the process's."""
        activate(kernels.engine)
        return lite.loaded(path)

    def read_metadata(self, path: Path) -> dict[str, object]:
        """Return the provenance from the file's extra record."""
        record = lite.record(path, f"extra/{METADATA}")
        content: dict[str, object] = json.loads(record or b"{}")
        return content

    def checks(self, path: Path) -> tuple[Check, ...]:
        """Return whether the bytecode is the one asked for."""
        version = lite.bytecode(path)
        return (
            Check(
                "bytecode version",
                version == self.bytecode,
                f"It is bytecode {version}, as asked for."
                if version == self.bytecode
                else f"It is bytecode {version}; asked for was {self.bytecode}.",
            ),
        )

    def python(self, kernels: Kernels) -> PythonCode:
        """Return the lines for the lite interpreter that PyTorch carries."""
        return PythonCode(
            "import torch\nfrom torch.jit.mobile import _load_for_lite_interpreter",
            f"{engine_line(kernels)}model = _load_for_lite_interpreter({{path}})",
            RUN,
        )

    def phone_facts(self, exported: Exported, version: str) -> dict[str, str]:
        """Return the line that sets the engine, and which pod has a new enough interpreter."""
        return {
            "engine_line": PHONE_ENGINE if exported.engines else "",
            "pod": _pod(release(exported.runs_on)),
        }


def _pod(least: str) -> str:
    """Return the CocoaPod with that release of PyTorch Mobile or a newer one, or that none is."""
    if _parts(least) <= _parts(LAST_POD):
        return POD
    return NO_POD.format(last=LAST_POD, least=least)


def _parts(release: str) -> list[int]:
    return [int(part) for part in release.split(".") if part]


@dataclass(frozen=True)
class Candidate:
    """One way to write the file: the module, what was done to it, and the bytes."""

    module: Any
    passes: tuple[Pass, ...]
    content: bytes


def optimized(script: Any) -> Iterator[tuple[Any, tuple[Pass, ...]]]:
    """Yield the module optimized for mobile with and without freezing, each with its passes."""
    if has_xnnpack():
        from torch.utils.mobile_optimizer import optimize_for_mobile

        yield optimize_for_mobile(script), tuple(Pass(name, True) for name in PASSES)
    else:
        yield _passed(script, freeze=True)
    yield _passed(script, freeze=False)


def has_xnnpack() -> bool:
    """Return whether this torch can make the real `optimize_for_mobile`."""
    from importlib import import_module

    # Not an attribute of torch before it is imported by its name.
    return bool(import_module("torch.backends.xnnpack").enabled)


def _passed(script: Any, *, freeze: bool) -> tuple[Any, tuple[Pass, ...]]:
    """Return a copy of the module after the passes that need no XNNPACK.

    They are those of `optimizeForMobile` in torch/csrc/jit/passes/xnnpack_rewrite.cpp, in order.
    """
    import torch

    core: Any = torch._C
    count = _counts(script)
    module = torch.jit._recursive.wrap_cpp_module(core._jit_pass_fold_convbn(script._c))
    # A module that is frozen already has no training mode, and cannot be frozen again.
    if freeze and hasattr(module, "training"):
        module = torch.jit.freeze(module, optimize_numerics=False)
    else:
        core._jit_pass_inline(module.graph)
    core._jit_pass_remove_dropout(module._c)
    core._jit_pass_fuse_add_relu(module.graph)
    left = _counts(module)
    passes = (
        _counted(FUSED, count.get(NORM, 0) - left.get(NORM, 0), "The layers hold no batch norm."),
        Pass(FROZEN, freeze, "" if freeze else UNFROZEN),
        Pass(PACKED, False, NO_XNNPACK),
        Pass(HOISTED, False, NOT_HOISTED if freeze else NO_XNNPACK),
        _counted(NO_DROPOUT, count.get(DROPOUT, 0) - left.get(DROPOUT, 0), "The model has none."),
        _counted(ADD_RELU, left.get(ADDED, 0), "No ReLU stands behind a float addition."),
    )
    return module, passes


def _counted(name: str, times: int, why_not: str) -> Pass:
    return Pass(name, times > 0, "" if times > 0 else why_not)


def _counts(module: Any) -> Counter[str]:
    return Counter(node.kind() for node in module.inlined_graph.nodes())


def _require_that_it_runs(content: bytes, example: "Tensor", bytecode: int) -> None:
    """Refuse a file that an older bytecode broke: one whose operators took fewer arguments then.

    Raises:
        UnsupportedError: it does not run.
    """
    try:
        lite.loaded(content)(example)
    except RuntimeError as error:
        raise UnsupportedError(
            f"Written as bytecode {bytecode}, this model does not run: an operator of it took "
            "other arguments then.",
            f"Take a newer one, up to {NEWEST_BYTECODE}, if the app's PyTorch Mobile reads it.",
        ) from error
