import csv
import io
import re
from dataclasses import replace

import pytest

from quantcore import report
from quantcore.results import Comparison
from tests import canned


def _lines(source):
    return list(csv.DictReader(io.StringIO(report.to_csv(source))))


def _row(source, label):
    return next(row for row in report.summary_rows(source) if row.label == label)


@pytest.mark.parametrize("name", canned.NAMED)
def test_every_cell_is_in_every_form(name):
    source = canned.NAMED[name]()
    asked = len(source.request.variants)
    assert len(_lines(source)) == len(report.summary_rows(source)) == asked
    for form in (report.to_text(source, 200), report.to_markdown(source).replace("\\", "")):
        assert all(failure.remedy in form for failure in source.failures)
    table = [line for line in report.to_markdown(source).splitlines() if line.startswith("| ")]
    assert len(table) == (len(source.results) + 2 if source.results else 0)


def test_csv_holds_the_measured_figures():
    source = canned.typical()
    for line, row in zip(_lines(source), source.results, strict=False):
        assert line["outcome"] == "measured"
        assert int(line["size_bytes"]) == row.artifact.size_bytes
        assert float(line["latency_p50_ms"]) == row.latency_ms.p50
        assert float(line["top1_share"]) == row.accuracy.top1
        lost = 100 * (source.results[0].accuracy.top1 - row.accuracy.top1)
        assert float(line["accuracy_lost_points"]) == pytest.approx(lost)
        assert line["reason"] == ""


def test_csv_tells_the_impossible_from_the_failed():
    lines = _lines(canned.typical())[-3:]
    assert [line["outcome"] for line in lines] == ["not possible", "not possible", "failed"]
    assert lines[2]["reason"].startswith("The worker ended in the middle of QAT")
    assert lines[2]["size_bytes"] == ""


def test_csv_has_one_header_whatever_it_holds():
    headers = {report.to_csv(build()).splitlines()[0] for build in canned.NAMED.values()}
    assert len(headers) == 1


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_text_never_starts_a_formula(start):
    hostile = f'{start}HYPERLINK("http://example.org"), "1"\nnext'
    row = replace(canned.result(), notes=(hostile,), model=hostile)
    failure = replace(canned.failure(), reason=hostile)
    lines = _lines(canned.comparison([row], [failure]))
    assert lines[0]["notes"] == lines[0]["model"] == lines[1]["reason"] == f"'{hostile}"


def test_csv_keeps_negative_numbers_numbers():
    better = canned.comparison([canned.float32(0.90), canned.result(top1=0.92)])
    assert float(_lines(better)[1]["accuracy_lost_points"]) == pytest.approx(-2.0)


def test_json_is_the_public_format():
    source = canned.typical()
    assert Comparison.from_json(report.to_json(source)) == source


def test_summary_has_units_and_equal_decimals():
    row = _row(canned.typical(), "static on x86")
    assert (row.size, row.latency, row.top1) == ("2.69 MB", "2.71 ms", "93.0 % (91.7-94.0)")
    assert (row.against_float, row.int8_share) == ("-0.4 points", "98 %")
    assert re.fullmatch(r"2\.6× \(2\.5-2\.7\)", row.speedup)
    assert (row.agreement, row.sqnr, row.memory) == ("98.4 %", "22.4 dB", "21 MB")
    assert row.conversion == "3.2 s"
    assert row.settings == "calibration images 256, observer histogram, per channel default"


def test_summary_of_float32_is_the_reference():
    row = _row(canned.typical(), "float32")
    assert (row.backend, row.speedup, row.against_float) == ("–", "1.0×", "–")


def test_summary_shows_unknown_figures_as_a_dash():
    row = _row(canned.random_weights(), "static on x86")
    assert {row.top1, row.against_float, row.agreement, row.sqnr} == {"–"}


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    row = canned.result(top1=0.9335, images=100_000)
    source = canned.comparison([canned.float32(0.93352), row])
    assert _row(source, "static on x86").against_float == "+0.0 points"


def test_summary_notes_what_was_disturbed():
    row = replace(canned.result(spread=0.2), machine_busy=True, notes=("A note.",))
    notes = _row(canned.comparison([row]), "static on x86").notes
    assert notes == ("A note. The speed-up did not settle in the time given. The machine was busy.")


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("name", canned.NAMED)
def test_text_fits_the_terminal(name, width):
    text = report.to_text(canned.NAMED[name](), width)
    assert max(map(len, text.splitlines())) <= max(width, 76)


def test_text_opens_with_the_verdict_and_closes_with_the_method():
    text = report.to_text(canned.one_variant())
    assert text.startswith("Ship static on x86: 3.4× smaller (2.7 MB), 2.6× faster (2.7 ms)")
    assert " ".join(text.split()).endswith(
        "Measured 24 Nov 2026 on AMD EPYC 9B45 with VNNI, 2 cores, torch 2.13.0, "
        "1 thread, batch 1, 64 px, 2,000 pictures."
    )
    assert "static    x86      2.69 MB  2.73 ms  2.6× (2.5-2.7)  93.0 % (91.8-94.0)" in text


def test_text_tells_namesakes_apart():
    rows = [canned.result(observer=observer) for observer in ("min-max", "histogram")]
    text = report.to_text(canned.comparison([canned.float32(), *rows]))
    assert "static (observer min-max)" in text
    assert "static (observer histogram)" in text


def test_markdown_is_not_broken_by_what_it_quotes():
    row = replace(canned.result(), notes=())
    failure = replace(canned.failure(), reason="a | b\n| c <script> [x](y) `z`", remedy="")
    text = report.to_markdown(canned.comparison([canned.float32(), row], [failure]))
    assert r"a \| b \| c \<script\> \[x\](y) \`z\`" in text
    assert "**Ship static on x86**: 3.4× smaller" in text
