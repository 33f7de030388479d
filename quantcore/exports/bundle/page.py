"""A proof card as a page of its own, which needs nothing else to be read."""

from html import escape
from pathlib import Path

from quantcore import wording
from quantcore.draw import cards, marks
from quantcore.models import find
from quantcore.report import figures
from quantcore.schema import VerificationReport

_STYLE = Path(__file__).parent / "page.css"


def to_html(card: VerificationReport, file_name: str) -> str:
    """Return the page."""
    spec = card.spec
    title = f"{find(spec.request.model).title}, {spec.variant.label}: proof of {file_name}"
    measured = f"Measured on {card.environment.sentence()}, on {wording.day(card.created)}."
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f"<style>{marks.STYLE.read_text('utf-8')}{_STYLE.read_text('utf-8')}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>"
        f'<p class="qw-provenance">{escape(measured)}</p>'
        f"{cards.card(card, figures(card), file_name)}{_sample(card)}</main></body></html>"
    )


def _sample(card: VerificationReport) -> str:
    if card.sample is None:
        return ""
    guesses = "".join(
        f"<li>{escape(guess.label)}, {wording.percent(guess.share)}</li>"
        for guess in card.sample.guesses
    )
    return f"<h2>What it answers to sample.png</h2><ol>{guesses}</ol>"
