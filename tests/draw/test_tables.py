"""The tables: every row with its figures, held against its own float32 and distinguished."""

import re
from dataclasses import replace

from quantcore.draw import lists, tables, titles
from tests.support import fixtures


def rows(html: str) -> list[str]:
    """Return the text of the table's rows, headings of parts included."""
    found = re.findall(r"<tr[ >].*?</tr>|<tr>.*?</tr>", html, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found[1:]]


def test_one_float32_needs_no_heading() -> None:
    html = tables.results(fixtures.typical().results)
    assert "rowgroup" not in html
    assert len(rows(html)) == len(fixtures.typical().results)


def test_each_model_and_size_has_a_heading_and_its_own_reference() -> None:
    found = rows(tables.results(fixtures.sweep().results))
    headings = [place for place, row in enumerate(found) if row.endswith("px")]
    assert [found[place] for place in headings] == [
        "MobileNet v2, 64 px",
        "MobileNet v2, 96 px",
        "Row LSTM, 64 px",
        "Row LSTM, 96 px",
    ]
    for place in headings:
        assert found[place + 1].startswith("Float32 reference")
        assert found[place + 2].startswith("Static x86 (observer histogram)")
        assert "3.4× smaller" in found[place + 2]
        assert "−0.9 points" in found[place + 2]


def test_the_row_to_ship_is_marked_once() -> None:
    source = fixtures.sweep()
    html = tables.results(source.results, source.results[5].key)
    assert html.count("ship this") == 1


def test_all_figures_have_columns_for_what_varies() -> None:
    (first, second, *_) = tables.figures(fixtures.sweep().results)
    assert (first["Model"], first["Observer"]) == ("MobileNet v2", "–")
    assert (second["Variant"], second["Observer"]) == ("Static on x86", "histogram")
    assert "Model" not in tables.figures(fixtures.typical().results)[0]


def test_namesakes_of_two_sources_are_distinguished() -> None:
    names = ["bundled/mobilenet_v2", "torchvision/mobilenet_v2", "bundled/row_lstm"]
    assert list(titles.models(names).values()) == [
        "MobileNet v2 of bundled",
        "MobileNet v2 of torchvision",
        "Row LSTM",
    ]


def test_sentences_name_models_as_the_page_does() -> None:
    speak = titles.speaker(fixtures.two_models().results)
    said = speak("static on x86 (bundled/mobilenet_v2) beats dynamic on x86 (bundled/row_lstm).")
    assert said == "Static on x86 (MobileNet v2) beats Dynamic on x86 (Row LSTM)."


def test_what_cannot_be_is_said_once_for_all_sizes() -> None:
    html = lists.failures(fixtures.sweep().failures)
    assert html.count("<li") == 1
    assert re.findall(r"</i>(.*?)</b>", html) == [
        "Ready-quantized on oneDNN (MobileNet v2)",
        "Ready-quantized on oneDNN (Row LSTM)",
    ]


def test_a_cell_without_figures_is_distinguished_from_those_that_have_some() -> None:
    source = fixtures.sweep()
    (first, *_) = source.failures
    broken = replace(first, refused=False, reason="It crashed.")
    html = lists.failures([broken], source.results)
    assert re.findall(r"</i>(.*?)</b>", html) == ["Ready-quantized on oneDNN (MobileNet v2, 64 px)"]
    html = lists.failures([first], source.results)
    assert re.findall(r"</i>(.*?)</b>", html) == ["Ready-quantized on oneDNN (MobileNet v2)"]


def test_a_note_on_every_row_of_a_sweep_is_said_once() -> None:
    source = fixtures.swept(
        replace(row, notes=("Random weights.",)) for row in fixtures.sweep().results
    )
    assert lists.notes(source.results).count("Random weights.") == 1
    assert "Every variant" in lists.notes(source.results)


def test_the_legend_says_what_lines_are() -> None:
    assert "dotted lines run through the fastest" in lists.legend(fixtures.typical().results)
    assert "thin lines lead from each" in lists.legend(fixtures.two_models().results)
