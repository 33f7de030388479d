"""What people type for a name in a registry."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from quantcore.backends import BACKENDS, runtime
from quantcore.engine import plan
from quantcore.errors import RequestError
from quantcore.exports import exports
from quantcore.formats import FORMATS
from quantcore.jobs import sweep
from quantcore.schema import ModelSpec, Variant, canonical, picked
from quantcore.workflows import WORKFLOWS, workflow

MODEL = ModelSpec("bundled/mobilenet_v2")
SWEEP = """
models = "bundled/mobilenet_v2"
workflows = "{}"
backends = "{}"
[{}]
observer = "minmax"
"""
REGISTRIES: dict[str, Mapping[str, Any]] = {
    "workflow": WORKFLOWS,
    "backend": BACKENDS,
    "format": FORMATS,
}


@pytest.mark.parametrize("noun", REGISTRIES)
def test_every_name_and_alias_means_one_entry(noun: str) -> None:
    kinds = REGISTRIES[noun]
    for key, kind in kinds.items():
        for name in (key, key.upper(), *kind.aliases):
            assert canonical(kinds, name, noun) == key
            assert picked(kinds, f" {name} ", noun) is kind
    counts = Counter(name for key, kind in kinds.items() for name in {key, *kind.aliases})
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_is_known_by_its_suffix(format: str) -> None:
    suffix = FORMATS[format].suffix
    for typed in (suffix, suffix.upper(), suffix.removeprefix(".")):
        assert exports.planned(MODEL, Variant("float32", None), typed).format == format


def test_words_may_be_parted_in_every_way() -> None:
    for typed in (
        "Quantization-Aware Training",
        "quantization_aware-training",
        "quantization aware  training",
    ):
        assert canonical(WORKFLOWS, typed, "workflow") == "qat"


def test_what_is_asked_by_an_alias_is_the_same_question() -> None:
    settings = {"ptq": {"observer": "minmax"}}
    request = plan(MODEL, ["PTQ"], ["ORT"], settings)
    assert request == plan(MODEL, ["static"], ["onnxruntime"], {"static": {"observer": "minmax"}})
    spec = exports.planned(MODEL, Variant("PTQ", "X86"), ".PTL")
    assert spec == exports.planned(MODEL, Variant("static", "x86"), "mobile")
    aliases, names = ("PTQ", "ort", "ptq"), ("static", "onnxruntime", "static")
    asked = [sweep.read_sweep(SWEEP.format(*each), 1, None) for each in (aliases, names)]
    assert asked[0] == asked[1]
    assert asked[0].requests() == asked[1].requests()


@pytest.mark.parametrize("noun", REGISTRIES)
def test_an_unknown_name_is_refused_with_those_there_are(noun: str) -> None:
    kinds = REGISTRIES[noun]
    with pytest.raises(RequestError, match=f"There is no {noun} 'nothing'") as refused:
        canonical(kinds, "nothing", noun)
    assert all(name in refused.value.remedy for name in kinds)


@pytest.mark.parametrize("name", list(WORKFLOWS))
@pytest.mark.parametrize("number", [float("nan"), float("inf"), "nan", "-1e999"])
def test_no_setting_is_a_number_without_an_end(name: str, number: float | str) -> None:
    for each in fields(WORKFLOWS[name]):
        if not isinstance(getattr(WORKFLOWS[name](), each.name), float):
            continue
        with pytest.raises(RequestError) as caught:
            workflow(name, {each.name: number})
        assert caught.value.remedy


def test_a_backend_is_found_by_its_alias() -> None:
    assert runtime("ORT").name == "onnxruntime"
