"""A comparison as one HTML file that works from a disk, without a network, and on paper."""

import json
from base64 import b64encode
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from quantcore.decide import Budgets
from quantcore.draw import marks, picture
from quantcore.report import parts, plots
from quantcore.report.context import ReportContext, report_context
from quantcore.report.parts import TEMPLATES
from quantcore.report.sheet import to_csv
from quantcore.schema import Comparison

HERE = Path(__file__).parent
PRODUCT = "Quantization what-if"
# Raw samples of a large sweep would make the file too large to send; its figures stay in the CSV.
MAX_JSON_BYTES = 1_000_000
# The file loads nothing from any network, and this policy makes the browser enforce it.
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
        visible: keys of the results to show and to recommend from; all where left out.
    """
    context = report_context(comparison, budgets, link, name, visible)
    everything = _json(context)
    libraries = comparison.environment.libraries | {"plotly": version("plotly")}
    return TEMPLATES.render(
        "page.html",
        context=context,
        product=PRODUCT,
        policy=Markup(POLICY),
        logo=f"data:image/svg+xml;base64,{b64encode(marks.LOGO.read_bytes()).decode()}",
        style=Markup(marks.STYLE.read_text("utf-8") + _own("page.css")),
        verdict=parts.verdict(context),
        sections=_sections(context, has_json=everything != "null"),
        versions=", ".join(f"{name} {number}" for name, number in libraries.items()),
        data=_data(context, everything),
        plotly=_plotly() if context.plots else "",
        script=Markup(_own("page.js")),
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
    pictures = plots.pictures_of(report_context(comparison, budgets, "", name, visible))
    return f"{picture.alone(pictures[0])}\n" if pictures else ""


def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _sections(context: ReportContext, *, has_json: bool) -> list[tuple[str, str, Markup]]:
    """Return the sections in their order, each as its class, title and body; some are empty."""
    downloads = TEMPLATES.render("downloads.html", has_json=has_json)
    return [
        ("budgets", "Budgets", parts.budgets(context)),
        ("plots", "What each variant costs and gains", plots.section(context)),
        ("promise", "Promise and outcome", parts.promises(context)),
        ("table", "Every variant", parts.table(context)),
        ("others", "Why not the others?", parts.others(context)),
        ("failed", "Not measured", parts.failures(context, refused=False)),
        ("refused", "Not possible here", parts.failures(context, refused=True)),
        ("notes", "Notes on single variants", parts.notes(context)),
        ("how", "How was this measured?", parts.how(context)),
        ("data", "Figures to take away", downloads),
    ]


def _json(context: ReportContext) -> str:
    """Return the comparison in the public format, without indents; `null` where it is too long."""
    lean = json.dumps(json.loads(context.comparison.to_json()), separators=(",", ":"))
    return lean if len(lean) <= MAX_JSON_BYTES else "null"


def _data(context: ReportContext, everything: str) -> dict[str, Markup]:
    """Return the JSON that the page's script reads, by name."""
    facts = {"name": _file_name(context), "title": context.title}
    data = {
        "facts": json.dumps(facts),
        "csv": json.dumps(to_csv(context.comparison)),
        "json": everything,
        "figures": plots.figures(context),
    }
    # Without this sign nothing ends a script or begins a comment.
    return {name: Markup(text.replace("<", r"\u003c")) for name, text in data.items()}


def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def _file_name(context: ReportContext) -> str:
    kept = "".join(sign if sign.isalnum() else "-" for sign in context.title.lower())
    return "-".join(part for part in kept.split("-") if part)[:60] or "comparison"
