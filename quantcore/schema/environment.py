"""The environment that figures hold for: processor, instruction sets, library versions."""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from quantcore.settings import physical_cores

# Instruction sets that decide how fast 8-bit kernels run, by the name /proc/cpuinfo gives them.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_int8": "AMX int8",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "i8mm": "NEON int8 matrix",
}
# Which quantized engines torch's wheels carry; a test holds this against torch itself.
ENGINES_BY_MACHINE = {
    "x86_64": ("x86", "fbgemm", "onednn", "qnnpack"),
    "AMD64": ("x86", "fbgemm", "onednn", "qnnpack"),
    "aarch64": ("onednn", "qnnpack"),
    "arm64": ("qnnpack",),
}
LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "executorch",
    "torchao",
)
MISSING = "missing"
SERVERS = ("x86_64", "AMD64")
# The versions of torch with which whole comparisons were run.
TRIED_TORCH = ("2.13.0", "2.14.1")
# Where Linux has the name of a board that carries it (ARM, RISC-V).
BOARD = Path("/proc/device-tree/model")


@dataclass(frozen=True)
class Environment:
    """The machine and software that figures hold for. Its digest is part of a result's key."""

    cpu: str
    machine: str
    instruction_sets: tuple[str, ...]
    physical_cores: int
    memory_gib: int
    operating_system: str
    python: str
    libraries: dict[str, str]
    engines: tuple[str, ...]

    @property
    def has_vnni(self) -> bool:
        """Return whether 8-bit dot products are one instruction here (Intel and AMD's VNNI)."""
        return any("VNNI" in name or "AMX" in name for name in self.instruction_sets)

    @property
    def lacks_vnni(self) -> bool:
        """Return whether 8-bit products are added up in 16 bits; ARM has no such kernels."""
        return self.machine in SERVERS and not self.has_vnni

    @property
    def has_bfloat16(self) -> bool:
        """Return whether bfloat16 is computed here without a detour through float32."""
        return "AVX-512 BF16" in self.instruction_sets

    def has(self, library: str) -> bool:
        """Return whether a library of `LIBRARIES` is installed there."""
        return self.libraries.get(library, MISSING) != MISSING

    def is_continued_by(self, later: "Environment") -> bool:
        """Return whether a later version of the app describes the same machine and software.

        It may tell of more libraries than were told of before.
        """
        libraries = {name: later.libraries.get(name, "") for name in self.libraries}
        return replace(later, libraries=libraries) == self

    def sentence(self) -> str:
        """Return the machine in words, for a line under figures."""
        sets = f" with {self.instruction_sets[-1]}" if self.instruction_sets else ""
        vnni = " with VNNI" if self.has_vnni else sets
        return f"{self.cpu}{vnni}, {self.physical_cores} cores, torch {self.libraries['torch']}"


@cache
def current_environment() -> Environment:
    """Return the environment of this process. Needs no torch."""
    flags = _cpuinfo().get("flags", _cpuinfo().get("Features", "")).split()
    machine = platform.machine()
    return Environment(
        cpu=cpu_name(_cpuinfo(), _board(), platform.processor() or machine),
        machine=machine,
        instruction_sets=tuple(label for key, label in INSTRUCTION_SETS.items() if key in flags),
        physical_cores=physical_cores(),
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        operating_system=f"{platform.system()} {platform.release().split('-')[0]}",
        python=".".join(str(part) for part in sys.version_info[:3]),
        libraries=library_versions(),
        engines=ENGINES_BY_MACHINE.get(machine, ("qnnpack",)),
    )


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that affect a conversion, by name."""
    return {name: _version(name) for name in LIBRARIES}


def untried_torch(installed: str | None = None) -> str:
    """Return a warning if another torch is installed than those tried; else nothing.

    Args:
        installed: its version, `2.13.0+cpu`; None asks the installed package.
    """
    number = (installed or _version("torch")).partition("+")[0]
    if number in TRIED_TORCH:
        return ""
    return (
        f"torch {number} is installed; this project was tried with {' and '.join(TRIED_TORCH)}. "
        "If something fails, install one of those."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return MISSING


def cpu_name(cpuinfo: Mapping[str, str], board: str, machine: str) -> str:
    """Return the processor's name, distinct for processors of different speed.

    On ARM, Linux gives only numbers for the model, so the board's name says more.

    Args:
        cpuinfo: the first processor's fields in `/proc/cpuinfo`.
        board: the board's name, empty where there is none.
        machine: the architecture, where nothing else is known.
    """
    maker, part = cpuinfo.get("CPU implementer"), cpuinfo.get("CPU part")
    core = f"{machine} core {maker}/{part}" if maker and part else machine
    name = cpuinfo.get("model name") or board or core
    return " ".join(name.replace("(R)", "").replace("(TM)", "").split())


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text().split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _board() -> str:
    # The kernel ends it with a zero byte.
    return BOARD.read_text().rstrip("\0").strip() if BOARD.exists() else ""
