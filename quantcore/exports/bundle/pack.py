"""The zip for the app team."""

import dataclasses
import io
import json
import zipfile
from pathlib import Path, PurePosixPath

from quantcore.exports.bundle.page import to_html
from quantcore.exports.bundle.readme import readme
from quantcore.exports.bundle.snippets import check
from quantcore.schema import VerificationReport

# The same content makes the same bytes, whenever it is packed.
_DATE = (1980, 1, 1, 0, 0, 0)
_LEVEL = 9


def pack_name(file_name: str) -> str:
    """Return the file name of a file's zip: `mobilenet_v2-static-qnnpack-ptl.zip`."""
    name = PurePosixPath(file_name)
    return f"{name.stem}-{name.suffix.removeprefix('.')}.zip"


def pack(report: VerificationReport, file_name: str, file: Path, sample: Path | None) -> bytes:
    """Return the zip: the file, how to run it, a picture to try it with, and what was verified.

    Args:
        report: what was found of the file.
        file_name: what it is called in the zip.
        file: where its bytes are.
        sample: where the picture is; None where the file did not load.
    """
    folder = pack_name(file_name).removesuffix(".zip")
    contents: dict[str, bytes] = {
        file_name: file.read_bytes(),
        "README.md": readme(report, file_name).encode(),
        "labels.txt": "".join(f"{label}\n" for label in report.provenance["labels"]).encode(),
        "verification.json": report.to_json().encode(),
        "verification.html": to_html(report, file_name).encode(),
    }
    if sample is not None:
        contents["sample.png"] = sample.read_bytes()
        contents["expected.json"] = _expected(report).encode()
        contents["check.py"] = check(report, file_name).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(f"{folder}/{name}", _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, compresslevel=_LEVEL)
    return buffer.getvalue()


def _expected(report: VerificationReport) -> str:
    assert report.sample is not None
    return json.dumps(
        {"top5": [dataclasses.asdict(guess) for guess in report.sample.guesses]},
        indent=2,
        ensure_ascii=False,
    )
