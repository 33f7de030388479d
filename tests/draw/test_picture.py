"""The picture of the plot, made without a browser, is what the plot is."""

import re
from xml.etree import ElementTree

import pytest

from quantcore import report
from quantcore.decide import Budgets
from quantcore.draw import charts, marks, picture
from tests.support import fixtures

SVG = "{http://www.w3.org/2000/svg}"


def drawn(name, budgets=None):
    return ElementTree.fromstring(report.to_svg(fixtures.NAMED[name](), budgets))


def markers(root):
    return [shape for shape in root if shape.find(f"{SVG}title") is not None]


@pytest.mark.parametrize("name", [name for name in fixtures.NAMED if name != "all_failed"])
def test_every_variant_has_a_marker_within_the_picture(name):
    root = drawn(name)
    assert len(markers(root)) == len(fixtures.NAMED[name]().results)
    for marker in markers(root):
        x, y = map(float, re.findall(r"-?[\d.]+", marker.get("d"))[:2])
        assert 0 <= x <= picture.WIDTH_PX
        assert 0 <= y <= picture.HEIGHT_PX


def test_nothing_measured_is_no_picture():
    assert report.to_svg(fixtures.all_failed()) == ""


def test_a_marker_stands_where_its_figures_are():
    rows = fixtures.one_variant().results
    figure = charts.plot(rows, "latency", "accuracy")
    root = ElementTree.fromstring(picture.svg(figure, rows))
    reference = next(shape for shape in markers(root) if "fill:none" in shape.get("style"))
    # The dotted lines of float32 cross in the middle of its circle, whose outline starts left.
    left, middle, radius = re.findall(r"[\d.]+", reference.get("d"))[:3]
    dotted = [shape.get("d") for shape in root if "1.5 3" in (shape.get("style") or "")]
    across, up = (re.findall(r"[\d.]+", line) for line in dotted)
    assert float(left) + float(radius) == pytest.approx(float(across[0]), abs=0.1)
    assert middle == up[1]


def test_each_float32_has_the_open_mark_of_its_backend():
    root = ElementTree.fromstring(report.to_svg(fixtures.comparison(fixtures.floats())))
    outlines = {m.get("d") for m in markers(root) if "fill:none" in m.get("style")}
    letters = {re.sub(r"[^A-Z]", "", each) for each in outlines}
    symbols = {marks.symbol(row.backend) for row in fixtures.floats()}
    assert len(letters) == len(symbols) == len(fixtures.floats())


def test_a_scale_has_round_ticks_within_its_range():
    scale = picture.Scale(0, 7.1, 0, 710)
    assert [text for _, text in scale.ticks()] == ["0", "2", "4", "6"]
    assert [scale.at(value) for value, _ in scale.ticks()] == pytest.approx([0, 200, 400, 600])
    narrow = picture.Scale(92.31, 92.39, 0, 100)
    assert [text for _, text in narrow.ticks()] == ["92.32", "92.34", "92.36", "92.38"]


def test_a_budget_is_a_line_with_its_number():
    texts = [text.text for text in drawn("typical", Budgets(latency_ms=4)).iter(f"{SVG}text")]
    assert "latency budget 4 ms" in texts
    beyond = [text.text for text in drawn("typical", Budgets(latency_ms=99)).iter(f"{SVG}text")]
    assert not any("latency budget" in (text or "") for text in beyond)


def test_a_file_of_its_own_has_colours_of_its_own():
    text = report.to_svg(fixtures.typical())
    assert "var(" not in text
    drawn = {row.workflow for row in fixtures.typical().results}
    assert all(marks.color(name) in text for name in drawn)


def test_it_has_a_legend_and_says_what_it_is_true_of():
    texts = [text.text for text in drawn("typical").iter(f"{SVG}text")]
    for expected in ("Ready-quantized", "QNNPACK", "Area: file size", "float32"):
        assert expected in texts
    assert "Measured 24 Nov 2026 on AMD EPYC 9B45 with VNNI, 2 cores, torch 2.13.0." in texts


def test_hostile_names_stay_text():
    row = fixtures.result(observer="</title><script>x</script>")
    source = fixtures.comparison([fixtures.float32(), row, fixtures.result(observer="minmax")])
    root = ElementTree.fromstring(report.to_svg(source, name="<script>"))
    assert not list(root.iter(f"{SVG}script"))
    assert any("<script>" in (text.text or "") for text in root.iter(f"{SVG}title"))
