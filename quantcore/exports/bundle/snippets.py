"""The lines that load and run an exported file, in the languages of phones and servers.

Each is a text with `$name` where the file's own facts go: what all formats share beside this
module, and the programs in compiled languages in a folder of each format's own.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template

from quantcore.backends import runtime
from quantcore.formats import FORMATS, Format, PythonCode, file_format
from quantcore.schema import VerificationReport
from quantcore.workflows import bits_of

TEMPLATES = Path(__file__).parent
# A format has programs in those languages of which there is a text in its folder, and in Python.
LANGUAGES = {
    "kotlin": "Kotlin, Android",
    "swift": "Swift, iOS",
    "cpp": "C++",
    "python": "Python",
}
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
GREY_CPP = """(299 * square[3 * pixel] + 587 * square[3 * pixel + 1] +
                                 114 * square[3 * pixel + 2] + 500) / 1000"""
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

# Bits of half precision.
HALF = 16
# What every program here needs beside the runtime.
_ALWAYS = ("numpy", "pillow")


def snippets(report: VerificationReport, file_name: str) -> dict[str, str]:
    """Return code that runs the file, by those languages in `LANGUAGES` that the format has."""
    kind, facts = FORMATS[report.spec.format], _facts(report, file_name)
    code = _python(report)
    python = {
        "packages": " ".join([_pinned(report, kind.package), *_ALWAYS]),
        "imports": code.imports,
        "load": code.load.format(path=f'"{file_name}"'),
        "run": code.run,
        "picture": SAMPLE if report.sample else OWN_PICTURE,
    }
    texts = {name: kind.templates / f"{name}.txt" for name in LANGUAGES}
    compiled = {name: _filled(path, facts) for name, path in texts.items() if path.exists()}
    return {**compiled, "python": _filled(TEMPLATES / "python.txt", {**facts, **python})}


def check(report: VerificationReport, file_name: str) -> str:
    """Return a program that checks the file beside it against its report."""
    code = _python(report)
    lines = {
        "imports": code.imports,
        "check_load": code.load.format(path="str(file)"),
        "run": code.run,
    }
    return _filled(TEMPLATES / "check.txt", {**_facts(report, file_name), **lines})


def _python(report: VerificationReport) -> PythonCode:
    """Return the code that loads and asks the file as it was when it was verified."""
    return _format(report).python(runtime(report.spec.variant.backend))


def _format(report: VerificationReport) -> Format:
    return file_format(report.spec.format, dict(report.spec.options))


def _pinned(report: VerificationReport, package: str) -> str:
    """Return the requirement for `pip`, pinned to the verified version if that is known.

    Without where that build came from: `2.13.0+cpu` is on no public index.
    """
    number = report.environment.libraries.get(package) or report.runtime_version
    number = number.partition("+")[0]
    return f"{package}=={number}" if number else package


def _facts(report: VerificationReport, file_name: str) -> dict[str, str]:
    provenance, name, variant = report.provenance, Path(file_name), report.spec.variant
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
        "half": "true" if bits_of(variant.workflow, dict(variant.settings)) == HALF else "false",
        **_format(report).phone_facts(report.exported, report.runtime_version),
        **_channels(is_grey=provenance["greyscale"], is_bgr=provenance["channels"] == "BGR"),
    }
    commons = {
        name: _filled(TEMPLATES / f"{name}.txt", facts).rstrip()
        for name in ("swift_common", "kotlin_common", "cpp_common")
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
        "channel_cpp": GREY_CPP if is_grey else f"square[3 * pixel + {index}]",
        "grey_python": GREY_PYTHON if is_grey else "",
        "order_python": BGR_PYTHON if is_bgr else "",
    }


def _numbers(values: list[float], suffix: str = "") -> str:
    return ", ".join(f"{value:g}{suffix}" for value in values)


def _filled(path: Path, values: Mapping[str, str]) -> str:
    return _template(path).substitute(values)


@cache
def _template(path: Path) -> Template:
    return Template(path.read_text("utf-8"))
