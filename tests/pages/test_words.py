import pytest
from streamlit.testing.v1 import AppTest

from quantcore.backends import BACKENDS
from quantcore.draw import tables
from quantcore.formats import FORMATS
from quantcore.workflows import WORKFLOWS
from tests.pages.helpers import Open
from ui.common import glossary

PAGE = "pages/Words.py"
# What any page may say that a reader may not know.
USED = """
verdict; budget; Pareto front; tie; too close to call; agreement; top-1; points; calibration;
observer; per channel; QAT; fake quantization; backend; engine; VNNI; artifact; verification report;
operator; opset; bytecode; lite interpreter; QDQ; interval; median; peak memory; speed-up;
unsettled; quantization-aware training; variant; latency; SQNR; sweep; job; batch; kernel;
multiply-add; XNNPACK; plain loop
"""
# One or two sentences.
MAX_CHARACTERS = 220


def text(opened: AppTest) -> str:
    assert not opened.exception
    return "\n".join(block.proto.body for block in opened.html if "<dl" in block.proto.body)


def test_every_word_in_use_is_explained_once() -> None:
    words = [word for meanings in glossary.groups().values() for word in meanings]
    anchors = [glossary.anchor(word) for word in words]
    assert len(set(anchors)) == len(anchors)
    assert {word.strip().casefold() for word in USED.split(";")} <= {
        word.casefold() for word in words
    }


def test_meanings_are_short_and_whole_sentences() -> None:
    for meanings in glossary.groups().values():
        for word, meaning in meanings.items():
            assert meaning.endswith("."), word
            assert len(meaning) <= MAX_CHARACTERS, word


def test_what_registries_and_tooltips_say_is_what_the_glossary_says() -> None:
    known = {
        word: meaning
        for meanings in glossary.groups().values()
        for word, meaning in meanings.items()
    }
    for entry in (*WORKFLOWS.values(), *BACKENDS.values(), *FORMATS.values()):
        assert known[entry.title] == entry.summary
    for column in tables.COLUMNS:
        assert known[column.title] == column.help


def test_the_page_has_every_word_with_an_anchor(open_page: Open) -> None:
    drawn = text(open_page())
    for meanings in glossary.groups().values():
        for word in meanings:
            assert f'id="{glossary.anchor(word)}"' in drawn


@pytest.mark.parametrize(
    ("looked_for", "there", "gone"),
    [
        ("PARETO", "pareto-front", "opset"),
        ("8 bits speed", "vnni", "median"),
        ("per-channel", "per-channel", "median"),
        ("delegated", "xnnpack", "median"),
    ],
)
def test_words_are_found_by_name_and_meaning(
    looked_for: str, there: str, gone: str, open_page: Open
) -> None:
    opened = open_page()
    opened.text_input[0].set_value(looked_for).run()
    drawn = text(opened)
    assert f'id="{there}"' in drawn
    assert f'id="{gone}"' not in drawn
    assert opened.query_params["find"] == looked_for


def test_a_link_may_look_for_a_word(open_page: Open) -> None:
    assert 'id="tie"' in text(open_page(find="tie"))


def test_a_word_that_is_not_there_is_said_so(open_page: Open) -> None:
    opened = open_page(find="<b>nonsense</b>")
    assert text(opened) == ""
    assert "nonsense" in opened.info[0].value
