"""The plot's markers stand where the figures are, with their intervals and areas."""

from dataclasses import replace

import pytest

from quantcore.results import VariantResult
from tests import canned
from ui import axes, charts, theme


def markers(rows: tuple[VariantResult, ...], across: str = "latency", up: str = "accuracy") -> dict:
    """Return what each marker of the plot shows, by the variant its text names."""
    found = {}
    for trace in charts.plot(rows, across, up).data:
        for place, text in enumerate(trace.text):
            found[text.split("</b>")[0].removeprefix("<b>")] = {
                "x": trace.x[place],
                "y": trace.y[place],
                "size": trace.marker.size[place],
                "color": trace.marker.color,
                "low": trace.error_y.arrayminus and trace.error_y.arrayminus[place],
                "high": trace.error_y.array and trace.error_y.array[place],
                "faster": trace.error_x.arrayminus and trace.error_x.arrayminus[place],
            }
    return found


def test_every_result_stands_at_its_figures() -> None:
    rows = canned.typical().results
    found = markers(rows)
    assert len(found) == len(rows)
    static = next(r for r in rows if (r.workflow, r.backend) == ("static", "x86"))
    assert found["Static on x86"]["x"] == pytest.approx(static.latency_ms.p50)
    assert found["Static on x86"]["y"] == pytest.approx(100 * static.accuracy.top1)
    assert found["Static on x86"]["color"] == theme.WORKFLOW_COLORS["static"]


def test_bars_are_the_intervals() -> None:
    row = canned.result(ratio=2.0, spread=0.1)
    bar = markers((canned.float32(), row))["Static on x86"]
    assert bar["low"] == pytest.approx(100 * (row.accuracy.top1 - row.accuracy.low))
    assert bar["high"] == pytest.approx(100 * (row.accuracy.high - row.accuracy.top1))
    assert bar["faster"] == pytest.approx(row.latency_ms.p50 * (1 - 1 / 1.1))


def test_area_follows_file_size() -> None:
    half = canned.result(size_bytes=canned.FLOAT_BYTES // 2)
    found = markers((canned.float32(), half))
    areas = [found[name]["size"] ** 2 for name in ("Float32", "Static on x86")]
    assert areas[0] / areas[1] == pytest.approx(2.0, rel=1e-3)


def test_a_result_without_the_figure_is_left_out() -> None:
    known = canned.result()
    unknown = replace(canned.result("qat", "x86"), accuracy=None)
    assert set(markers((known, unknown))) == {"Static on x86"}


def test_float32_is_drawn_last() -> None:
    assert charts.plot(canned.typical().results, "latency", "accuracy").data[-1].name == "Float32"


def test_beaten_variants_are_muted() -> None:
    rows = canned.perfect().results
    figure = charts.plot(rows, "latency", "accuracy", front=[rows[1].key])
    opacity = {trace.name: trace.marker.opacity[0] for trace in figure.data}
    assert opacity["Static"] == opacity["Float32"] == charts.OPACITY
    assert opacity["QAT"] == opacity["Dynamic"] == charts.BEATEN_OPACITY


@pytest.mark.parametrize(
    ("name", "asked", "drawn"),
    [
        ("typical", "accuracy", "accuracy"),
        ("unlabelled", "accuracy", "agreement"),
        ("random_weights", "accuracy", "size"),
        ("random_weights", "memory", "memory"),
    ],
)
def test_a_figure_nobody_has_is_replaced(name: str, asked: str, drawn: str) -> None:
    instead, note = axes.drawable(asked, canned.NAMED[name]().results)
    assert instead == drawn
    assert bool(note) == (asked != drawn)


def test_the_description_names_every_variant_with_both_figures() -> None:
    text = charts.describe(canned.one_variant().results, "size", "accuracy")
    assert text == (
        "2 variants: file size across, accuracy up. "
        "Float32: file size 9.16 MB, accuracy 93.3 %. "
        "Static on x86: file size 2.69 MB, accuracy 93.0 %."
    )


def _luminance(color: str) -> float:
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("background", ["#ffffff", "#10151b"])
def test_marker_colours_stand_out_on_both_themes(background: str) -> None:
    for color in theme.WORKFLOW_COLORS.values():
        dark, light = sorted((_luminance(color), _luminance(background)))
        assert (light + 0.05) / (dark + 0.05) >= 3.0
