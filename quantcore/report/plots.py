"""The plot of the HTML report: one that answers to the pointer, and pictures of it for all else."""

import json

from markupsafe import Markup

from quantcore.draw import axes, charts, lists, picture
from quantcore.report.context import ReportContext
from quantcore.report.parts import TEMPLATES


def section(context: ReportContext) -> Markup:
    """Return the plot with its legend, its pictures, and what it shows in words."""
    if not context.plots:
        return Markup()
    rows = context.comparison.results
    across, up = context.plots[0]
    return TEMPLATES.render(
        "plots.html",
        up=axes.AXES[up].title,
        across=[axes.AXES[name].title for name, _ in context.plots],
        legend=lists.legend(charts.with_both(rows, across, up)),
        pictures=pictures_of(context),
        description=charts.describe(rows, across, up),
    )


def pictures_of(context: ReportContext) -> list[Markup]:
    """Return the plots as SVG elements, one for each pair of axes."""
    rows = context.comparison.results
    return [
        picture.svg(
            figure,
            charts.with_both(rows, across, up),
            f"{context.title}: {_axis(up)} against {_axis(across)}",
            f"{context.provenance}.",
        )
        for figure, (across, up) in zip(context.figures, context.plots, strict=True)
    ]


def figures(context: ReportContext) -> str:
    """Return the plotly figures as JSON: data and layout of each pair of axes."""
    # The colours of the theme are the script's to choose, so plotly's own would only take room.
    figures = [
        json.loads(figure.update_layout(template=None).to_json(), parse_float=_rounded)
        for figure in context.figures
    ]
    return json.dumps(figures, separators=(",", ":"))


def _rounded(digits: str) -> float:
    """Return a number as exactly as a screen shows it, in half the characters."""
    return float(f"{float(digits):.6g}")


def _axis(name: str) -> str:
    return axes.AXES[name].title.lower()
