"""A verification report as HTML: for the page, and for the file that travels with the export."""

from collections.abc import Sequence

from markupsafe import Markup

from quantcore import wording
from quantcore.draw.templating import render
from quantcore.formats import FORMATS
from quantcore.schema import VerificationReport

PASSED_SIGN, FAILED_SIGN = "✓", "✗"
# Facts that are long, and stand below the figures.
LONG = ("SHA-256", "runs on", "engine")


def verification_report(
    report: VerificationReport, figures: Sequence[tuple[str, str]], file_name: str
) -> Markup:
    """Return the report from its verdict to what was not verified.

    Args:
        report: the checks and figures of one exported file.
        figures: by name, ready to show.
        file_name: of the export.
    """
    headline, summary = _verdict(report)
    return render(
        "verification_report.html",
        report=report,
        headline=headline,
        summary=summary,
        file_name=file_name,
        size=wording.megabytes(report.exported.artifact.size_bytes, 3),
        figures=[pair for pair in figures if pair[0] not in LONG],
        long_figures=[pair for pair in figures if pair[0] in LONG],
        operators=wording.count(len(report.exported.operators), "operator"),
        passed_sign=PASSED_SIGN,
        failed_sign=FAILED_SIGN,
    )


def _verdict(report: VerificationReport) -> tuple[str, str]:
    """Return whether to ship the file, and a sentence that says why or what it is."""
    failed = [check.name for check in report.checks if not check.passed]
    if failed:
        return (
            f"{FAILED_SIGN} Do not ship this file",
            f"What did not hold: {wording.joined(failed)}.",
        )
    return f"{PASSED_SIGN} Every check held", FORMATS[report.spec.format].summary
