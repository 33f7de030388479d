"""A proof card as HTML: for the page, and for the file that travels with the export."""

from collections.abc import Iterable
from html import escape

from quantcore import wording
from quantcore.formats import EXPORTERS
from quantcore.schema import Check, Pass, VerificationReport

HELD, FAILED = "✓", "✗"
# Facts that are long, and stand below the figures.
LONG = ("SHA-256", "runs on", "engine")


def card(found: VerificationReport, figures: list[tuple[str, str]], file_name: str) -> str:
    """Return the card from its verdict to what nobody looked at.

    Args:
        found: what was proved.
        figures: by name, ready to show.
        file_name: of the export.
    """
    kind = "qw-passed" if found.passed else "qw-failed"
    parts = (
        _headline(found, file_name),
        _tiles(pair for pair in figures if pair[0] not in LONG),
        _facts(pair for pair in figures if pair[0] in LONG),
        _list("What was checked", map(_check, found.checks)),
        _list("What to know", (f"<li>{escape(note)}</li>" for note in found.notes)),
        _list("What nobody looked at", (f"<li>{escape(s)}</li>" for s in found.not_verified)),
        _fold("What was done to the graph", map(_pass, found.exported.passes)),
        _fold(
            f"Its {wording.count(len(found.exported.operators), 'operator')}, for a build of the "
            "runtime with only those",
            (f"<li><code>{escape(name)}</code></li>" for name in found.exported.operators),
        ),
    )
    return f'<section class="qw-card {kind}" aria-label="Proof card">{"".join(parts)}</section>'


def _headline(found: VerificationReport, file_name: str) -> str:
    failed = [check.name for check in found.checks if not check.passed]
    if failed:
        says = f"{FAILED} Do not ship this file"
        why = f"What did not hold: {wording.joined(failed)}."
    else:
        says, why = f"{HELD} Every check held", EXPORTERS[found.spec.format].summary
    size = wording.megabytes(found.exported.artifact.size_bytes, 3)
    return f"<h2>{says}</h2><p><b>{escape(file_name)}</b>, {size}. {escape(why)}</p>"


def _tiles(figures: Iterable[tuple[str, str]]) -> str:
    tiles = (
        f"<div><dt>{escape(name[:1].upper() + name[1:])}</dt><dd>{escape(value)}</dd></div>"
        for name, value in figures
    )
    return f'<dl class="qw-tiles">{"".join(tiles)}</dl>'


def _facts(figures: Iterable[tuple[str, str]]) -> str:
    lines = (
        f"<div><dt>{escape(name[:1].upper() + name[1:])}</dt><dd>{escape(value)}</dd></div>"
        for name, value in figures
    )
    return f'<dl class="qw-facts">{"".join(lines)}</dl>'


def _check(check: Check) -> str:
    mark, kind = (HELD, "qw-held") if check.passed else (FAILED, "qw-broken")
    said = "Held" if check.passed else "Did not hold"
    return (
        f'<li class="{kind}"><span aria-hidden="true">{mark}</span> <b>{escape(check.name)}</b>: '
        f'<span class="qw-sr">{said}.</span> {escape(check.found)}</li>'
    )


def _pass(step: Pass) -> str:
    said = "Applied" if step.applied else "Left out"
    return f"<li><b>{said}</b>: {escape(step.name)}. {escape(step.reason)}</li>"


def _list(title: str, items: Iterable[str]) -> str:
    text = "".join(items)
    return f"<h3>{title}</h3><ul>{text}</ul>" if text else ""


def _fold(title: str, items: Iterable[str]) -> str:
    text = "".join(items)
    return f"<details><summary>{title}</summary><ul>{text}</ul></details>" if text else ""
