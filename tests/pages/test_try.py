"""The page that asks one picture of every variant, in each of its states, without a browser."""

import io
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from quantcore.decide import decide
from quantcore.errors import RequestError, StoreError
from quantcore.playground import (
    Answer,
    PlaygroundSpec,
    PlaygroundView,
    Seen,
    Unanswered,
    check,
)
from quantcore.schema import Comparison, Guess, VariantResult
from tests.pages.fakes import ME, FakeComparisons, view
from tests.pages.helpers import Open, buttons, captions, html
from tests.support import fixtures
from ui.common import state
from ui.playground import playground

PAGE = "pages/Try.py"
WHOLE = fixtures.typical()
CLASSES = ("Ankle boot", "Sneaker", "Sandal", "Bag", "Coat")


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, format="PNG")
    return buffer.getvalue()


def says(row: VariantResult, first: str = "Ankle boot", share: float = 0.96) -> Answer:
    """Return a variant's answer that names this class first."""
    order = [first, *(name for name in CLASSES if name != first)]
    shares = (share, *([(1 - share) / 4] * 4))
    guesses = tuple(
        Guess(CLASSES.index(name), name, part) for name, part in zip(order, shares, strict=True)
    )
    return Answer(row.key, guesses, 3.21)


def answered(
    comparison: Comparison = WHOLE, label: str | None = None, **firsts: str
) -> PlaygroundView:
    """Return a run that is over; `static_qnnpack="Sneaker"` names another class than the rest."""
    answers = tuple(
        says(row, firsts.get(f"{row.workflow}_{row.backend}", "Ankle boot"))
        for row in comparison.results
    )
    seen = Seen(png(), png(), (28, 28), label)
    return PlaygroundView(len(answers), answers, seen, state="done")


@dataclass
class FakePlayground:
    """Answers with the view it was given, and notes what it was asked."""

    answer: PlaygroundView = field(default_factory=answered)
    here: bool = True
    started: list[PlaygroundSpec] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def are_here(self, rows: tuple[VariantResult, ...]) -> bool:
        return self.here

    def start(self, spec: PlaygroundSpec, owner: str) -> str:
        assert owner == ME
        check(spec.picture)
        self.started.append(spec)
        return f"run-{len(self.started)}"

    def view(self, run_id: str) -> PlaygroundView | None:
        return self.answer if self.started else None

    def wait(self, run_id: str, timeout_s: float) -> PlaygroundView:
        return self.answer

    def forget(self, run_id: str, owner: str) -> None:
        assert owner == ME
        self.cancelled.append(run_id)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePlayground:
    fake, service = FakePlayground(), FakeComparisons(job=view(WHOLE))
    service.playground = fake  # type: ignore[attr-defined]
    monkeypatch.setattr(state, "service", lambda: service)
    return fake


@pytest.fixture
def open_page(open_page: Open) -> Open:
    return partial(open_page, job="job")


def upload(page: AppTest, content: bytes, name: str = "mine.png") -> AppTest:
    page.button_group[0].set_value("upload").run()
    page.file_uploader[0].upload(name, content, "image/png").run()
    assert not page.exception
    return page


def test_at_first_it_says_what_will_be_here_and_asks_nobody(
    open_page: Open, fake: FakePlayground
) -> None:
    page = open_page()
    assert "What each of the 14 variants sees in it will be here" in html(page)
    assert "14 variants of MobileNet v2, measured on 24 Nov 2026" in captions(page)
    assert not fake.started


def test_an_example_is_asked_of_every_variant_shown_and_stands_in_the_address(
    open_page: Open, fake: FakePlayground
) -> None:
    page = open_page()
    assert page.button_group[1].options[3].endswith("4 Ankle boot")
    page.button_group[1].set_value(3).run()
    (spec,) = fake.started
    assert tuple(spec.rows) == WHOLE.results
    assert spec.picture == 3
    assert page.query_params["picture"] == "4"
    assert "All 14 variants name Ankle boot" in html(page)
    open_page(picture="4", workflows="static")
    assert len(fake.started[1].rows) == 5
    assert fake.started[1].picture == 3


def test_drawing_the_page_again_does_not_ask_again(open_page: Open, fake: FakePlayground) -> None:
    page = open_page(picture="4")
    page.run()
    assert len(fake.started) == 1
    page.button(key="again").click().run()
    assert len(fake.started) == 2
    page.button_group[1].set_value(5).run()
    assert [spec.picture for spec in fake.started] == [3, 3, 5]
    assert fake.cancelled == ["run-1", "run-2"]


def test_each_card_has_five_classes_with_shares_and_the_time_of_this_call(open_page: Open) -> None:
    shown = html(open_page(picture="4"))
    assert shown.count("<ol>") == 14
    assert shown.count("<li><span>Ankle boot</span><b>96 %</b>") == 14
    assert "<b>3.21 ms</b> this call <small>measured median 7.10 ms</small>" in shown
    first = shown.index('<ul class="qw-tries"')
    assert shown.index(">reference<") < shown.index(">recommended<")
    assert shown.index("Float32", first) < shown.index(">recommended<")


def test_who_names_another_class_is_named_first_of_all(
    open_page: Open, fake: FakePlayground
) -> None:
    fake.answer = answered(label="Ankle boot", static_qnnpack="Sneaker")
    shown = html(open_page(picture="4"))
    assert "Static on QNNPACK names Sneaker instead (float32: Ankle boot, 96 %)" in shown
    assert "The right answer is Ankle boot; 13 of 14 name it." in shown
    assert shown.count(">differs<") == 1
    assert shown.index(">differs<") < shown.index("Dynamic on oneDNN")


def test_the_recommended_variant_and_float32_are_held_against_each_other(
    open_page: Open, fake: FakePlayground
) -> None:
    ship = decide(WHOLE).ship
    row = next(row for row in WHOLE.results if row.key == ship)
    shown = html(open_page(picture="4"))
    assert "is 96 % sure, float32 96 %; their first five classes are the same" in shown
    fake.answer = answered(**{f"{row.workflow}_{row.backend}": "Sneaker"})
    shown = html(open_page(picture="4"))
    assert "names Sneaker, 96 % sure, where float32 names Ankle boot, 96 % sure." in shown


def test_limits_in_the_address_change_who_is_recommended(open_page: Open) -> None:
    page = open_page(picture="4", max_latency="0.0001")
    assert ">recommended<" not in html(page)
    assert page.query_params["max_latency"] == "0.0001"


def test_a_variant_that_could_not_be_asked_says_why(open_page: Open, fake: FakePlayground) -> None:
    whole = answered()
    gone = Unanswered(WHOLE.results[-1].key, "Its file is not here.", "Measure it.")
    fake.answer = replace(whole, answers=(*whole.answers[:-1], gone))
    shown = html(open_page(picture="4"))
    assert "All 13 variants name Ankle boot" in shown
    assert "1 variant could not be asked" in shown
    assert "<p>Its file is not here. Measure it.</p>" in shown


def test_while_it_is_asked_what_is_answered_is_there(open_page: Open, fake: FakePlayground) -> None:
    whole = answered()
    fake.answer = replace(
        whole, state="running", stage="asking 14 variants", answers=whole.answers[:5]
    )
    page = open_page(picture="4")
    assert "**Asking 14 variants**, 5 of 14 answered" in str(page.get("progress")[0].proto)
    assert html(page).count("<ol>") == 5
    assert "All 5" not in html(page)
    assert not buttons(page)


def test_a_picture_is_uploaded(open_page: Open, fake: FakePlayground) -> None:
    page = upload(open_page(), png())
    (spec,) = fake.started
    assert spec.picture == png()
    assert "Your picture, 28 × 28 px" in html(page)
    assert "bright on black" in captions(page)
    assert "memory" in captions(page)
    assert "picture" not in page.query_params
    page.run()
    assert len(fake.started) == 1


def test_a_photograph_is_taken(open_page: Open, fake: FakePlayground) -> None:
    page = open_page()
    page.button_group[0].set_value("camera").run()
    page.camera_input[0].set_value(("shot.jpg", png(), "image/jpeg")).run()
    assert [spec.picture for spec in fake.started] == [png()]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "0 bytes"), (b"x" * 20_000_001, "20 MB is the most")]
)
def test_an_empty_or_too_large_file_is_refused_at_once(
    open_page: Open, fake: FakePlayground, content: bytes, reason: str
) -> None:
    page = upload(open_page(), content)
    assert reason in page.error[0].value.replace("\\", "")
    assert not fake.started


def test_what_is_no_picture_is_said_with_what_to_upload(
    open_page: Open, fake: FakePlayground
) -> None:
    fake.answer = PlaygroundView(
        14, state="failed", problem=RequestError("It is no picture.", "Upload another.")
    )
    page = upload(open_page(), b"no picture")
    assert page.error[0].value.replace("\\", "") == "**It is no picture.** Upload another."
    assert buttons(page) == ["Try again"]


def test_files_that_are_not_here_lead_to_measuring(open_page: Open, fake: FakePlayground) -> None:
    fake.here = False
    page = open_page()
    assert "not on this machine" in page.info[0].value
    assert buttons(page) == ["Measure here"]
    assert not page.button_group


def test_a_model_without_figures_leads_to_measuring(open_page: Open) -> None:
    page = open_page(job="", model="bundled/resnet18")
    assert "Nothing to ask yet" in html(page)
    assert buttons(page) == ["Measure a model"]


def test_random_weights_are_said_to_mean_nothing(
    open_page: Open, fake: FakePlayground, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fixtures.random_weights()
    service = FakeComparisons(job=view(whole))
    service.playground = fake  # type: ignore[attr-defined]
    monkeypatch.setattr(state, "service", lambda: service)
    assert "classes they name mean nothing" in captions(open_page())


@pytest.mark.parametrize(
    "address", [{"picture": "0"}, {"picture": "999"}, {"picture": "²"}, {"from": "moon"}]
)
def test_a_link_edited_by_hand_shows_the_page(
    open_page: Open, fake: FakePlayground, address: dict[str, str]
) -> None:
    assert "No picture yet" in html(open_page(**address))
    assert not fake.started


def test_a_data_folder_that_cannot_be_used_is_said(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise StoreError("The data folder is full.", "Make room.")

    monkeypatch.setattr(state, "service", full)
    assert open_page().error[0].value.replace("\\", "") == "**The data folder is full.** Make room."


def test_uploads_stay_in_memory() -> None:
    from starlette.formparsers import MultiPartParser

    assert MultiPartParser.spool_max_size >= playground.MAX_BYTES
