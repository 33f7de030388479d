"""The README of a bundle: what the file is, what was found of it, and how to run it."""

from quantcore import wording
from quantcore.exports.bundle.snippets import LANGUAGES, snippets
from quantcore.formats import FORMATS
from quantcore.models import find
from quantcore.report import figures
from quantcore.schema import VerificationReport


def readme(report: VerificationReport, file_name: str) -> str:
    """Return the README of a bundle as Markdown."""
    blocks = [
        f"# {file_name}",
        _introduction(report),
        _contents(report, file_name),
        "## What was found",
        _warning(report),
        _table(report),
        "\n".join(f"- {_held(check.passed)}: {check.found}" for check in report.checks),
        *report.notes,
        "## Not checked",
        "\n".join(f"- {sentence}" for sentence in report.not_verified),
        "## How pictures are prepared",
        _preparation(report),
        "## How to run it",
        *_code(report, file_name),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _introduction(report: VerificationReport) -> str:
    spec, kind = report.spec, FORMATS[report.spec.format]
    title = find(spec.request.model).title
    return (
        f"{title}, {spec.variant.label}, as {kind.title}. {kind.summary} It runs on "
        f"{report.exported.runs_on}. Made on {wording.day(report.created)}."
    )


def _contents(report: VerificationReport, file_name: str) -> str:
    to_try = {
        "sample.png": "a picture as the model sees it, and in `expected.json` the answer to it",
        "check.py": "run it: it checks the file's digest and its answer to the picture",
    }
    files = {
        file_name: "the model",
        "labels.txt": "its classes, one a line, in the order of its scores",
        # Of a file that does not load there is no answer.
        **(to_try if report.sample else {}),
        "verification.html, verification.json": "all that was found, to read and for programs",
    }
    return "\n".join(f"- `{name}`: {text}" for name, text in files.items())


def _warning(report: VerificationReport) -> str:
    failed = [check.name for check in report.checks if not check.passed]
    return f"**Do not ship it.** What did not hold: {wording.joined(failed)}." if failed else ""


def _table(report: VerificationReport) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in figures(report))
    return f"| | |\n|---|---|\n{rows}"


def _held(passed: bool) -> str:
    return "held" if passed else "**did not hold**"


def _preparation(report: VerificationReport) -> str:
    provenance = report.provenance
    side, resize = provenance["image_size"], provenance["resize_size"]
    grey = ", made grey (one channel three times)" if provenance["greyscale"] else ""
    return (
        f"An upright picture, {provenance['channels']}{grey}. Its shorter side is scaled to "
        f"{resize} px ({provenance['interpolation']}, every pixel counted where it shrinks), and "
        f"the middle, {side} × {side} px, is cut out. Values from 0 to 1, less the mean "
        f"{provenance['mean']}, divided by {provenance['std']}; one float32 tensor of shape "
        f"[1, 3, {side}, {side}]."
    )


def _code(report: VerificationReport, file_name: str) -> list[str]:
    return [
        f"### {LANGUAGES[name]}\n\n```{name}\n{code.rstrip()}\n```"
        for name, code in snippets(report, file_name).items()
    ]
