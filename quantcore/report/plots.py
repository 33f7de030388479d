"""The plot of the HTML report: one that answers to the pointer, and pictures of it for all else."""

import json
from collections.abc import Sequence
from html import escape

from quantcore.draw import axes, charts, lists, picture
from quantcore.report.told import Told


def section(about: Told) -> str:
    """Return the plot with its legend, its pictures, and what it shows in words."""
    if not about.plots:
        return ""
    across, up = about.plots[0]
    drawn = charts.with_both(about.comparison.results, across, up)
    pictures = "".join(
        f'<div class="rp-picture" data-plot="{place}">{drawing}</div>'
        for place, drawing in enumerate(pictures_of(about))
    )
    return (
        f'<figure class="rp-plot"><div class="rp-live">{_choice(about.plots)}'
        '<div class="rp-beside"><div id="plot"></div>'
        f"{lists.legend(drawn)}</div></div>"
        f'<div class="rp-still">{pictures}</div>'
        f'<figcaption class="qw-sr">{escape(_described(about))}</figcaption></figure>'
        f"{_buttons()}"
    )


def _choice(plots: Sequence[tuple[str, str]]) -> str:
    options = "".join(
        f'<option value="{place}">{escape(axes.AXES[across].title)}</option>'
        for place, (across, _) in enumerate(plots)
    )
    up = escape(axes.AXES[plots[0][1]].title)
    return (
        f'<p class="rp-choice"><span><b>{up}</b> against</span> <label class="qw-sr" for="across">'
        f'The figure that runs from left to right</label><select id="across">{options}</select>'
        '<span class="rp-hint">Drag to look closer, double-click to step back.</span></p>'
    )


def _buttons() -> str:
    return (
        '<p class="rp-buttons"><button type="button" data-save="png">Download PNG</button>'
        '<button type="button" data-save="svg">Download SVG</button></p>'
    )


def _described(about: Told) -> str:
    across, up = about.plots[0]
    return charts.describe(about.comparison.results, across, up)


def pictures_of(about: Told) -> list[str]:
    """Return the plots as SVG elements, one for each pair of axes."""
    rows = about.comparison.results
    return [
        picture.svg(
            figure,
            charts.with_both(rows, across, up),
            f"{about.title}: {_axis(up)} against {_axis(across)}",
            f"{about.provenance}.",
        )
        for figure, (across, up) in zip(about.figures, about.plots, strict=True)
    ]


def figures(about: Told) -> str:
    """Return what plotly draws, as JSON: data and layout of each pair of axes."""
    # The colours of the theme are the script's to choose, so plotly's own would only take room.
    drawn = [
        json.loads(figure.update_layout(template=None).to_json(), parse_float=_rounded)
        for figure in about.figures
    ]
    return json.dumps(drawn, separators=(",", ":"))


def _rounded(digits: str) -> float:
    """Return a number as exactly as a screen shows it, in half the characters."""
    return float(f"{float(digits):.6g}")


def _axis(name: str) -> str:
    return axes.AXES[name].title.lower()
