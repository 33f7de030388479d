"""What a locked process must be able to do: everything the app does with a file."""

import os
import resource
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def quantize_and_load(scratch: str, threads: int) -> dict[str, Any]:
    import torch
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
    from torchvision.models import resnet18

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = resnet18(num_classes=10).eval()
    pictures = torch.randn(2, 3, 64, 64)
    mapping = get_default_qconfig_mapping(torch.backends.quantized.engine)
    prepared = prepare_fx(model, mapping, (pictures,))
    prepared(pictures)
    script = torch.jit.trace(convert_fx(prepared), pictures)
    file, weights = Path(scratch, "model.pt"), Path(scratch, "weights.pt")
    torch.jit.save(script, str(file))
    again = torch.jit.load(str(file))
    torch.save(model.state_dict(), weights)
    model.load_state_dict(torch.load(weights, weights_only=True, mmap=True))
    return {
        "same": bool(torch.equal(again(pictures), script(pictures))),
        "float": bool(model(pictures).isfinite().all()),
        "threads": int(_status("Threads")),
    }


def _status(name: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def run_onnx(scratch: str) -> list[float]:
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "x"], ["y"])
    graph = helper.make_graph([node], "squares", ends[:1], ends[1:])
    imports = [helper.make_opsetid("", 17)]
    path = Path(scratch, "model.onnx")
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    answer = session.run(None, {"x": np.full((2, 2), 2, np.float32)})[0]
    return [float(value) for value in answer.ravel()]


def run_openvino(scratch: str) -> dict[str, Any]:
    """Quantize a model with NNCF, write and load its file, and let it answer."""
    import torch
    from onnx import TensorProto, helper, numpy_helper

    from quantcore.backends import nncf
    from quantcore.backends.openvino import BACKEND
    from quantcore.formats import openvino

    here = Path(scratch)
    pictures = torch.rand(2, 3, 8, 8)
    weights = numpy_helper.from_array(torch.rand(4, 3, 3, 3).numpy(), "weights")
    shapes = {"images": ["n", 3, 8, 8], "y": ["n", 4, 6, 6], "logits": ["n", 4]}
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])
        for name in ("images", "logits")
    ]
    nodes = [
        helper.make_node("Conv", ["images", "weights"], ["y"]),
        helper.make_node("GlobalMaxPool", ["y"], ["z"]),
        helper.make_node("Flatten", ["z"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "model", ends[:1], ends[1:], [weights])
    imports = [helper.make_opsetid("", 17)]
    model = openvino.from_onnx(helper.make_model(graph, opset_imports=imports, ir_version=9), here)
    told: list[str] = []
    settings = nncf.Quantizer("minmax", True, False, None, equalize=True)
    quantized = nncf.packed(
        settings.quantized(model, _Two(pictures), lambda stage, _: told.append(stage))
    )
    path = here / "model.ir.zip"
    openvino.save(openvino.ir_of(quantized, here), {}, path)
    logits = BACKEND.load(path, 2)(pictures)
    return {
        "shape": list(logits.shape),
        "told": told[0],
        "float": BACKEND.float_multiply_adds(path, 8, here),
        "left": sorted(each.name for each in here.iterdir()),
    }


class _Two:
    """Two pictures as a split gives them."""

    def __init__(self, pictures: Any) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def batches(self, size: int) -> Iterator[tuple[Any, None]]:
        yield from ((part, None) for part in self._pictures.split(size))


def decode_pictures(scratch: str) -> list[str]:
    import numpy as np
    from PIL import Image

    seen = []
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        path = Path(scratch, f"picture.{kind.lower()}")
        Image.new("RGB", (32, 24), (250, 0, 0)).save(path, kind)
        with Image.open(path) as picture:
            red = np.asarray(picture.convert("RGB"))[5, 5, 0]
            seen.append(f"{kind} {picture.size[0]} {red > 240}")
    return seen


def surroundings() -> dict[str, Any]:
    os.open("/dev/null", os.O_RDONLY)
    names = ("DATA", "CPU", "FSIZE", "NOFILE", "CORE")
    null = Path("/dev/null").stat().st_rdev
    return {
        "folder": str(Path.cwd()),
        "temporary": tempfile.gettempdir(),
        "variables": sorted(os.environ),
        "mode": _mode_of_new_file(),
        "limits": {each: resource.getrlimit(getattr(resource, f"RLIMIT_{each}")) for each in names},
        "standard": [os.fstat(number).st_rdev == null for number in range(3)],
    }


def _mode_of_new_file() -> int:
    path = Path("file")
    path.touch()
    return path.stat().st_mode & 0o777


def lock_with_two_threads() -> str:
    from quantcore.errors import LockError
    from quantcore.sandbox.lockdown import Lock, enter

    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        enter(Lock())
    except LockError as error:
        return error.reason
    finally:
        done.set()
        other.join()
    return "locked"


def tried(scratch: str) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from quantcore.sandbox.lockdown import attempts

    return [asdict(attempt) for attempt in attempts(Path(scratch))]


def nest(scratch: str, depth: int) -> int:
    """Make folders in folders, deeper than Python calls itself, the last one closed."""
    path = "."
    for _ in range(depth):
        path += "/d"
        Path(path).mkdir()
    Path("closed").mkdir(0)
    return len(path)


def pretend_old(version: int, *_: Any) -> int:
    """Let this process know no more of Landlock than its first versions did."""
    import landlock.plumbing

    landlock.plumbing.landlock_abi_version = lambda: version
    return version


def tried_on_old(_: int, __: int, scratch: str, readable: str, ___: None) -> dict[str, Any]:
    emptied = []
    for way in (_empty_by_opening, os.truncate):
        try:
            way(readable, 0)
        except OSError as error:
            emptied.append(error.errno)
    return {"attempts": tried(scratch), "emptied": emptied}


def _empty_by_opening(path: str, _: int) -> None:
    os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))
