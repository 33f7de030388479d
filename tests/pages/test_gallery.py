"""Where a variant and float32 part ways, driven without a browser."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from quantcore.cache import Store
from quantcore.engine import cell_key, metrics, plan, store_logits
from quantcore.images import load_labels
from quantcore.models import find
from quantcore.schema import Comparison, ImageSpec, ModelSpec, Rows, VariantResult
from quantcore.settings import Settings
from tests.pages.fakes import FakeComparisons, view
from tests.pages.helpers import Open
from tests.support import fixtures, report_fixtures
from ui.common import state
from ui.common.state import Shown
from ui.gallery import gallery

PAGE = "pages/Gallery.py"
IMAGES = 40
MODEL = ModelSpec(fixtures.MODEL)
# Pictures on which the variant names another class; on the first three it alone is wrong.
DIFFER = (2, 5, 7, 11)


def logits(named: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "np.ndarray":
    made = np.full((len(named), 10), -2.0, dtype=np.float32)
    made[np.arange(len(named)), named] = 3.0
    return made


@pytest.fixture
def answered(settings: Settings) -> tuple[Store, Comparison]:
    """A comparison of float32 and one variant whose answers are kept."""
    store = Store.open(settings)
    labels = load_labels(ImageSpec(), find(MODEL))
    assert labels is not None
    before = labels[:IMAGES].copy()
    before[11] = (labels[11] + 1) % 10
    after = before.copy()
    after[list(DIFFER[:3])] = (after[list(DIFFER[:3])] + 1) % 10
    after[11] = labels[11]
    request = plan(MODEL, ["static"], ["x86"], images=ImageSpec(evaluation_images=IMAGES))
    rows = []
    for row, named in ((fixtures.float32(), before), (fixtures.result("static", "x86"), after)):
        accuracy = metrics.accuracy(named, labels[:IMAGES])
        kept = store_logits(store, logits(named))
        rows.append(replace(row, accuracy=accuracy, fidelity_images=IMAGES, predictions=kept))
    return store, replace(fixtures.comparison(rows), request=request)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, answered: tuple[Store, Comparison]) -> FakeComparisons:
    store, comparison = answered
    fake = FakeComparisons(mine=view(comparison))
    fake.store = store  # type: ignore[attr-defined]
    monkeypatch.setattr(state, "service", lambda: fake)
    monkeypatch.setattr(state, "shipped", lambda: None)
    return fake


@pytest.fixture
def open_page(open_page: Open) -> Open:
    return partial(open_page, job="mine")


def shown(page: AppTest) -> str:
    assert not page.exception
    texts = [element.proto.body for element in page.html]
    return "\n".join([*texts, *(each.value for each in (*page.markdown, *page.caption))])


def variant(fake: FakeComparisons) -> VariantResult:
    return fake.views["mine"].comparison.results[1]


def change(fake: FakeComparisons, **changes: object) -> None:
    found = fake.views["mine"]
    rows = [replace(row, **changes) for row in found.comparison.results]  # type: ignore[arg-type]
    comparison = replace(found.comparison, results=tuple(rows))
    fake.views["mine"] = replace(found, comparison=comparison)


def test_it_counts_shows_and_explains_the_pictures(open_page: Open) -> None:
    page = open_page()
    said = shown(page)
    assert "They differ on **4 of 40 images** (10.0 %)." in said
    assert "On 3 only float32 is right, on 1 only Static on x86, on 0 neither" in said
    assert said.count("<li><img") == 4
    assert said.index("float32 is right") < said.index("the variant is right")
    assert "What each class gains or loses" in [each.value for each in page.subheader]
    assert page.query_params["variant"]


def test_it_narrows_to_who_is_right_and_to_a_class(open_page: Open) -> None:
    page = open_page(kind="variant")
    assert shown(page).count("<li><img") == 1
    label = load_labels(ImageSpec(), find(MODEL))[2]  # type: ignore[index]
    page = open_page(**{"class": str(label)})
    assert 1 <= shown(page).count("<li><img") < 4


@pytest.mark.parametrize("text", ["x", "-1", "99", "9" * 5_000])
def test_a_class_that_there_is_not_shows_all(open_page: Open, text: str) -> None:
    assert shown(open_page(**{"class": text})).count("<li><img") == 4


def test_answers_that_are_not_kept_are_said(open_page: Open, fake: FakeComparisons) -> None:
    change(fake, predictions="ab" * 32)
    page = open_page()
    assert "not kept here" in page.info[0].value
    assert [button.label for button in page.button] == ["Measure here"]


def test_answers_of_other_pictures_are_not_mixed(open_page: Open, fake: FakeComparisons) -> None:
    change(fake, fidelity_images=IMAGES - 1)
    assert "not kept here" in open_page().info[0].value


def test_a_folder_that_holds_other_pictures_by_now_is_told(
    fake: FakeComparisons, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures" / "cat"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(report_fixtures.picture())
    found = fake.views["mine"]
    images = ImageSpec(str(tmp_path / "pictures"), IMAGES)
    request = replace(found.comparison.request, images=images)
    environment = found.comparison.environment
    key = cell_key(request, request.variants[1], environment)
    row = replace(variant(fake), key=key, settings={})
    comparison = replace(
        found.comparison, request=request, results=(found.comparison.results[0], row)
    )
    seen = Shown(comparison, Rows(comparison.results), (), "current")
    assert gallery.are_the_same(seen, row)
    (folder / "more.png").write_bytes(report_fixtures.picture())
    assert not gallery.are_the_same(seen, row)


def test_without_any_comparison_it_leads_to_one(open_page: Open, fake: FakeComparisons) -> None:
    fake.views.clear()
    assert "Nothing to compare yet" in shown(open_page())
