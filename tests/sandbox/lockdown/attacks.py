"""Hostile files: how each is made, and how it is opened. `ATTACKS` is the list."""

import inspect
import io
import json
import math
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sandbox.lockdown import payloads
from tests.untrusted import onnx_files

World = dict[str, Any]
# Of a Loop: some seconds.
ROUNDS = 3_000_000


@dataclass(frozen=True)
class Attack:
    """A hostile file: a function that writes it, and one that opens it as a careless app would."""

    name: str
    make: Callable[[World], str]
    open: Callable[[str, World], Any]


class Hostile:
    """Pickles as a call of `eval`, which is what runs when the pickle is read."""

    def __init__(self, function: Callable[[World], Any], world: World) -> None:
        source = inspect.getsource(function)
        self.text = f"[(_ := dict()), exec({source!r}, _), _[{function.__name__!r}]({world!r})][2]"

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (self.text,)


class HostileShell(Hostile):
    """Pickles as a call of `os.system`, without any Python code in it."""

    def __init__(self, world: World) -> None:
        self.text = f"echo x > {world['scratch']}/ran; echo x > {world['outside']}/escaped"

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (self.text,)


def scratch_file(world: World, name: str) -> Path:
    return Path(world["scratch"], name)


# Pickles, in each of the wrappings that torch and numpy read.


def pickled(function: Callable[[World], Any]) -> Callable[[World], str]:
    def make(world: World) -> str:
        import torch

        path = scratch_file(world, "upload.pt")
        torch.save(Hostile(function, world), path)
        return str(path)

    return make


def load_carelessly(path: str, world: World) -> Any:
    import torch

    return torch.load(path, weights_only=False)


def make_shell(world: World) -> str:
    import torch

    path = scratch_file(world, "upload.pt")
    torch.save({"state": HostileShell(world)}, path)
    return str(path)


def make_old(world: World) -> str:
    import torch

    path = scratch_file(world, "upload.pth")
    hostile = Hostile(payloads.write_and_run, world)
    torch.save(hostile, path, _use_new_zipfile_serialization=False)
    return str(path)


def make_tar(world: World) -> str:
    path = scratch_file(world, "upload.tar")
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Hostile(payloads.write_and_run, world))
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(path)


def make_array(world: World) -> str:
    import numpy as np

    path = scratch_file(world, "upload.npy")
    np.save(path, np.array([Hostile(payloads.write_and_run, world)], dtype=object))
    return str(path)


def load_array(path: str, world: World) -> Any:
    import numpy as np

    loaded = np.load(path, allow_pickle=True)
    return [str(loaded[name]) for name in loaded] if path.endswith("npz") else str(loaded)


def make_arrays(world: World) -> str:
    import numpy as np

    path = scratch_file(world, "upload.npz")
    np.savez(path, weights=np.array([Hostile(payloads.write_and_run, world)], dtype=object))
    return str(path)


# TorchScript, whose own language reads and writes files.


def scripted(text: str) -> Callable[[World], str]:
    def make(world: World) -> str:
        import torch

        module = torch.jit.ScriptModule()
        module.define(text.format(**world))
        path = scratch_file(world, "upload.pt")
        torch.jit.save(module, str(path))
        return str(path)

    return make


def run_script(path: str, world: World) -> Any:
    import torch

    answer = torch.jit.load(path)(torch.ones(1))
    return bytes(answer.tolist()).decode("latin-1") if answer.dtype == torch.uint8 else None


READING_SCRIPT = """
def forward(self, x):
    return torch.from_file("{secret}", False, {secret_bytes}, dtype=torch.uint8)
"""
WRITING_SCRIPT = """
def forward(self, x):
    return torch.from_file("{outside}/escaped", True, 4, dtype=torch.uint8).fill_(65)
"""
CHANGING_SCRIPT = """
def forward(self, x):
    return torch.from_file("{secret}", True, {secret_bytes}, dtype=torch.uint8).fill_(65)
"""
SAVING_SCRIPT = """
def forward(self, x):
    torch.save(x, "{outside}/escaped")
    return x
"""
HUNGRY_SCRIPT = """
def forward(self, x):
    y = torch.empty([{too_many_bytes}], dtype=torch.uint8)
    return torch.tensor([116, 104, 114, 111, 117, 103, 104], dtype=torch.uint8) + y[:1] * 0
"""
ENDLESS_SCRIPT = """
def forward(self, x):
    total = 0
    for i in range(50000000):
        total = (total + i) % 7919
    y = torch.zeros([7], dtype=torch.uint8) * total
    return torch.tensor([116, 104, 114, 111, 117, 103, 104], dtype=torch.uint8) + y
"""


# Exported programs, whose archives hold pickles and compiled code.


def exported(part: str) -> Callable[[World], str]:
    """Return what makes a .pt2 file with a hostile pickle in this part of it."""

    def make(world: World) -> str:
        import torch

        sound, path = scratch_file(world, "sound.pt2"), scratch_file(world, "upload.pt2")
        module = torch.nn.Linear(2, 2).eval()
        torch.export.save(torch.export.export(module, (torch.ones(1, 2),)), sound)
        hostile = Hostile(payloads.write_and_run, world)
        buffer = io.BytesIO()
        torch.save(hostile, buffer)
        with zipfile.ZipFile(sound) as before, zipfile.ZipFile(path, "w") as after:
            for name in before.namelist():
                content = before.read(name)
                if part == "sample inputs" and "sample_inputs" in name:
                    content = buffer.getvalue()
                elif part == "weights" and name.endswith("model_weights_config.json"):
                    content = content.replace(b'"use_pickle": false', b'"use_pickle": true')
                elif part == "weights" and "weight_0" in name:
                    content = buffer.getvalue()
                elif part == "constants" and name.endswith("model_constants_config.json"):
                    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
                    content = json.dumps({"config": {"c": entry | {"tensor_meta": None}}}).encode()
                    prefix = name.partition("/data/")[0]
                    after.writestr(f"{prefix}/data/constants/opaque_obj_0", pickle.dumps(hostile))
                after.writestr(name, content)
        return str(path)

    return make


def load_exported(path: str, world: World) -> Any:
    import torch

    return str(torch.export.load(path))


def make_compiled(world: World) -> str:
    """Write a .pt2 file with a library in it, as AOTInductor makes them."""
    path = scratch_file(world, "upload.pt2")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("upload/archive_format", "pt2")
        archive.writestr("upload/version", "2")
        archive.writestr("upload/byteorder", "little")
        folder = "upload/data/aotinductor/model"
        archive.write(world["library"], f"{folder}/hostile.wrapper.so")
        metadata = {"AOTI_DEVICE_KEY": "cpu", "AOTI_PLATFORM": sys.platform}
        archive.writestr(f"{folder}/hostile.wrapper_metadata.json", json.dumps(metadata))
    return str(path)


def load_compiled(path: str, world: World) -> Any:
    import torch

    return str(torch._C._aoti.AOTIModelPackageLoader(path, "model", True, 1, -1))


def make_hub(world: World) -> str:
    folder = scratch_file(world, "hub")
    folder.mkdir()
    source = inspect.getsource(payloads.write_and_run)
    entry = f"\n\ndef model(**_):\n    return write_and_run({world!r})\n"
    (folder / "hubconf.py").write_text(source + entry)
    return str(folder)


def load_hub(path: str, world: World) -> Any:
    import torch

    return torch.hub.load(path, "model", source="local")


# ONNX, whose weights may lie in other files, and whose operators in libraries.


def make_onnx_outside(world: World) -> str:
    path = scratch_file(world, "upload.onnx")
    path.write_bytes(onnx_files.outside(world["secret"].lstrip("/")).SerializeToString())
    return str(path)


def read_onnx_outside(path: str, world: World) -> Any:
    """Read the weights as somebody who looks for them from the root on."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    model = onnx.load(path, load_external_data=False)
    for weight in model.graph.initializer:
        del weight.external_data[2:]
    load_external_data_for_model(model, "/")
    return model.graph.initializer[1].raw_data.decode("latin-1")


def make_onnx_library(world: World) -> str:
    path = scratch_file(world, "upload.onnx")
    model = onnx_files.foreign_operator()
    model.metadata_props.add(key="custom_ops_library", value=world["library"])
    path.write_bytes(model.SerializeToString())
    return str(path)


def load_onnx_library(path: str, world: World) -> Any:
    """Load the library that brings the operators, as the file says."""
    import onnx
    import onnxruntime

    library = onnx.load(path).metadata_props[0].value
    onnxruntime.SessionOptions().register_custom_ops_library(library)


def make_hungry_onnx(world: World) -> str:
    path = scratch_file(world, "upload.onnx")
    model = onnx_files.hungry(world["too_many_bytes"] // 4)
    path.write_bytes(model.SerializeToString())
    return str(path)


def make_endless_onnx(world: World) -> str:
    path = scratch_file(world, "upload.onnx")
    path.write_bytes(onnx_files.endless(ROUNDS).SerializeToString())
    return str(path)


def run_onnx(path: str, world: World) -> Any:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Constants are folded as the file is loaded, which would fill memory there.
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    answer = session.run(None, {"x": np.zeros((1, 3, 8, 8), np.float32)})[0]
    return "through" if answer.shape == (1, 3) else None


# Archives that want to be unpacked somewhere else.


def make_zip(world: World) -> str:
    path = scratch_file(world, "upload.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside/escaped", "escaped")
    return str(path)


def unpack_zip(path: str, world: World) -> None:
    """Unpack without looking at names, and make the links that the archive asks for."""
    folder = Path(world["scratch"])
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            target = folder / member.filename
            if member.external_attr >> 28 == 0xA:
                target.symlink_to(archive.read(member).decode())
            else:
                target.write_bytes(archive.read(member))


def make_linking_zip(world: World) -> str:
    path = scratch_file(world, "upload.zip")
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, world["outside"])
        archive.writestr("link/escaped", "escaped")
    return str(path)


def tarred(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Callable[[World], str]:
    def make(world: World) -> str:
        path = scratch_file(world, "upload.tar")
        with tarfile.open(path, "w") as archive:
            if target:
                link = tarfile.TarInfo("link")
                link.type, link.linkname = kind, target.format(**world)
                archive.addfile(link)
            member = tarfile.TarInfo(name.format(**world))
            member.size = 7
            archive.addfile(member, io.BytesIO(b"escaped"))
        return str(path)

    return make


def unpack_tar(path: str, world: World) -> None:
    with tarfile.open(path) as archive:
        archive.extractall(world["scratch"], filter="fully_trusted")


# Pictures, and what is small on the disk and large in memory.


def make_eps(world: World) -> str:
    path = scratch_file(world, "upload.eps")
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    program = scratch_file(world, "gs")
    program.write_text(f"#!/bin/sh\necho x > {world['scratch']}/ran\n")
    program.chmod(0o755)
    return str(path)


def open_eps(path: str, world: World) -> None:
    """Open as where Ghostscript is installed; the one here is a program that leaves word."""
    import os

    from PIL import EpsImagePlugin, Image

    os.environ["PATH"] = f"{world['scratch']}:/usr/bin:/bin"
    EpsImagePlugin.gs_binary = "gs"
    Image.open(path).load()


def make_large_picture(world: World) -> str:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    path = scratch_file(world, "upload.png")
    side = math.isqrt(world["too_many_bytes"])
    Image.new("1", (side, side)).save(path, compress_level=1)
    return str(path)


def open_large_picture(path: str, world: World) -> Any:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as picture:
        return "through" if picture.convert("L").getpixel((5, 5)) is not None else None


def make_zip_bomb(world: World) -> str:
    path = scratch_file(world, "upload.npz")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:  # noqa: SIM117
        with archive.open("zeros", "w", force_zip64=True) as member:
            for _ in range(world["too_many_bytes"] // 1_000_000):
                member.write(bytes(1_000_000))
    return str(path)


def open_zip_bomb(path: str, world: World) -> Any:
    with zipfile.ZipFile(path) as archive:
        return "through" if len(archive.read("zeros")) else None


def compile_library(folder: Path, scratch: Path) -> Path:
    """Compile a library that runs a program as soon as it is loaded."""
    source, library = folder / "hostile.c", folder / "hostile.so"
    source.write_text(
        "#include <stdlib.h>\n"
        f'__attribute__((constructor)) void run(void) {{ system("echo x > {scratch}/ran"); }}\n'
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def has_compiler() -> bool:
    return shutil.which("gcc") is not None


BY_PICKLE = [
    Attack(f"pickle: {name}", pickled(function), load_carelessly)
    for name, function in inspect.getmembers(payloads, inspect.isfunction)
]
BY_FORMAT = [
    Attack("os.system in a pickle", make_shell, load_carelessly),
    Attack("old .pth", make_old, load_carelessly),
    Attack("oldest .tar", make_tar, load_carelessly),
    Attack("numpy array of objects", make_array, load_array),
    Attack("numpy archive of objects", make_arrays, load_array),
    Attack("script reads a file", scripted(READING_SCRIPT), run_script),
    Attack("script makes a file", scripted(WRITING_SCRIPT), run_script),
    Attack("script changes a file", scripted(CHANGING_SCRIPT), run_script),
    Attack("script saves a tensor", scripted(SAVING_SCRIPT), run_script),
    Attack("script fills memory", scripted(HUNGRY_SCRIPT), run_script),
    Attack("script never ends", scripted(ENDLESS_SCRIPT), run_script),
    Attack("exported program, sample inputs", exported("sample inputs"), load_exported),
    Attack("exported program, weights", exported("weights"), load_exported),
    Attack("exported program, constants", exported("constants"), load_exported),
    Attack("exported program, compiled", make_compiled, load_compiled),
    Attack("ONNX with weights elsewhere", make_onnx_outside, read_onnx_outside),
    Attack("ONNX with a library of operators", make_onnx_library, load_onnx_library),
    Attack("ONNX fills memory", make_hungry_onnx, run_onnx),
    Attack("ONNX never ends", make_endless_onnx, run_onnx),
    Attack("hub folder", make_hub, load_hub),
    Attack("zip with a path out", make_zip, unpack_zip),
    Attack("zip with a link", make_linking_zip, unpack_zip),
    Attack("tar with a path out", tarred("../outside/escaped"), unpack_tar),
    Attack("tar with an absolute path", tarred("{outside}/escaped"), unpack_tar),
    Attack("tar with a link", tarred("link/escaped", tarfile.SYMTYPE, "{outside}"), unpack_tar),
    Attack("tar with a hard link", tarred("link", tarfile.LNKTYPE, "{secret}"), unpack_tar),
    Attack("EPS runs Ghostscript", make_eps, open_eps),
    Attack("picture larger than memory", make_large_picture, open_large_picture),
    Attack("zip larger than memory", make_zip_bomb, open_zip_bomb),
]
ATTACKS = {attack.name: attack for attack in (*BY_PICKLE, *BY_FORMAT)}


def make(name: str, world: World) -> str:
    return ATTACKS[name].make(world)


def open_upload(path: str, name: str, world: World, precheck: str | None) -> Any:
    """Open the file as the attack expects, after the check named `module:function`, if any."""
    if precheck is not None:
        from importlib import import_module

        module, _, function = precheck.partition(":")
        getattr(import_module(module), function)(Path(path))
    answer = ATTACKS[name].open(path, world)
    return answer if isinstance(answer, str | list) else None
