"""ExecuTorch: PyTorch's newer runtime for phones, here with XNNPACK's kernels.

Its files are made by a toolchain of their own (`backends/executorch.py`), from the float model: no
converted torch module can be carried over.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from quantcore import wording
from quantcore.formats.base import Kernels, Planned, Predictor, Source, Written
from quantcore.formats.executorch_program import PACKAGES, Program, Work
from quantcore.formats.programs import TEMPLATES, PythonCode, release
from quantcore.schema import YES, Check, Exported, Pass, Report, Support, Target

if TYPE_CHECKING:
    from torch import Tensor

# The workflows of its own toolchain.
WORKFLOWS = ("float32", "static", "dynamic", "qat")
# Of the multiply-adds, the share that XNNPACK runs in a file that is as fast as it should be.
MIN_DELEGATED = 0.9


@dataclass(frozen=True)
class ExecuTorch:
    """A program for ExecuTorch's runtime."""

    name: ClassVar[str] = "executorch"
    aliases: ClassVar[tuple[str, ...]] = ("pte",)
    title: ClassVar[str] = "ExecuTorch program"
    summary: ClassVar[str] = "For ExecuTorch on Android and iOS, which follows PyTorch Mobile."
    suffix: ClassVar[str] = ".pte"
    runtime: ClassVar[str] = "ExecuTorch"
    package: ClassVar[str] = PACKAGES[0]
    modules: ClassVar[tuple[str, ...]] = ("executorch.extension.pybindings._portable_lib",)
    is_exact: ClassVar[bool] = False
    targets: ClassVar[tuple[Target, ...]] = ("phone",)
    phone_engine: ClassVar[str | None] = None
    needs_source: ClassVar[bool] = True
    max_overhead: ClassVar[float | None] = None
    templates: ClassVar[Path] = TEMPLATES / "executorch"

    def supports(self, planned: Planned) -> Support:
        """Return yes for variants of its own backend, which are such files already."""
        if planned.kernels.name == self.name:
            return YES
        workflow = planned.variant.workflow
        same = workflow if workflow in WORKFLOWS else "static"
        return Support(
            False,
            "ExecuTorch's files are made from the float model, in 8 bits of their own: "
            f"{planned.variant.label} cannot become one.",
            f"Choose {same} on {self.name}, which makes such a file and measures it.",
        )

    def versions(self) -> dict[str, str]:
        """Return the versions of its packages."""
        return {name: _version(name) for name in PACKAGES}

    def write(self, source: Source, path: Path, report: Report) -> Written:
        """Take the variant's own file as it is."""
        report("reading the ExecuTorch program", 0.5)
        shutil.copyfile(source.file, path)
        work = Program(path.read_bytes()).work()
        short = ".".join(version("executorch").split(".")[:2])
        return Written(
            passes=_passes(work),
            operators=work.left,
            engines=(),
            runs_on=f"ExecuTorch {short} or newer with XNNPACK",
            int8_operators=work.int8_operators,
            total_operators=work.operators,
        )

    def load(self, path: Path, kernels: Kernels, threads: int) -> Predictor:
        """Return the file in ExecuTorch's runtime, which answers one picture a call.

        A program that takes any number of pictures answers none of them faster: XNNPACK fills the
        processor with one.
        """
        import torch

        # `portable_lib`, which hands these on, first imports the whole compiler: six seconds.
        from executorch.extension.pybindings import _portable_lib

        _portable_lib._unsafe_reset_threadpool(threads)
        program = _portable_lib._load_for_executorch(str(path))

        def predict(images: "Tensor") -> "Tensor":
            whole = images.contiguous()
            if len(whole) == 1:
                logits: Tensor = program.forward([whole])[0]
                return logits
            return torch.cat([program.forward([image])[0] for image in whole.split(1)])

        return predict

    def float_multiply_adds(
        self, path: Path, kernels: Kernels, image_size: int, scratch: Path
    ) -> int:
        """Return the multiply-adds of one picture that are not run by XNNPACK in 8 bits."""
        work = Program(path.read_bytes()).work()
        return work.float32 + work.portable

    def module(self, path: Path, kernels: Kernels) -> None:
        """Return none: a program is no torch module."""

    def relabel(
        self, source: Path, kernels: Kernels, metadata: Mapping[str, object], path: Path
    ) -> None:
        """Write the program again with the metadata of another backend."""
        path.write_bytes(Program(source.read_bytes()).with_provenance(metadata))

    def read_metadata(self, path: Path) -> dict[str, object]:
        """Return the provenance that the file's method `provenance` answers with."""
        return Program(path.read_bytes()).provenance

    def checks(self, path: Path) -> tuple[Check, ...]:
        """Return none: the runtime verifies a program as it loads."""
        return ()

    def python(self, kernels: Kernels) -> PythonCode:
        """Return the lines for ExecuTorch's own bindings."""
        return PythonCode(
            "import torch\n"
            "from executorch.extension.pybindings.portable_lib import _load_for_executorch",
            "program = _load_for_executorch({path})",
            "scores = program.forward([torch.from_numpy(batch)])[0][0].numpy()",
        )

    def phone_facts(self, exported: Exported, version: str) -> dict[str, str]:
        """Return the release of ExecuTorch that the programs ask for."""
        return {"release": release(version) or release(exported.runs_on)}


def slow_on_phones(delegated: float, left: Sequence[str] = ()) -> str | None:
    """Return that much of a program runs in plain loops, in a sentence; None where it does not.

    Args:
        delegated: share of its multiply-adds that XNNPACK runs.
        left: operators that it does not run, where they are known.
    """
    if delegated >= MIN_DELEGATED:
        return None
    named = f" ({', '.join(left)})" if left else ""
    return (
        f"XNNPACK runs only {wording.percent(delegated, 0)} of its multiply-adds; the rest is "
        f"left to plain loops{named}, so it is slow on phones."
    )


def _passes(work: Work) -> tuple[Pass, ...]:
    slow = slow_on_phones(work.delegated, work.left)
    left = f"Left to plain loops: {', '.join(work.left)}." if work.left else ""
    none = "It computes in float."
    return (
        Pass("quantize with PT2E and XNNPACKQuantizer", work.int8 > 0, "" if work.int8 else none),
        Pass("lower to XNNPACK", slow is None, slow or left),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
