"""A comparison as one HTML file that works from a disk, without a network, and on paper."""

import json
from base64 import b64encode
from collections.abc import Collection
from html import escape
from importlib.metadata import version
from pathlib import Path

from quantcore.decide import Budgets
from quantcore.draw import marks, picture
from quantcore.report import parts, plots
from quantcore.report.sheet import to_csv
from quantcore.report.told import Told, told
from quantcore.schema import Comparison

HERE = Path(__file__).parent
PRODUCT = "Quantization what-if"
# Raw samples of a large sweep would make the file too large to send; its figures stay in the CSV.
MAX_JSON_BYTES = 400_000
# The file asks nothing of any network, and a browser is told to see to it.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)


def to_html(
    comparison: Comparison,
    budgets: Budgets | None = None,
    link: str = "",
    *,
    name: str = "",
    visible: Collection[str] | None = None,
) -> str:
    """Return the comparison as one HTML file: verdict, budgets, plot, table, reasons and method.

    It needs nothing beside itself: no network, no server. All text in it is escaped. It is about
    5.2 MB, of which plotly is 4.8 MB.

    Args:
        comparison: the whole answer.
        budgets: the limits that the verdict keeps; none where left out.
        link: address of the live comparison, offered for clicking; never opened by itself.
        name: of the comparison; its models where left out.
        visible: keys of the results to show and to judge; all where left out.
    """
    about = told(comparison, budgets, link, name, visible)
    everything = _json(about)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{_head(about)}</head>\n<body><main>'
        f"{_header(about)}{_body(about, everything)}</main>{_footer(about)}"
        f"{_scripts(about, everything)}</body></html>\n"
    )


def to_svg(
    comparison: Comparison,
    budgets: Budgets | None = None,
    *,
    name: str = "",
    visible: Collection[str] | None = None,
) -> str:
    """Return the plot as an SVG file with its legend; empty where nothing was measured.

    The arguments are those of `to_html`.
    """
    drawn = plots.pictures_of(told(comparison, budgets, "", name, visible))
    return f"{picture.alone(drawn[0])}\n" if drawn else ""


def _head(about: Told) -> str:
    style = marks.STYLE.read_text() + _own("page.css")
    return (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="color-scheme" content="light dark">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escape(about.title)} – {PRODUCT}</title>"
        f'<link rel="icon" href="{_logo()}"><style>{style}</style>'
        "<script>document.documentElement.classList.add('js')</script>"
    )


def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _logo() -> str:
    return f"data:image/svg+xml;base64,{b64encode(marks.LOGO.read_bytes()).decode()}"


def _header(about: Told) -> str:
    link = escape(about.link, quote=True)
    live = f' <a href="{link}" rel="noreferrer">Open the live comparison</a>' if link else ""
    return (
        f'<header class="rp-header"><p class="rp-product"><img alt="" src="{_logo()}">'
        f"{PRODUCT}</p><h1>{escape(about.title)}</h1>"
        f"<p>{escape(_models(about))}{escape(about.provenance)}.{live}</p></header>"
    )


def _models(about: Told) -> str:
    """Return the models where the name does not say them."""
    return f"{', '.join(about.models.values())}. " if about.name else ""


def _body(about: Told, everything: str) -> str:
    return "".join(
        (
            parts.verdict(about),
            parts.section("Budgets", parts.budgets(about), "budgets"),
            parts.section("What each variant costs and brings", plots.section(about), "plots"),
            parts.section("Promise and outcome", parts.promises(about), "promise"),
            parts.section("Every variant", parts.table(about), "table"),
            parts.section("Why not the others?", parts.others(about), "others"),
            parts.section("Not measured", parts.failures(about, refused=False), "failed"),
            parts.section("Not possible here", parts.failures(about, refused=True), "refused"),
            parts.section("Notes on single variants", parts.notes(about), "notes"),
            parts.section("How was this measured?", parts.how(about), "how"),
            parts.section("Figures to take away", _downloads(everything), "data"),
        )
    )


def _downloads(everything: str) -> str:
    whole = (
        "<span>JSON with every raw sample is too large for this file.</span>"
        if everything == "null"
        else '<button type="button" data-save="json">Everything as JSON</button>'
    )
    return (
        '<p class="rp-buttons"><button type="button" data-save="csv">Figures as CSV</button>'
        f"{whole}</p>"
    )


def _json(about: Told) -> str:
    """Return the comparison in the public format, without indents; `null` where it is too long."""
    lean = json.dumps(json.loads(about.comparison.to_json()), separators=(",", ":"))
    return lean if len(lean) <= MAX_JSON_BYTES else "null"


def _footer(about: Told) -> str:
    libraries = about.comparison.environment.libraries | {"plotly": version("plotly")}
    versions = ", ".join(f"{name} {number}" for name, number in libraries.items())
    return (
        f'<footer class="rp-footer"><p>Made with {PRODUCT}: every variant was converted, saved, '
        f"loaded afresh and measured. {escape(versions)}.</p>"
        "<p>This file is complete: it loads nothing from any network.</p></footer>"
    )


def _scripts(about: Told, everything: str) -> str:
    from plotly.offline import get_plotlyjs

    facts = {"name": _file_name(about), "title": about.title}
    data = {
        "facts": json.dumps(facts),
        "csv": json.dumps(to_csv(about.comparison)),
        "json": everything,
        "figures": plots.figures(about),
    }
    blocks = "".join(
        f'<script type="application/json" id="data-{name}">{_in_script(text)}</script>\n'
        for name, text in data.items()
    )
    library = f"<script>{get_plotlyjs()}</script>" if about.plots else ""
    return f"{blocks}{library}<script>{_own('page.js')}</script>"


def _in_script(text: str) -> str:
    """Return JSON in which nothing ends a script or begins a comment."""
    return text.replace("<", r"\u003c")


def _file_name(about: Told) -> str:
    kept = "".join(sign if sign.isalnum() else "-" for sign in about.title.lower())
    return "-".join(part for part in kept.split("-") if part)[:60] or "comparison"
