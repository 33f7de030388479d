"""Five hundred malformed files that must be refused, generated from seeds.

Each family below makes one kind of bad file; a seed picks the family and the details. `EXPECTED`
says what the refusal must speak of, so that a file is not refused for another reason than its own.
"""

import builtins
import io
import json
import os
import random
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.untrusted import files, onnx_files

COUNT = 500
MARK = "obeyed"
"""A file that malicious pickles would make, were they obeyed."""

Family = Callable[[random.Random], tuple[str, bytes]]
FAMILIES: list[tuple[Family, str]] = []


def family(about: str) -> Callable[[Family], Family]:
    """Add a family whose refusals must match `about`."""

    def add(make: Family) -> Family:
        FAMILIES.append((make, about))
        return make

    return add


def make(number: int, folder: Path) -> tuple[Path, str, str]:
    """Write bad file `number`; return it, its family's name and what its refusal is about."""
    maker, about = FAMILIES[number % len(FAMILIES)]
    name, content = maker(random.Random(number))
    path = folder / name
    path.write_bytes(content)
    return path, maker.__name__, about


def _flipped(content: bytes, index: int, chance: random.Random) -> bytes:
    changed = bytearray(content)
    changed[index] ^= 1 << chance.randrange(8)
    return bytes(changed)


@family("damaged|empty|no known kind|twice|text|pickle")
def truncated(chance: random.Random) -> tuple[str, bytes]:
    name, content = chance.choice(
        [
            ("a.pth", files.torch_zip()),
            ("a.pt", files.legacy()),
            ("a.safetensors", files.safetensors()),
            ("a.pt", files.torchscript()),
            ("a.pt2", files.pt2()),
        ]
    )
    return name, content[: chance.randrange(1, len(content) - 1)]


@family("damaged")
def flipped_in_a_member(chance: random.Random) -> tuple[str, bytes]:
    name, content = chance.choice(
        [("a.pth", files.torch_zip()), ("a.pt", files.torchscript()), ("a.pt2", files.pt2())]
    )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [member for member in archive.infolist() if member.compress_size > 8]
    member = chance.choice(members)
    at = member.header_offset + 30 + struct.unpack_from("<H", content, member.header_offset + 26)[0]
    at += struct.unpack_from("<H", content, member.header_offset + 28)[0]
    return name, _flipped(content, at + chance.randrange(member.compress_size), chance)


@family("zip|file|damaged|archit|inside")
def flipped_in_the_directory(chance: random.Random) -> tuple[str, bytes]:
    content = files.torch_zip()
    entries = [match.start() for match in re.finditer(rb"PK\x01\x02", content)]
    # Checksum, both sizes, the length of the name, the offset of the header, the name itself.
    field = chance.choice([16, 17, 20, 21, 24, 28, 42, 43, 46, 48])
    return "a.pth", _flipped(content, chance.choice(entries) + field, chance)


@family("unpack|more than the")
def bomb(chance: random.Random) -> tuple[str, bytes]:
    zeros = bytes(chance.choice([65, 100, 130]) * 2**20)
    member = chance.choice(["model/data.pkl", "model/data/0", "model/code/__torch__.py"])
    members = {"model/data.pkl": b"\x80\x02}.", "model/constants.pkl": b"", member: zeros}
    return "a.pt", files.plain_zip(members, zipfile.ZIP_DEFLATED)


@family("no known kind|text|damaged|pickle|picture|empty|ONNX|page")
def wrong_magic(chance: random.Random) -> tuple[str, bytes]:
    content = chance.choice([files.torch_zip(), files.legacy(), files.safetensors()])
    noise = bytes(chance.randrange(256) for _ in range(16))
    return chance.choice(["a.pt", "a.pth", "a.safetensors"]), noise + content[16:]


@family("no known kind|text|damaged|pickle|picture|empty|ONNX|page|zip")
def noise(chance: random.Random) -> tuple[str, bytes]:
    beginning = chance.choice([b"", b"PK\x03\x04", b"\x80\x02", files.legacy()[:14]])
    return "a.pt", beginning + chance.randbytes(chance.randrange(1, 5_000))


@family("damaged")
def deep_json(chance: random.Random) -> tuple[str, bytes]:
    depth = chance.choice([2_000, 50_000, 1_000_000])
    left, right = chance.choice([(b'{"a":', b"1" + b"}"), (b"[", b"]")])
    text = b'{"a":' + left * depth + right * depth + b"}"
    return "a.safetensors", files.with_header(text)


@family("no weights by name|damaged|far more|more than the")
def deep_pickle(chance: random.Random) -> tuple[str, bytes]:
    depth = chance.choice([5_000, 100_000, 600_000])
    step = chance.choice([b"\x85", b"]q\x00a", b"}q\x00X\x01\x00\x00\x00as"])
    start = b"]" * depth + b"a" * (depth - 1) if step != b"\x85" else b")" + b"\x85" * depth
    body = b"\x80\x02" + start + b"."
    if chance.random() < 0.5:
        return "a.pt", files.zipped(body)
    return "a.pt", files.legacy()[: files.legacy().index(b"}q")] + b"}." + body + b"\x80\x02]."


@family("damaged|far more")
def hashing_deep_keys(chance: random.Random) -> tuple[str, bytes]:
    """A nested tuple as the key of a dict, which would be hashed as deep as it is."""
    deep = b")" + b"\x85" * chance.choice([10_000, 300_000])
    return "a.pt", files.zipped(b"\x80\x02}" + deep + b"K\x01s" + b"0" * 3 + b".")


@family("names more than|more than 20,000")
def many_names(chance: random.Random) -> tuple[str, bytes]:
    """One tensor, or many, under too many names."""
    one = files.promise("0", 4, (4,), (1,))
    if chance.random() < 0.5:
        value = {f"a{number}": one for number in range(30_000)}
    else:
        value = {"a" * 600: one}
    return "a.pt", files.zipped(files.pickled(value), {"0": files.floats(4)})


@family("by name")
def many_times_over(chance: random.Random) -> tuple[str, bytes]:
    """A dict that holds one dict under many names, which holds one dict under many, and so on."""
    inner: dict[str, Any] = {"class_names": 10**5_000}
    for _ in range(chance.choice([3, 5, 8])):
        inner = {f"\ud800{number}": inner for number in range(2_000)}
    return "a.pt", files.zipped(files.pickled(inner))


@family("other numbers|shape|damaged")
def huge_shape(chance: random.Random) -> tuple[str, bytes]:
    side = chance.choice([10**6, 2**31, 2**62, 10**30])
    entry = {"dtype": "F32", "shape": [side, side], "data_offsets": [0, 16]}
    return "a.safetensors", files.with_header({"a": entry}, bytes(16))


@family("numbers|shape|cut off")
def huge_tensor(chance: random.Random) -> tuple[str, bytes]:
    side = chance.choice([10**5, 2**31, 2**41, 10**25])
    numbers = chance.choice([4, side * side])
    value = {"conv1.weight": files.promise("0", numbers, (side, side), (side, 1))}
    return "a.pt", files.zipped(files.pickled(value), {"0": files.floats(4)})


@family("numbers|shape")
def expanded(chance: random.Random) -> tuple[str, bytes]:
    """A stride of zero, or steps so short that few numbers make many."""
    side = chance.choice([100, 10**6, 10**9])
    stride = chance.choice([(0, 0), (0, 1), (1, 0), (1, 1)])
    value = {"conv1.weight": files.promise("0", 4, (side, side), stride)}
    return "a.pt", files.zipped(files.pickled(value), {"0": files.floats(4)})


@family("shape|where it says|numbers")
def impossible_strides(chance: random.Random) -> tuple[str, bytes]:
    size, stride, offset = chance.choice(
        [
            ((2, 2), (-2, -1), 3),
            ((2, 2), (2, 1), -1),
            ((2, 2), (2, 1), 1),
            ((2, 2), (2,), 0),
            ((2.0, 2), (2, 1), 0),
            ((-2, 2), (2, 1), 0),
            ((True, 2), (2, 1), 0),
            ("22", (2, 1), 0),
            (None, (2, 1), 0),
            ((2, 2), (2, 1), 2**70),
            ((2,) * 40, (1,) * 40, 0),
        ]
    )
    value = {"a": files.promise("0", 4, size, stride, offset)}
    return "a.pt", files.zipped(files.pickled(value), {"0": files.floats(4)})


@family("infinite or undefined")
def not_numbers(chance: random.Random) -> tuple[str, bytes]:
    state = OrderedDict(files.small_state())
    name = chance.choice([key for key in state if not key.endswith("tracked")])
    state[name] = state[name].clone()
    bad = chance.choice([float("nan"), float("inf"), -float("inf")])
    state[name].view(-1)[chance.randrange(state[name].numel())] = bad
    if chance.random() < 0.5:
        return "a.pt", files.saved(state)
    from safetensors.torch import save

    return "a.safetensors", save({key: value.half() for key, value in state.items()})


@family("empty")
def empty(chance: random.Random) -> tuple[str, bytes]:
    return chance.choice(
        [("a.pt", b""), ("a.pt", bytes(10_000)), ("a.pt", b"\n\n"), ("a.zip", files.plain_zip({}))]
    )


@family("not text|control|directory|disagree")
def odd_names(chance: random.Random) -> tuple[str, bytes]:
    content = files.zipped(files.pickled({}), {"nameplace": b"1234"})
    name = chance.choice([b"\xff\xfemeplace", b"n\x00meplace", b"name\x1b[2J\x07"])
    changed = content.replace(b"nameplace", name)
    flag = chance.choice([0, 0x08])
    # General purpose bit 11 says that a name is UTF-8.
    for match in re.finditer(rb"PK\x01\x02|PK\x03\x04", changed):
        at = match.start() + (9 if match[0] == b"PK\x01\x02" else 7)
        changed = changed[:at] + bytes([flag]) + changed[at + 1 :]
    return "a.pt", changed


@family("share bytes|disagree|twice|damaged")
def overlapping(chance: random.Random) -> tuple[str, bytes]:
    """Two entries of the directory that point at one member, or into another."""
    content = bytearray(files.zipped(files.pickled({}), {"0": bytes(200), "1": bytes(200)}))
    entries = [match.start() for match in re.finditer(rb"PK\x01\x02", bytes(content))]
    first, second = chance.sample(entries, 2)
    content[first + 42 : first + 46] = content[second + 42 : second + 46]
    if chance.random() < 0.5:
        # A whole bomb of this kind: the header of the second lies inside of the first.
        inner = files.plain_zip({"model/data/1": bytes(50)})[: 30 + len("model/data/1") + 50]
        return "a.pt", _around(inner)
    return "a.pt", bytes(content)


def _around(inner: bytes) -> bytes:
    content = files.plain_zip({"model/data.pkl": b"\x80\x02}.", "model/data/0": inner})
    offset = content.index(inner)
    start = content.index(b"PK\x01\x02")
    end = content.rindex(b"PK\x05\x06")
    directory = content[start:end]
    single = files.plain_zip({"model/data/1": bytes(50)})
    entry = bytearray(single[single.index(b"PK\x01\x02") : single.rindex(b"PK\x05\x06")])
    entry[42:46] = struct.pack("<L", offset)
    whole = directory + bytes(entry)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, len(whole), start, 0)
    return content[:start] + whole + tail


@family("page|picture|text|ONNX|Keras|GGUF|TensorFlow|NumPy|packed|pointer|tar|pickle|ExecuTorch")
def another_kind(chance: random.Random) -> tuple[str, bytes]:
    ending = chance.choice(["a.pt", "a.pth", "a.safetensors", "a.pt2", "a.bin", "a.ckpt"])
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    contents = [
        b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>",
        b"\xef\xbb\xbf  <HTML lang='en'>",
        pointer,
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        b"\xff\xd8\xff\xe0" + bytes(40),
        b"RIFF\x10\x00\x00\x00WEBPVP8 ",
        b'{"message": "Not Found"}',
        "Zugriff verweigert, bitte anmelden ÄÖÜ".encode(),
        b"\x08\x07\x12\x07pytorch\x1a\x052.0.0",
        b"\x89HDF\r\n\x1a\n" + bytes(40),
        b"GGUF\x03\x00\x00\x00",
        b"\x1c\x00\x00\x00TFL3" + bytes(40),
        b"\x1c\x00\x00\x00ET12" + bytes(40),
        b"\x93NUMPY\x01\x00v\x00",
        b"\x1f\x8b\x08\x00" + bytes(40),
        b"model/".ljust(257, b"\x00") + b"ustar\x0000" + bytes(300),
        files.pickled({"weights": [1.0, 2.0]}, protocol=4),
        files.plain_zip({"arr_0.npy": b"\x93NUMPY"}),
        files.plain_zip({"config.json": b"{}", "model.weights.h5": b"x"}),
    ]
    return ending, chance.choice(contents)


@family("twice|name twice|plain list")
def twice(chance: random.Random) -> tuple[str, bytes]:
    if chance.random() < 0.5:
        entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
        return "a.safetensors", files.with_header(f'{{"a":{entry},"a":{entry}}}'.encode(), bytes(4))
    content = files.zipped(files.pickled({}), {"first": b"1234", "secnd": b"5678"})
    other = chance.choice([b"first", b"FIRST", b"First"])
    return "a.pt", content.replace(b"secnd", other)


@family("pickled module")
def pickled_module(chance: random.Random) -> tuple[str, bytes]:
    module = chance.choice([files.Tiny(), torch.nn.Linear(2, 2), torch.nn.Sequential()])
    wrapped = chance.choice([module, {"model": module, "epoch": 1}])
    newer = chance.choice([True, False])
    return "a.pt", files.saved(wrapped, _use_new_zipfile_serialization=newer)


def _mark() -> str:
    return str(Path(os.environ.get("INTAKE_MARK", "/nonexistent")) / MARK)


@family("parts of programs")
def malicious(chance: random.Random) -> tuple[str, bytes]:
    target = _mark()
    call = chance.choice(
        [
            files.Call(os.system, f"touch {target}"),
            files.Call(builtins.eval, f"open({target!r}, 'w')"),
            files.Call(builtins.exec, f"open({target!r}, 'w')"),
            files.Call(builtins.open, target, "w"),
            files.Call(builtins.getattr, files.Call(builtins.__import__, "os"), "system"),
            files.Call(torch.load, target),
            files.Call(torch.hub.load, "a/b", "c"),
        ]
    )
    state = OrderedDict(files.small_state(classes=2))
    value = chance.choice([call, {"a": call}, {"state_dict": {}, "x": [[call]]}, [call]])
    if chance.random() < 0.3:
        return "a.pt", files.saved({**state, "x": call})
    return "a.pt", files.zipped(files.pickled(value, chance.choice([2, 3, 4, 5])))


@family("place outside|link|plain path")
def escaping(chance: random.Random) -> tuple[str, bytes]:
    names = ["../x", "/etc/passwd", "model/../../x", "C:/x", "model/./x", "model//x"]
    if chance.random() < 0.3:
        info = zipfile.ZipInfo("model/link")
        info.create_system = 3
        info.external_attr = 0o120777 << 16
        return "a.pt", _with_member(info, b"/etc/passwd")
    info = zipfile.ZipInfo("placeholder")
    info.filename = chance.choice([*names, "model\\..\\x", "a/" * 40 + "x"])
    return "a.pt", _with_member(info, b"x")


def _with_member(info: zipfile.ZipInfo, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("model/data.pkl", b"\x80\x02}.")
        file.writestr(info, content)
    return buffer.getvalue()


@family("password|packed in a way|disagree|sizes|damaged")
def disagreeing(chance: random.Random) -> tuple[str, bytes]:
    """A field of the header before a member, or of both, is changed."""
    content = bytearray(files.zipped(files.pickled({}), {"0": bytes(64)}))
    header = bytes(content).index(b"PK\x03\x04")
    central = bytes(content).index(b"PK\x01\x02")
    kind = chance.randrange(5)
    if kind == 0:
        content[header + 6] |= 1
        content[central + 8] |= 1
    elif kind == 1:
        content[header + 8] = content[central + 10] = chance.choice([12, 14, 99])
    else:
        # Method, a size, or the name's first letter, in the header only.
        content[header + [8, 22, 30][kind - 2]] ^= 8
    return "a.pt", bytes(content)


@family("before, between|added to it|cut off|two ends|disagree|outside|before or|lists its|its end")
def surrounded(chance: random.Random) -> tuple[str, bytes]:
    content = files.torch_zip()
    junk = chance.randbytes(chance.randrange(1, 200))
    other = files.zipped(files.pickled({}))
    return "a.pt", chance.choice(
        [files.legacy()[:2_000] + content, content + junk, content + other, other + content]
    )


@family("more than the|more than")
def too_many(chance: random.Random) -> tuple[str, bytes]:
    if chance.random() < 0.5:
        members = {"model/data.pkl": b"\x80\x02}."}
        members |= {f"model/data/{number}": b"" for number in range(20_001)}
        return "a.pt", files.plain_zip(members)
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return "a.safetensors", files.with_header({f"a{n}": entry for n in range(20_001)})


@family("damaged|kind that is not known|name of")
def odd_header(chance: random.Random) -> tuple[str, bytes]:
    good = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    headers: list[Any] = [
        [],
        {"a": []},
        {"a": {**good, "dtype": "F33"}},
        {"a": {**good, "dtype": ["F32"]}},
        {"a": {**good, "shape": [-1]}},
        {"a": {**good, "shape": [1.0]}},
        {"a": {**good, "shape": [True]}},
        {"a": {**good, "shape": "1"}},
        {"a": {**good, "shape": None}},
        {"a": {**good, "data_offsets": [4, 0]}},
        {"a": {**good, "data_offsets": [-4, 0]}},
        {"a": {**good, "data_offsets": [0, 8]}},
        {"a": {**good, "data_offsets": [0]}},
        {"a": {**good, "data_offsets": [0, 4.0]}},
        {"a": good, "b": good},
        {"a": {**good, "shape": [2]}},
        {"a": {**good, "data_offsets": [1, 4]}},
        {"": good},
        {"a" * 1_000: good},
        {"__metadata__": {"a": 1}, "a": good},
        {"__metadata__": [], "a": good},
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 10_000 + b"}",
        b'{"a": "\xff"}',
    ]
    header = chance.choice(headers)
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return "a.safetensors", files.with_header(text if text[:1] == b"{" else b"{" + text, bytes(4))


@family("damaged|no weights|by name|kind that is not known|pickle")
def odd_pickle(chance: random.Random) -> tuple[str, bytes]:
    rebuild = torch._utils._rebuild_tensor_v2
    bodies = [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02N.",
        b"\x80\xc8}.",
        b"\x80\x02h\x07.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02(lp0\n.",
        b"\x80\x02u.",
        b"\x80\x02}K\x01s.",
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02I" + b"9" * 100_000 + b"\n.",
        b"\x80\x02Pstorage\n.",
        b"\x80\x02K\x01K\x02R.",
        b"\x80\x02}}.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff}.",
        b"\x80\x02K\x01Q.",
        files.pickled({"a": files.Call(rebuild, 1, 2, 3)}),
        files.pickled({"a": files.promise("9", 4, (4,), (1,))}),
        files.pickled({"a": files.promise("0", 5, (4,), (1,))}),
        files.pickled({"a": files.promise("0", 4, (4,), (1,), kind=torch.device)}),
        files.pickled({"a": files.Call(rebuild, files.Storage(1), 0, (), (), 0, 0)}),
    ]
    return "a.pt", files.zipped(chance.choice(bodies), {"0": files.floats(4)})


@family("already in 8 bits")
def in_eight_bits(chance: random.Random) -> tuple[str, bytes]:
    quantized = torch.quantize_per_tensor(torch.rand(4, 4), 0.1, 0, torch.qint8)
    whole = torch.zeros(1)
    values: list[Any] = [
        {"a": quantized},
        {"conv.weight": torch.zeros(4, 4, dtype=torch.int8), "conv.bias": torch.zeros(4)},
        {"fc.scale": torch.tensor(1.0), "fc.zero_point": torch.tensor(0), "a": torch.zeros(2, 2)},
        {"fc._packed_params.dtype": torch.qint8, "fc._packed_params._packed_params": whole},
        {"state_dict": {"a": torch.zeros(4, 4).to(torch.float8_e4m3fn)}},
    ]
    return "a.pt", files.saved(chance.choice(values))


@family("architecture|nearest|pictures of|last layer|further layers|one number only|by name")
def unknown(chance: random.Random) -> tuple[str, bytes]:
    state = OrderedDict(files.small_state())
    kind = chance.randrange(8)
    if kind == 0:
        state["conv1.0.weight"] = torch.rand(24, chance.choice([1, 4]), 3, 3)
    elif kind == 1:
        del state["fc.weight"], state["fc.bias"]
    elif kind == 2:
        for name in chance.sample(list(state), 9):
            del state[name]
    elif kind == 3:
        state = OrderedDict(files.Tiny().state_dict())
    elif kind == 4:
        state["fc.1.weight"], state["fc.1.bias"] = state.pop("fc.weight"), state.pop("fc.bias")
    elif kind == 5:
        state = OrderedDict(files.small_state(classes=1))
    elif kind == 6:
        state["se.weight"] = torch.rand(4, 4)
    else:
        state["stage2.0.branch1.0.weight"] = torch.rand(5, 5)
    return "a.pt", files.saved({"state_dict": state})


class _Two(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images, images


class _Raises(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1] == 17, "seventeen channels"
        return images


class _Map(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * 2


class _Nan(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) / 0.0


@family("loaded|several things|answers|ran on no|infinite|half precision|forward|cut off|numbers")
def odd_torchscript(chance: random.Random) -> tuple[str, bytes]:
    kind = chance.randrange(8)
    if kind < 4:
        return "a.pt", files.scripted([_Two, _Raises, _Map, _Nan][kind]())
    if kind == 4:
        return "a.pt", files.scripted(files.Tiny().half())
    if kind == 5:
        model = files.Tiny()
        with torch.no_grad():
            model.head.bias[0] = float("nan")
        return "a.pt", files.scripted(model)
    with zipfile.ZipFile(io.BytesIO(files.torchscript())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    code = [name for name in members if name.endswith(".py")]
    members[chance.choice(code)] = chance.choice(
        [b"def", b"\xff\xfe", b"import os\nos.system('x')"]
    )
    if kind == 7:
        members = {name: b for name, b in members.items() if "/data/" not in name}
    return "a.pt", files.plain_zip(members)


@family("compiled code|pickled objects|loaded|than one folder|graph cannot|holds code")
def odd_pt2(chance: random.Random) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(files.pt2())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(members)).partition("/")[0]
    config = next(name for name in members if name.endswith("weights_config.json"))
    kind = chance.randrange(7)
    if kind == 6:
        graph = f"{root}/models/model.json"
        call = f"__import__('os').system('touch {_mark()}')".encode()
        assert b"Symbol('" in members[graph]
        members[graph] = re.sub(rb"Symbol\('[^)]*\)", call, members[graph])
    elif kind == 0:
        members[f"{root}/data/aotinductor/model/x.so"] = b"\x7fELF"
    elif kind == 1:
        members[config] = members[config].replace(b'"use_pickle": false', b'"use_pickle": true')
    elif kind == 2:
        members[config] = b"[" * 100_000
    elif kind == 3:
        members[f"{root}/models/model.json"] = chance.choice([b"{}", b"[", b"{" * 5_000])
    elif kind == 4:
        members["other/file"] = b""
    else:
        evil = files.Call(os.system, f"touch {_mark()}")
        members[f"{root}/data/sample_inputs/model.pt"] = files.zipped(files.pickled(evil))
    return "a.pt2", files.plain_zip(members)


@family("damaged|packed, which")
def repacked(chance: random.Random) -> tuple[str, bytes]:
    """Weights that were unzipped and zipped again."""
    weights = np.random.default_rng(chance.randrange(99)).random(64).astype("<f4").tobytes()
    value = {"a": files.promise("0", 64, (64,), (1,))}
    members = {"model/data.pkl": files.pickled(value), "model/data/0": weights}
    return "a.pt", files.plain_zip(members, zipfile.ZIP_DEFLATED)


@family("ONNX|float|numbers|answers|operator|undefined|pictures")
def odd_onnx(chance: random.Random) -> tuple[str, bytes]:
    """A graph that is refused for what it holds, or one that was cut off or overwritten."""
    kind = chance.choice([*onnx_files.REFUSED, "cut off", "overwritten", "not a graph"])
    if kind in onnx_files.REFUSED:
        return "a.onnx", onnx_files.REFUSED[kind][0]().SerializeToString()
    content = bytearray(onnx_files.model().SerializeToString())
    if kind == "cut off":
        return "a.onnx", bytes(content[: chance.randrange(8, len(content) - 1)])
    if kind == "overwritten":
        # A message in it claims to be longer than the file.
        start = content.index(b"Conv") - 1
        content[start : start + 5] = b"\xff\xff\xff\xff\x7f"
        return "a.onnx", bytes(content)
    return "a.onnx", b"\x08\x08\x12" + bytes(chance.randrange(256) for _ in range(200))
