"""The colours of workflows: seen on both backgrounds, told apart by colour-blind readers."""

import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from quantcore.backends import BACKENDS
from quantcore.draw import marks, outlines
from quantcore.schema import FLOAT_WORKFLOW
from quantcore.workflows import WORKFLOWS

PROJECT = Path(__file__).parents[2]
SHAPE_CONTRAST = 3.0
# CIE 1976 units, of which 2.3 can just be noticed side by side.
APART = 12.0
# float32 has open marks, all others full ones.
FULL = [name for name in WORKFLOWS if name != FLOAT_WORKFLOW]
# Machado, Oliveira and Fernandes (2009): what protanopes, deuteranopes and tritanopes see, on
# linear RGB.
VIEWS = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = np.array([0.95047, 1.0, 1.08883])

Color = NDArray[np.float64]


def linear(color: str) -> Color:
    """Return a colour `#rrggbb` as linear RGB, `[3]`."""
    coded = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Return WCAG 2's contrast ratio."""
    low, high = sorted(float(TO_XYZ[1] @ linear(color)) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(color: Color) -> Color:
    """Return linear RGB in CIELAB, `[3]`."""
    ratio = TO_XYZ @ color / WHITE
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def seen(color: str, view: str) -> Color:
    return lab(np.clip(np.array(VIEWS[view]) @ linear(color), 0, 1))


def backgrounds() -> list[str]:
    themes = tomllib.loads((PROJECT / ".streamlit" / "config.toml").read_text())["theme"]
    return [themes[name]["backgroundColor"] for name in ("light", "dark")]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_workflow_can_be_seen_on_both_backgrounds(workflow: str) -> None:
    for background in backgrounds():
        assert contrast(marks.color(workflow), background) >= SHAPE_CONTRAST


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("pair", list(combinations(FULL, 2)), ids=" ".join)
def test_any_two_workflows_are_told_apart(pair: tuple[str, str], view: str) -> None:
    one, other = (seen(marks.color(name), view) for name in pair)
    assert float(np.linalg.norm(one - other)) >= APART


@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_every_backend_has_a_mark_in_page_and_drawing(backend: str | None) -> None:
    shape = marks.symbol(backend)
    assert outlines.outline(shape, 0, 0, 1)
    # The box that a glyph is by itself is a circle.
    assert shape == "circle" or f".qw-{shape} " in marks.STYLE.read_text()


def test_no_two_backends_share_a_mark() -> None:
    shapes = [marks.symbol(name) for name in BACKENDS]
    assert len(set(shapes)) == len(shapes)
