"""What the command line writes: each form where it was asked for, and budgets as people type."""

import pytest

from quantcore import report
from quantcore.cli import arguments, outputs
from quantcore.decide import Budgets
from quantcore.errors import RequestError
from quantcore.settings import Settings
from tests.support import fixtures


def test_every_form_is_written(tmp_path, capsys):
    source = fixtures.typical()
    names = ("json", "csv", "html", "markdown", "svg")
    files = outputs.Files(**{name: str(tmp_path / name) for name in names})
    files.require_folders()
    files.write(source, Budgets(latency_ms=4), "Spring")
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in names}
    assert texts["json"] == report.to_json(source)
    assert texts["csv"] == report.to_csv(source)
    assert texts["html"] == report.to_html(source, Budgets(latency_ms=4), name="Spring")
    assert texts["markdown"] == report.to_summary(source, Budgets(latency_ms=4), name="Spring")
    assert texts["svg"] == report.to_svg(source, Budgets(latency_ms=4), name="Spring")
    assert capsys.readouterr().out.startswith("Ship qat on onednn")


@pytest.mark.parametrize("form", ["json", "markdown"])
def test_standard_output_holds_only_what_was_asked_for(form, capsys):
    source = fixtures.one_variant()
    outputs.Files(**{form: "-"}).write(source, Budgets())
    wanted = {"json": report.to_json, "markdown": report.to_summary}[form](source)
    assert capsys.readouterr().out.rstrip("\n") == wanted.rstrip("\n")


def test_the_text_keeps_the_budgets(capsys):
    outputs.Files().write(fixtures.typical(), Budgets(size_bytes=2.5e6))
    assert capsys.readouterr().out.startswith("Ship")
    outputs.Files().write(fixtures.typical(), Budgets(size_bytes=1e6))
    assert capsys.readouterr().out.startswith("Nothing keeps these budgets")


@pytest.mark.parametrize("form", ["json", "html", "svg"])
def test_a_folder_that_is_not_there_is_refused_before_anything_is_measured(form, tmp_path):
    with pytest.raises(RequestError, match="its folder is not there"):
        outputs.Files(**{form: str(tmp_path / "none" / "file")}).require_folders()


@pytest.mark.parametrize("forms", [{"json": "."}, {"json": "-", "csv": "-"}], ids=str)
def test_what_could_not_be_written_is_refused_before_anything_is_measured(forms):
    with pytest.raises(RequestError):
        outputs.Files(**forms).require_folders()


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(RequestError, match="cannot be written"):
        outputs.Files(html=str(tmp_path)).write(fixtures.one_variant(), Budgets())


def test_budgets_are_read_in_the_units_people_use():
    texts = ["size=5", "latency=2.5", "accuracy=-0.5", "memory = 40"]
    assert outputs.budgets(texts, Settings.from_env()) == Budgets(5e6, 2.5, -0.5, 4e7)
    assert outputs.budgets([], Settings.from_env()) == Budgets()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sise=5", "Did you mean 'size'"),
        ("size", "is not a budget"),
        ("size=5MB", "is not a budget"),
        ("latency=nan", "is not a budget"),
        ("latency=-1", "cannot be met"),
    ],
)
def test_what_is_no_budget_is_refused_in_a_sentence(text, said):
    with pytest.raises(RequestError, match=said):
        outputs.budgets([text], Settings.from_env())


def test_a_budget_given_twice_is_refused():
    with pytest.raises(RequestError, match="two budgets"):
        outputs.budgets(["size=5", "size=6"], Settings.from_env())


def test_settings_that_would_change_nothing_are_refused():
    with pytest.raises(RequestError, match="given twice"):
        arguments.workflow_settings(["qat.steps=abc"], {"qat.steps": 2})
    with pytest.raises(RequestError, match="change nothing"):
        arguments.settings_of_one(["static.observer=zzz"], "dynamic")
    with pytest.raises(RequestError, match="names nothing"):
        arguments.names(",,", "--workflows")


@pytest.mark.parametrize("name", fixtures.SAID)
def test_the_text_says_what_the_verdict_does_not_know(name, capsys):
    outputs.Files().write(fixtures.NAMED[name](), outputs.budgets([], Settings.from_env()))
    text = " ".join(capsys.readouterr().out.split()).casefold()
    for sentence in fixtures.SAID[name]:
        assert sentence.casefold() in text


@pytest.mark.parametrize("form", [None, "markdown", "html"])
def test_settings_say_what_is_too_little_to_count(form, capsys, monkeypatch):
    source = fixtures.little()
    files = outputs.Files(**{form: "-"} if form else {})
    files.write(source, outputs.budgets([], Settings.from_env()))
    usual = " ".join(capsys.readouterr().out.split())
    assert "Ship" in usual
    assert "Differences below 2 % in size and time and 0.1 points of accuracy" in usual
    monkeypatch.setenv("QUANTCORE_SMALLEST_PERCENT", "25")
    monkeypatch.setenv("QUANTCORE_SMALLEST_POINTS", "0.5")
    files.write(source, outputs.budgets([], Settings.from_env()))
    coarse = " ".join(capsys.readouterr().out.split())
    assert "Keep float32" in coarse
    assert "Differences below 25 % in size and time and 0.5 points of accuracy" in coarse
