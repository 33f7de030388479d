"""The list of comparisons in each of its states, over a real job queue without workers."""

import html as entities
import re
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from quantcore.errors import RequestError, StoreError
from quantcore.jobs import JobQueue
from quantcore.jobs.dispatch import Dispatcher
from quantcore.schema import TARGETS, Target
from quantcore.service import Service
from quantcore.settings import Settings
from tests.pages.conftest import Browse
from tests.pages.fakes import ME
from tests.pages.helpers import Open, buttons, press
from tests.support import fixtures, queues
from ui.common import state
from ui.common.markdown import markdown

PAGE = "pages/Jobs.py"
pytestmark = pytest.mark.usefixtures("service")


@pytest.fixture
def service(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(Dispatcher, "start", lambda self: None)
    found = Service(settings)
    monkeypatch.setattr(state, "service", lambda: found)
    yield found
    found.close()


@pytest.fixture
def queue(service: Service, settings: Settings) -> Iterator[JobQueue]:
    queue = JobQueue.open(settings)
    yield queue
    queue.close()


def text(page: AppTest) -> str:
    """Return what the page says, without markup."""
    assert not page.exception
    whole = " ".join(element.proto.body for element in page.html)
    return " ".join(entities.unescape(re.sub("<[^>]+>", " ", whole)).split())


def headings(page: AppTest) -> list[str]:
    return [heading.value for heading in page.header]


def links(page: AppTest) -> list[tuple[str, str]]:
    """Return what each link says, and which comparison it leads to."""
    found = [element.proto for element in page.get("page_link")]
    return [(link.label[2:-2], link.query_string.removeprefix("job=")) for link in found]


def shown(page: AppTest) -> list[str]:
    """Return the comparisons on the page from top to bottom."""
    return [job for _, job in links(page)]


def test_an_empty_list_says_what_will_be_here_and_leads_to_it(open_site: Open) -> None:
    page = open_site()
    assert "Nothing has been asked for yet" in text(page)
    assert headings(page) == []
    assert "Measure here" in buttons(press(page, "Measure a model"))


def test_running_waiting_and_done_stand_apart(open_site: Open, queue: JobQueue) -> None:
    rows = fixtures.typical().results
    queues.add(queue, "over", rows, owner=ME)
    queues.add(queue, "running", rows[:3], waiting=3, owner=ME)
    queues.begin(queue, share=0.5)
    queues.add(queue, "waiting", [], waiting=2, asked_by="the command line")
    page = open_site()
    said = text(page)
    assert headings(page) == ["Running · 1", "Waiting · 1", "Done · 1"]
    assert "6 variants, asked for by you, just now 3 of 6 finished" in said
    assert "2 variants, asked for by the command line, just now 1 variant ahead" in said
    assert "14 variants, asked for by you, just now 14 measured" in said
    assert shown(page) == ["running", "waiting", "over"]
    assert not any(title in said for title in TARGETS.values())


def test_a_comparison_is_called_by_its_name_as_it_stands(open_site: Open, queue: JobQueue) -> None:
    rows = fixtures.one_variant().results
    queues.add(queue, "named", rows, owner=ME, title="*Friday* [demo](http://x)")
    page = open_site()
    assert links(page) == [(markdown("*Friday* [demo](http://x)"), "named")]
    assert "MobileNet v2, 2 variants" in text(page)


@pytest.mark.parametrize("target", TARGETS)
def test_where_it_will_run_is_said_where_that_is_decided(
    open_site: Open, queue: JobQueue, target: Target
) -> None:
    queues.add(queue, "decided", [], waiting=2, owner=ME, target=target)
    assert f"{TARGETS[target]}, 2 variants" in text(open_site())


def test_how_each_ended_is_said(open_site: Open, queue: JobQueue) -> None:
    whole = fixtures.typical()
    queues.add(queue, "partly", [*whole.results, *whole.failures], owner=ME)
    queues.add(queue, "failed", fixtures.all_failed().failures, owner=ME)
    queues.add(queue, "stopped", whole.results[:3], waiting=4, owner=ME)
    queue.jobs.cancel("stopped")
    said = text(open_site())
    assert "14 measured, 1 failed, 2 not possible" in said
    assert "Nothing was measured. 17 failed" in said
    assert "Stopped, 3 of 7 measured" in said


def test_what_runs_can_be_cancelled_and_then_stands_under_done(
    open_site: Open, queue: JobQueue
) -> None:
    queues.add(queue, "waiting", [], waiting=2, owner=ME)
    page = open_site()
    assert headings(page) == ["Waiting · 1"]
    page = press(page, "Cancel")
    assert headings(page.run()) == ["Done · 1"]
    assert queue.jobs.get("waiting").state == "cancelled"
    page = press(page, "Go on measuring")
    assert headings(page.run()) == ["Waiting · 1"]


def test_only_what_failed_is_tried_again(open_site: Open, queue: JobQueue) -> None:
    whole = fixtures.typical()
    queues.add(queue, "partly", [*whole.results, *whole.failures], owner=ME)
    press(open_site(), "Try the failed again")
    states = [cell.state for cell in queue.jobs.get("partly").cells]
    assert (states.count("waiting"), states.count("failed"), states.count("done")) == (1, 2, 14)


def test_the_name_is_asked_for_in_a_fold(open_site: Open, queue: JobQueue) -> None:
    queues.add(queue, "over", fixtures.one_variant().results, owner=ME)
    page = press(open_site(), "Name")
    page.text_input(key="name-over").set_value("  For Friday ").run()
    assert queue.jobs.get("over").name == "For Friday"
    assert links(page) == [("For Friday", "over")]


def test_deleting_takes_two_presses(open_site: Open, queue: JobQueue) -> None:
    queues.add(queue, "over", fixtures.one_variant().results, owner=ME)
    page = open_site()
    assert "Delete it" not in buttons(page)
    page = press(press(page, "Delete"), "Delete it")
    assert "Nothing has been asked for yet" in text(page)
    with pytest.raises(RequestError):
        queue.jobs.get("over")


def test_somebody_elses_can_only_be_looked_at(
    open_site: Open, queue: JobQueue, browse_as: Browse
) -> None:
    queues.add(queue, "over", fixtures.typical().failures, owner=ME, asked_by="Ada")
    queues.add(queue, "waiting", [], waiting=2, owner=ME)
    browse_as("somebody else")
    page = open_site()
    assert shown(page) == ["waiting", "over"]
    assert buttons(page) == []
    assert page.get("popover") == []
    assert "asked for by Ada" in text(page)
    assert "asked for by another visitor" in text(page)


def test_settings_may_open_every_comparison_to_all(
    open_site: Open, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTCORE_SHARED_JOBS", "open")
    queues.add(queue, "waiting", [], waiting=2, owner="somebody else")
    press(open_site(), "Cancel")
    assert queue.jobs.get("waiting").state == "cancelled"


def test_many_are_drawn_a_page_at_a_time(open_site: Open, queue: JobQueue) -> None:
    for number in range(45):
        queues.add(queue, f"job-{number}", [fixtures.float32()])
    page = open_site()
    assert headings(page) == ["Done · 45"]
    assert shown(page) == [f"job-{number}" for number in range(44, 24, -1)]
    page.pagination(key="jobs-page-3").set_value(3).run()
    assert shown(page) == [f"job-{number}" for number in range(4, -1, -1)]


def test_a_data_folder_that_fails_is_said(open_site: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise StoreError("The data folder cannot be written.", "Set QUANTCORE_DATA.")

    monkeypatch.setattr(state, "service", fail)
    page = open_site()
    assert (
        page.error[0].value.replace("\\", "")
        == "**The data folder cannot be written.** Set QUANTCORE_DATA."
    )
    assert headings(page) == []


def test_what_is_about_uploads_is_listed_for_its_owner_alone(
    queue: JobQueue, open_site: Open, browse_as: Browse
) -> None:
    upload = "upload/" + "A" * 32
    row = fixtures.float32()
    queues.add(queue, "public", [row], owner=ME)
    queues.add(queue, "model", [row], owner=ME, model=upload)
    queues.add(queue, "images", [row], owner=ME, source=upload)
    queues.add(queue, "folder", [row], owner=ME, source="/uploads/pets")
    assert shown(open_site()) == ["folder", "images", "model", "public"]
    browse_as("somebody else")
    assert shown(open_site()) == ["folder", "public"]
