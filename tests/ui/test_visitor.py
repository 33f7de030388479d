"""Whose a comparison is: what others may do with it, and never with an upload."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from quantcore.schema import CompareRequest, ImageSpec, JobView, ModelSpec
from tests.pages.fakes import view
from tests.support import fixtures
from ui.common import state, visitor

TOKEN = "upload/" + "a" * 32
PUBLIC = CompareRequest(ModelSpec("bundled/mobilenet_v2"), ())
UPLOADED_IMAGES = replace(PUBLIC, images=ImageSpec(TOKEN))
UPLOADED_MODEL = replace(PUBLIC, model=ModelSpec(TOKEN))


def job(*requests: CompareRequest) -> JobView:
    comparison = replace(fixtures.comparison([]), request=requests[0], also=requests[1:])
    return replace(view(comparison), owner="theirs")


@pytest.mark.parametrize(
    ("shared", "requests", "may"),
    [
        ("open", [PUBLIC], True),
        ("read-only", [PUBLIC], False),
        ("open", [UPLOADED_MODEL], False),
        ("open", [PUBLIC, UPLOADED_IMAGES], False),
    ],
)
def test_a_comparison_of_an_upload_is_its_owners_to_change(
    monkeypatch: pytest.MonkeyPatch, shared: str, requests: list[CompareRequest], may: bool
) -> None:
    monkeypatch.setattr(state, "settings", lambda: SimpleNamespace(shared_jobs=shared))
    monkeypatch.setattr(visitor, "current", lambda: visitor.Visitor("mine"))
    assert visitor.may_change(job(*requests)) is may
    assert visitor.may_change(replace(job(*requests), owner="mine"))
