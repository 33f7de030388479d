"""Small modules that have what one test needs, and what children do with them."""

import os
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from quantcore.backends import FLOAT
from quantcore.engine import FLOAT32
from quantcore.errors import UnsupportedError
from quantcore.formats import Source, Written, file_format, lite, mobile
from quantcore.formats.torchscript import captured
from quantcore.images import ConversionInput
from quantcore.schema import Setting

SIDE = 8
APART = ("model", "workflow", "backend", "labels", "image_size", "mean", "std", "channels")


class Whole(nn.Module):
    """Has something for every pass of the mobile optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 64, 3, padding=1)
        self.norm = nn.BatchNorm2d(64)
        self.again = nn.Conv2d(64, 64, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[N, 10]`."""
        first = self.norm(self.convolution(images))
        both = torch.relu(first + self.again(first))
        logits: Tensor = self.head(self.dropout(both.mean((2, 3))))
        return logits


class Bare(nn.Module):
    """Has nothing for any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIDE * SIDE, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[N, 10]`."""
        logits: Tensor = self.head(images.flatten(1))
        return logits


class OfTwo(Bare):
    """Answers for two pictures only."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[2, 10]`."""
        logits: Tensor = self.head(images.reshape(2, -1))
        return logits


class Inverse(Bare):
    """Has an operator that ONNX lacks."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[N, 10]`."""
        logits: Tensor = self.head(torch.linalg.inv(images).flatten(1))
        return logits


def source(name: str) -> Source:
    """Return what an export of the module of that name works on."""
    torch.manual_seed(0)
    module: nn.Module = globals()[name]().eval()
    return Source(
        variant=FLOAT32,
        kernels=FLOAT,
        layer_kind="float",
        # No format that takes a converted module over looks at it.
        inputs=cast(ConversionInput, None),
        file=Path(),
        file_format="torchscript",
        module=lambda: module,
        example=torch.randn(2, 3, SIDE, SIDE),
        provenance=dict.fromkeys(APART, name),
    )


def export(
    _: Connection, name: str, format: str, options: dict[str, Setting], path: Path
) -> Written:
    """Write a module to `path`."""
    return file_format(format, options).write(source(name), path, lambda _stage, _share: None)


def sizes(_: Connection, name: str) -> dict[bool, int]:
    """Return how large the lite file is with and without freezing, by whether it is frozen."""
    work = source(name)
    script, _how = captured(work.module(), work.example)
    return {
        any(step.name == mobile.FROZEN and step.applied for step in passes): len(
            lite.saved(module, {}, mobile.NEWEST_BYTECODE, mobile.NEWEST_BYTECODE)
        )
        for module, passes in mobile.optimized(script)
    }


def lean(_: Connection, name: str, folder: Path) -> tuple[Path, Path]:
    """Write the lite file as torch does, and without what nobody reads."""
    work = source(name)
    script, _how = captured(work.module(), work.example)
    whole = script._save_to_buffer_for_lite_interpreter(_extra_files={})
    paths = folder / "whole.ptl", folder / "lean.ptl"
    for path, content in zip(paths, (whole, lite.lean(whole)), strict=True):
        path.write_bytes(content)
    return paths


def ask(_: Connection, path: Path, engine: str | None = None) -> Any:
    """Return what torch's own loader of lite files makes of one, `[2, 10]`."""
    from torch.jit.mobile import _load_for_lite_interpreter

    if engine:
        torch.backends.quantized.engine = engine
    with torch.inference_mode():
        return _load_for_lite_interpreter(str(path))(source("Bare").example).numpy()


def needed(_: Connection, path: Path) -> list[str]:
    """Return the operators that torch's own tool for selective builds finds in a lite file."""
    from torch.jit.mobile import _export_operator_list, _load_for_lite_interpreter

    return sorted(_export_operator_list(_load_for_lite_interpreter(str(path))))


def refuse(_: Connection, path: Path, fault: str) -> UnsupportedError:
    """Return why an export is refused whose bytecode torch leaves empty, or broken."""

    def broken(file: Path | bytes) -> Any:
        raise RuntimeError("expects 3 arguments, got 2")

    if fault == "empty":
        lite.saved = lambda *_: b""
    else:
        lite.loaded = broken
    try:
        file_format("mobile", {"bytecode": 5}).write(source("Bare"), path, lambda *_: None)
    except UnsupportedError as error:
        return error
    raise AssertionError("It was not refused.")


def overheard(_: Connection, name: str, path: Path) -> tuple[UnsupportedError, str]:
    """Return why a module cannot be carried, and all that was printed meanwhile."""
    with tempfile.TemporaryFile() as heard:
        for descriptor in (1, 2):
            os.dup2(heard.fileno(), descriptor)
        try:
            file_format("onnx", {}).write(source(name), path, lambda *_: None)
        except UnsupportedError as error:
            heard.seek(0)
            return error, heard.read().decode()
    raise AssertionError("It was not refused.")
