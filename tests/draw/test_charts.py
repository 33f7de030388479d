"""The plot's markers stand where the figures are, with their intervals and areas."""

from dataclasses import replace

import pytest

from quantcore.backends import BACKENDS
from quantcore.decide import Budgets, recommend, weigh
from quantcore.draw import axes, charts, lists, marks
from quantcore.schema import VariantResult
from quantcore.workflows import WORKFLOWS
from tests.support import fixtures

WORKFLOW_COLORS = [kind.color for kind in WORKFLOWS.values()]


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
    rows = fixtures.typical().results
    found = markers(rows)
    assert len(found) == len(rows)
    static = next(r for r in rows if (r.workflow, r.backend) == ("static", "x86"))
    assert found["Static on x86"]["x"] == pytest.approx(static.latency_ms.p50)
    assert found["Static on x86"]["y"] == pytest.approx(100 * static.accuracy.top1)
    assert found["Static on x86"]["color"] == marks.color("static")


def test_bars_are_the_intervals() -> None:
    row = fixtures.result(ratio=2.0, spread=0.1)
    bar = markers((fixtures.float32(), row))["Static on x86"]
    assert bar["low"] == pytest.approx(100 * (row.accuracy.top1 - row.accuracy.low))
    assert bar["high"] == pytest.approx(100 * (row.accuracy.high - row.accuracy.top1))
    assert bar["faster"] == pytest.approx(row.latency_ms.p50 * (1 - 1 / 1.1))


def test_area_follows_file_size() -> None:
    half = fixtures.result(size_bytes=fixtures.FLOAT_BYTES // 2)
    found = markers((fixtures.float32(), half))
    areas = [found[name]["size"] ** 2 for name in ("Float32", "Static on x86")]
    assert areas[0] / areas[1] == pytest.approx(2.0, rel=1e-3)


def test_a_result_without_the_figure_is_left_out() -> None:
    known = fixtures.result()
    unknown = replace(fixtures.result("qat", "x86"), accuracy=None)
    assert set(markers((known, unknown))) == {"Static on x86"}


def test_float32_has_the_open_mark_and_the_colour_that_tables_show() -> None:
    rows = fixtures.floats()
    (trace,) = charts.plot(rows, "latency", "accuracy").data
    assert set(trace.marker.symbol) == {f"{marks.symbol(row.backend)}-open" for row in rows}
    assert len(set(trace.marker.symbol)) == len(rows) > 1
    assert trace.marker.color == WORKFLOWS["float32"].color
    assert all(f"qw-{marks.symbol(row.backend)}" in marks.glyph("", row.backend) for row in rows)


def test_float32_is_drawn_last() -> None:
    assert charts.plot(fixtures.typical().results, "latency", "accuracy").data[-1].name == "Float32"


def test_beaten_variants_are_muted() -> None:
    rows = fixtures.perfect().results
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
    instead, note = axes.drawable(asked, fixtures.NAMED[name]().results)
    assert instead == drawn
    assert bool(note) == (asked != drawn)


def test_the_description_names_every_variant_with_both_figures() -> None:
    text = charts.describe(fixtures.one_variant().results, "size", "accuracy")
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
    for color in WORKFLOW_COLORS:
        dark, light = sorted((_luminance(color), _luminance(background)))
        assert (light + 0.05) / (dark + 0.05) >= 3.0


def test_several_models_are_distinguished_at_their_markers() -> None:
    found = markers_of_many(fixtures.two_models().results)
    assert set(found) == {
        "Float32 (MobileNet v2)",
        "Static on x86 (MobileNet v2)",
        "Dynamic on x86 (MobileNet v2)",
        "Float32 (Row LSTM)",
        "Dynamic on x86 (Row LSTM)",
    }


def markers_of_many(rows: tuple[VariantResult, ...]) -> set[str]:
    traces = charts.plot(rows, "latency", "accuracy").data
    texts = [text for trace in traces if trace.mode == "markers" for text in trace.text]
    return {text.split("</b>")[0].removeprefix("<b>") for text in texts}


def test_spokes_lead_from_each_float32_to_its_own_variants() -> None:
    rows = fixtures.two_models().results
    figure = charts.plot(rows, "latency", "size")
    spokes = figure.data[0]
    assert spokes.mode == "lines"
    ends = {(spokes.x[place], spokes.x[place + 1]) for place in range(0, len(spokes.x), 3)}
    own = {
        row.key: reference
        for row, reference in zip(rows, [rows[0]] * 3 + [rows[3]] * 2, strict=True)
    }
    assert ends == {(own[row.key].latency_ms.p50, row.latency_ms.p50) for row in rows}
    assert {note.text for note in figure.layout.annotations} == {"MobileNet v2", "Row LSTM"}
    assert not figure.layout.shapes


def test_one_float32_is_drawn_as_dotted_lines() -> None:
    figure = charts.plot(fixtures.one_variant().results, "latency", "size")
    assert len(figure.layout.shapes) == 2
    assert [note.text for note in figure.layout.annotations] == ["float32"]
    assert [trace.mode for trace in figure.data] == ["markers", "markers"]


def test_each_of_several_float32_is_named_and_explained() -> None:
    rows = fixtures.floats()
    names = [f"float32 on {BACKENDS[row.backend].title}" for row in rows if row.backend]
    texts = [note.text for note in charts.plot(rows, "latency", "accuracy").layout.annotations]
    assert sorted(texts) == sorted(["float32", *names])
    assert "torch&#39;s float32" in lists.legend(rows)


def test_many_float32_have_no_thicket_of_spokes() -> None:
    rows = [
        fixtures.on(row, image_size=size)
        for size in range(32, 32 + 16 * (charts.MAX_NAMED_FLOATS + 1), 16)
        for row in fixtures.one_variant().results
    ]
    figure = charts.plot(rows, "latency", "size")
    assert not figure.layout.annotations
    assert all(trace.mode == "markers" for trace in figure.data)


@pytest.mark.parametrize(
    "name", ["typical", "many", "all_ties", "random_weights", "two_models", "sweep"]
)
def test_budgets_change_a_drawn_plot_as_if_it_were_drawn_under_them(name: str) -> None:
    rows = fixtures.NAMED[name]().results
    budgets = Budgets(latency_ms=3.0, size_bytes=3e6)
    front = recommend(weigh(rows), budgets).front
    for across, up in (("latency", "size"), ("latency", "accuracy"), ("size", "memory")):
        before = charts.plot(rows, across, up)
        untouched = before.to_json()
        assert charts.limited(before, rows, across, up, front, budgets).to_plotly_json() == (
            charts.plot(rows, across, up, front, budgets).to_plotly_json()
        )
        assert before.to_json() == untouched
