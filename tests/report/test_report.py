import csv
import io
import re
from dataclasses import replace

import pytest

from quantcore import report
from quantcore.schema import Comparison
from tests.support import fixtures


def _lines(source):
    return list(csv.DictReader(io.StringIO(report.to_csv(source))))


def _row(source, label):
    return next(row for row in report.summary_rows(source) if row.label == label)


@pytest.mark.parametrize("name", fixtures.NAMED)
def test_every_cell_is_in_every_form(name):
    source = fixtures.NAMED[name]()
    asked = sum(len(request.variants) for request in (source.request, *source.also))
    assert len(_lines(source)) == len(report.summary_rows(source)) == asked - source.missing
    for form in (report.to_text(source, 200), report.to_markdown(source).replace("\\", "")):
        assert all(failure.remedy in form for failure in source.failures)
    table = [line for line in report.to_markdown(source).splitlines() if line.startswith("| ")]
    assert len(table) == (len(source.results) + 2 if source.results else 0)


def test_csv_holds_the_measured_figures():
    source = fixtures.typical()
    for line, row in zip(_lines(source), source.results, strict=False):
        assert line["outcome"] == "measured"
        assert int(line["size_bytes"]) == row.artifact.size_bytes
        assert float(line["latency_p50_ms"]) == row.latency_ms.p50
        assert float(line["top1_share"]) == row.accuracy.top1
        lost = 100 * (source.results[0].accuracy.top1 - row.accuracy.top1)
        assert float(line["accuracy_lost_points"]) == pytest.approx(lost)
        assert line["reason"] == ""


def test_csv_tells_the_impossible_from_the_failed():
    lines = _lines(fixtures.typical())[-3:]
    assert [line["outcome"] for line in lines] == ["not possible", "not possible", "failed"]
    assert lines[2]["reason"].startswith("The worker ended in the middle of QAT")
    assert lines[2]["size_bytes"] == ""


def test_csv_has_one_header_whatever_it_holds():
    headers = {report.to_csv(build()).splitlines()[0] for build in fixtures.NAMED.values()}
    assert len(headers) == 1


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_text_never_starts_a_formula(start):
    hostile = f'{start}HYPERLINK("http://example.org"), "1"\nnext'
    row = replace(fixtures.result(), notes=(hostile,), model=hostile)
    failure = replace(fixtures.failure(), reason=hostile)
    lines = _lines(fixtures.comparison([row], [failure]))
    assert lines[0]["notes"] == lines[0]["model"] == lines[1]["reason"] == f"'{hostile}"


def test_csv_keeps_negative_numbers_numbers():
    better = fixtures.comparison([fixtures.float32(0.90), fixtures.result(top1=0.92)])
    assert float(_lines(better)[1]["accuracy_lost_points"]) == pytest.approx(-2.0)


def test_json_is_the_public_format():
    source = fixtures.typical()
    assert Comparison.from_json(report.to_json(source)) == source


def test_summary_has_units():
    row = _row(fixtures.typical(), "static on x86")
    assert (row.size, row.latency, row.top1) == ("2.69 MB", "2.71 ms", "93.0 % (91.7-94.0)")
    assert (row.against_float, row.int8_share) == ("−0.4 points", "98 %")
    assert re.fullmatch(r"2\.6× \(2\.5-2\.7\)", row.speedup)
    assert (row.agreement, row.sqnr, row.memory) == ("98.4 %", "22.4 dB", "21.0 MB")
    assert row.conversion == "3.2 s"
    assert row.settings == "calibration images 256, observer histogram, per channel default"


def test_summary_of_float32_is_the_reference():
    row = _row(fixtures.typical(), "float32")
    assert (row.backend, row.speedup, row.against_float) == ("–", "1.0×", "–")


def test_summary_shows_unknown_figures_as_a_dash():
    row = _row(fixtures.random_weights(), "static on x86")
    assert {row.top1, row.against_float, row.agreement, row.sqnr} == {"–"}


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    row = fixtures.result(top1=0.9335, images=100_000)
    reference = replace(
        fixtures.float32(), accuracy=replace(row.accuracy, top1=0.93352), fidelity_images=100_000
    )
    source = fixtures.comparison([reference, row])
    assert _row(source, "static on x86").against_float == "0.0 points"


def test_summary_notes_what_was_disturbed():
    row = replace(fixtures.result(spread=0.2), machine_busy=True, notes=("A note.",))
    notes = _row(fixtures.comparison([row]), "static on x86").notes
    assert notes == ("A note. Its speed-up is known less well than ±10 %. The machine was busy.")


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("name", fixtures.NAMED)
def test_text_fits_the_terminal(name, width):
    text = report.to_text(fixtures.NAMED[name](), width)
    assert max(map(len, text.splitlines())) <= max(width, 76)


def test_text_opens_with_the_verdict_and_closes_with_the_method():
    text = report.to_text(fixtures.one_variant())
    assert text.startswith("Ship static on x86: 3.4× smaller (2.7 MB), 2.6× faster (2.7 ms)")
    assert " ".join(text.split()).endswith(
        "Measured 24 Nov 2026 on AMD EPYC 9B45 with VNNI, 2 cores, torch 2.13.0, "
        "1 thread, batch 1, 64 px, 2,000 pictures. "
        "Differences below 2 % in size and time and 0.1 points of accuracy do not count."
    )
    assert "static    x86      2.69 MB  2.73 ms  2.6× (2.5-2.7)  93.0 % (91.8-94.0)" in text


def _table(source, width=100):
    """Return the text's table as lines of words, cut where two spaces stand."""
    block = report.to_text(source, width).split("\n\n")[1]
    return [re.split(r"\s{2,}", line.strip()) for line in block.splitlines()]


def test_text_tells_namesakes_apart_by_a_column_for_what_varies():
    rows = [fixtures.result(observer=observer) for observer in ("minmax", "histogram")]
    table = _table(fixtures.comparison([fixtures.float32(), *rows]))
    assert table[0][:4] == ["workflow", "backend", "observer", "size"]
    assert [line[:3] for line in table[1:]] == [
        ["float32", "–", "–"],
        ["static", "x86", "minmax"],
        ["static", "x86", "histogram"],
    ]


def test_text_of_a_sweep_has_columns_for_what_varies_and_no_other():
    table = _table(fixtures.sweep(), width=200)
    assert table[0][:6] == ["model", "px", "workflow", "backend", "observer", "size"]
    assert table[6][:5] == ["mobilenet_v2", "96", "static", "x86", "histogram"]
    assert len(table) == 1 + len(fixtures.sweep().results)


def test_text_of_a_sweep_over_threads_and_batches():
    rows = [fixtures.float32(), fixtures.result()]
    source = fixtures.swept(
        fixtures.on(row, threads=threads, batch=batch)
        for threads in (1, 2)
        for batch in (1, 8)
        for row in rows
    )
    table = _table(source)
    assert table[0][:3] == ["threads", "batch", "workflow"]
    assert [line[:2] for line in table[1::2]] == [["1", "1"], ["1", "8"], ["2", "1"], ["2", "8"]]
    assert "1 or 2 threads, batch 1 or 8, 64 px" in report.method(source)


def test_models_are_named_without_what_all_share():
    rows = fixtures.random_weights().results
    more = [fixtures.on(row, "torchvision/resnet18@random") for row in rows]
    assert {line[0] for line in _table(fixtures.swept([*rows, *more]))[1:]} == {
        "mobilenet_v2",
        "resnet18",
    }


def test_a_long_setting_stands_in_lines_of_a_word_each():
    rows = [fixtures.result(calibration_images=count) for count in (64, 256)]
    table = _table(fixtures.comparison([fixtures.float32(), *rows]))
    assert table[0] == ["calibration"]
    assert "images" in table[1]
    assert [line[2] for line in table[2:]] == ["–", "64", "256"]


def test_each_row_of_a_sweep_is_held_against_its_own_float32():
    source = fixtures.two_models()
    small = report.summary_rows(source)[-1]
    assert small.label == "dynamic on x86 (bundled/row_lstm)"
    assert (small.against_float, small.surroundings) == ("−0.1 points", (("model", "row_lstm"),))
    lost = [float(line["accuracy_lost_points"]) for line in _lines(source)]
    assert lost == pytest.approx([0, 0.35, 0.35, 0, 0.1])


def test_without_its_own_float32_a_row_is_held_against_nothing():
    rows = [row for row in fixtures.two_models().results if row.workflow != "float32"]
    source = fixtures.swept([fixtures.two_models().results[0], *rows])
    assert report.summary_rows(source)[-1].against_float == "–"
    assert _lines(source)[-1]["accuracy_lost_points"] == ""


def test_cells_of_a_sweep_that_share_a_reason_are_named_together():
    text = " ".join(report.to_text(fixtures.sweep()).split())
    assert text.count("There is no ready-quantized checkpoint") == 1
    assert "pretrained on onednn (bundled/row_lstm, 64 px); 1 more: There is no" in text
    markdown = report.to_markdown(fixtures.sweep())
    assert markdown.count("pretrained on onednn (bundled") == 4
    assert markdown.startswith("## bundled/mobilenet\\_v2 and bundled/row\\_lstm quantized")


def test_what_is_noted_of_every_row_of_a_sweep_is_noted_once():
    rows = [replace(row, notes=("The weights are random.",)) for row in fixtures.sweep().results]
    text = report.to_text(fixtures.swept(rows))
    assert "All 16 variants: The weights are random." in text


def test_csv_says_under_which_conditions_a_cell_without_figures_was_asked_for():
    last = _lines(fixtures.sweep())[-1]
    assert (last["model"], last["image_size_px"], last["threads"], last["batch_images"]) == (
        fixtures.SMALL,
        "96",
        "1",
        "1",
    )


def test_json_of_a_sweep_is_the_public_format():
    source = fixtures.sweep()
    assert Comparison.from_json(report.to_json(source)) == source
    assert len(source.also) == 3


def test_markdown_is_not_broken_by_what_it_quotes():
    row = replace(fixtures.result(), notes=())
    failure = replace(fixtures.failure(), reason="a | b\n| c <script> [x](y) `z`", remedy="")
    text = report.to_markdown(fixtures.comparison([fixtures.float32(), row], [failure]))
    assert r"a \| b \| c \<script\> \[x\](y) \`z\`" in text
    assert "**Ship static on x86**: 3.4× smaller" in text
