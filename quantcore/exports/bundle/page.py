"""A verification report as a page of its own, which needs nothing else to be read."""

from pathlib import Path

from markupsafe import Markup

from quantcore import wording
from quantcore.draw import marks, templating, verification
from quantcore.models import find
from quantcore.report import figures
from quantcore.schema import VerificationReport

HERE = Path(__file__).parent
TEMPLATES = templating.Templates(HERE / "templates")


def to_html(report: VerificationReport, file_name: str) -> str:
    """Return the page."""
    spec = report.spec
    variant = f"{find(spec.request.model).title}, {spec.variant.label}"
    title = f"{variant}: verification report of {file_name}"
    guesses = report.sample.guesses if report.sample else ()
    return TEMPLATES.render(
        "page.html",
        title=title,
        style=Markup(marks.STYLE.read_text("utf-8") + (HERE / "page.css").read_text("utf-8")),
        measured=f"Measured on {report.environment.sentence()}, on {wording.day(report.created)}.",
        verification=verification.verification_report(report, figures(report), file_name),
        guesses=[(guess.label, wording.percent(guess.share)) for guess in guesses],
    )
