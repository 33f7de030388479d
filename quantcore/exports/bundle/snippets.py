"""The lines that load and run an exported file, in the languages of phones and servers.

Each is a text beside this module with `$name` where the file's own facts go.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from quantcore.backends import runtime
from quantcore.formats import onnx
from quantcore.schema import VerificationReport

TEMPLATES = Path(__file__).parent
LANGUAGES = {"kotlin": "Kotlin, Android", "swift": "Swift, iOS", "python": "Python"}
ENGINE = 'torch.backends.quantized.engine = "{engine}"\n'
# Activations of these take all 8 bits: processors without VNNI overflow unless told not to.
PRECISE_LINES = (
    "options = onnxruntime.SessionOptions()",
    f'options.add_session_config_entry("{onnx.PRECISE[0]}", "{onnx.PRECISE[1]}")',
)
# A phone's PyTorch has these kernels only, whichever the file was made for.
PHONE_ENGINE = "      at::globalContext().setQEngine(at::QEngine::QNNPACK);\n"


@dataclass(frozen=True)
class PythonRuntime:
    """How Python runs one format.

    Attributes:
        packages: the requirements for `pip`.
        imports: lines.
        load: lines that load the file, with `{path}` for an expression that gives its path.
        run: lines that make `scores`, one a class, from `batch`.
    """

    packages: tuple[str, ...]
    imports: str
    load: str
    run: str


# What a phone's runtime is called by, `1.4`: in a version, or in a sentence on what runs the file.
RELEASE = re.compile(r"\d+\.\d+")
# The last release of PyTorch's lite interpreter that is there as a pod.
LAST_POD = "1.13"
POD = f"Podfile: pod 'LibTorch-Lite', '~> {LAST_POD}.0'."
NO_POD = (
    "The pod LibTorch-Lite ends at {last}, and this file needs PyTorch Mobile {least} or newer:\n"
    "// build LibTorch-Lite from PyTorch's sources, with scripts/build_ios.sh there."
)
# Red, green and blue of a pixel, or three times how bright it is, where the model sees greyscale.
COLOUR_KOTLIN = "listOf({ it shr 16 and 255 }, { it shr 8 and 255 }, { it and 255 })"
BGR_KOTLIN = "listOf({ it and 255 }, { it shr 8 and 255 }, { it shr 16 and 255 })"
GREY_KOTLIN = """List(3) {
            { pixel ->
                val red = 299 * (pixel shr 16 and 255)
                val green = 587 * (pixel shr 8 and 255)
                (red + green + 114 * (pixel and 255) + 500) / 1000
            }
        }"""
GREY_SWIFT = """            let red = 299 * Int(bytes[4 * pixel])
            let green = 587 * Int(bytes[4 * pixel + 1])
            let blue = 114 * Int(bytes[4 * pixel + 2])
            let grey = UInt8((red + green + blue + 500) / 1000)
"""
GREY_PYTHON = '.convert("L")'
BGR_PYTHON = """    # The model takes blue first.
    picture = Image.merge("RGB", picture.split()[::-1])
"""
OWN_PICTURE = 'square = seen(Image.open("picture.jpg"))'
SAMPLE = (
    "# It is as the model sees it already; any other picture: "
    'seen(Image.open("picture.jpg"))\n'
    'square = Image.open("sample.png").convert("RGB")'
)

# What every program here needs beside the runtime.
_ALWAYS = ("numpy", "pillow")
_TORCH_RUN = "with torch.inference_mode():\n    scores = model(torch.from_numpy(batch))[0].numpy()"
PYTHON = {
    "torchscript": PythonRuntime(
        ("torch",), "import torch", "model = torch.jit.load({path})", _TORCH_RUN
    ),
    "mobile": PythonRuntime(
        ("torch",),
        "import torch\nfrom torch.jit.mobile import _load_for_lite_interpreter",
        "model = _load_for_lite_interpreter({path})",
        _TORCH_RUN,
    ),
    "onnx": PythonRuntime(
        ("onnxruntime",),
        "import onnxruntime",
        'session = onnxruntime.InferenceSession({path}, providers=["CPUExecutionProvider"])',
        'scores = session.run(None, {"images": batch})[0][0]',
    ),
    "executorch": PythonRuntime(
        ("executorch",),
        "import torch\n"
        "from executorch.extension.pybindings.portable_lib import _load_for_executorch",
        "program = _load_for_executorch({path})",
        "scores = program.forward([torch.from_numpy(batch)])[0][0].numpy()",
    ),
}


def snippets(report: VerificationReport, file_name: str) -> dict[str, str]:
    """Return code that runs the file, by language in `LANGUAGES`."""
    folder, facts = report.spec.format, _facts(report, file_name)
    how = PYTHON[folder]
    python = {
        "packages": " ".join([*(_pinned(report, name) for name in how.packages), *_ALWAYS]),
        "imports": how.imports,
        "load": _load(report, f'"{file_name}"'),
        "run": how.run,
        "picture": SAMPLE if report.sample else OWN_PICTURE,
    }
    return {
        "kotlin": _filled(f"{folder}/kotlin.txt", facts),
        "swift": _filled(f"{folder}/swift.txt", facts),
        "python": _filled("python.txt", {**facts, **python}),
    }


def check(report: VerificationReport, file_name: str) -> str:
    """Return a program that checks the file beside it against its report."""
    how = PYTHON[report.spec.format]
    lines = {
        "imports": how.imports,
        "check_load": _load(report, "str(file)"),
        "run": how.run,
    }
    return _filled("check.txt", {**_facts(report, file_name), **lines})


def _load(report: VerificationReport, path: str) -> str:
    """Return the lines that load the file, as it was loaded when it was verified."""
    load = PYTHON[report.spec.format].load.format(path=path)
    if report.spec.format != "onnx" or not runtime(report.spec.variant.backend).saturates:
        return _engine(report) + load
    session = load.replace(", providers", ", options, providers")
    return "".join(f"{line}\n" for line in PRECISE_LINES) + session


def _pinned(report: VerificationReport, package: str) -> str:
    """Return the requirement for `pip`, pinned to the verified version if that is known.

    Without where that build came from: `2.13.0+cpu` is on no public index.
    """
    number = report.environment.libraries.get(package) or report.runtime_version
    number = number.partition("+")[0]
    return f"{package}=={number}" if number else package


def _engine(report: VerificationReport) -> str:
    """Return the line that sets the quantized engine; empty where the file needs none."""
    is_torch = PYTHON[report.spec.format].packages == ("torch",)
    engines = report.exported.engines
    return ENGINE.format(engine=engines[0]) if is_torch and engines else ""


def _facts(report: VerificationReport, file_name: str) -> dict[str, str]:
    provenance, name = report.provenance, Path(file_name)
    facts = {
        "file": file_name,
        "stem": name.stem,
        "extension": name.suffix.removeprefix("."),
        "side": str(provenance["image_size"]),
        "resize": str(provenance["resize_size"]),
        "filter": provenance["interpolation"].upper(),
        "mean": _numbers(provenance["mean"]),
        "std": _numbers(provenance["std"]),
        "mean_f": _numbers(provenance["mean"], "f"),
        "std_f": _numbers(provenance["std"], "f"),
        "engine_line": PHONE_ENGINE if report.exported.engines else "",
        "release": _release(report.runtime_version) or _release(report.exported.runs_on),
        "pod": _pod(report),
        **_channels(is_grey=provenance["greyscale"], is_bgr=provenance["channels"] == "BGR"),
    }
    commons = {
        name: _filled(f"{name}.txt", facts).rstrip() for name in ("swift_common", "kotlin_common")
    }
    return facts | commons


def _channels(*, is_grey: bool, is_bgr: bool) -> dict[str, str]:
    """Return the code of each language that reads a pixel's channels in the model's order."""
    colour_kotlin, index = (BGR_KOTLIN, "2 - channel") if is_bgr else (COLOUR_KOTLIN, "channel")
    return {
        "order": "Blue, green and red" if is_bgr else "Red, green and blue",
        "channels_kotlin": GREY_KOTLIN if is_grey else colour_kotlin,
        "grey_swift": GREY_SWIFT if is_grey else "",
        "channel_swift": "grey" if is_grey else f"bytes[4 * pixel + {index}]",
        "grey_python": GREY_PYTHON if is_grey else "",
        "order_python": BGR_PYTHON if is_bgr else "",
    }


def _release(text: str) -> str:
    """Return the first release that a text names, `1.4`; empty where it names none."""
    match = RELEASE.search(text)
    return match[0] if match else ""


def _pod(report: VerificationReport) -> str:
    """Return the CocoaPod with a new enough lite interpreter, or that there is none."""
    least = _release(report.exported.runs_on)
    if _parts(least) <= _parts(LAST_POD):
        return POD
    return NO_POD.format(last=LAST_POD, least=least)


def _parts(release: str) -> list[int]:
    return [int(part) for part in release.split(".") if part]


def _numbers(values: list[float], suffix: str = "") -> str:
    return ", ".join(f"{value:g}{suffix}" for value in values)


def _filled(name: str, values: Mapping[str, str]) -> str:
    return _template(name).substitute(values)


@cache
def _template(name: str) -> Template:
    return Template((TEMPLATES / name).read_text("utf-8"))
