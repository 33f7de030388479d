"""Another machine's figures beside those shown."""

import re
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from quantcore.jobs import Host, JobSummary
from quantcore.schema import Comparison, JobView, VariantResult, current_environment
from tests.pages.fakes import FakeComparisons, view
from tests.pages.helpers import Open
from tests.support import fixtures, queues
from ui.common import state


def on_arm() -> Comparison:
    """Return the typical comparison as a board measured it: thrice as slow, one left out."""
    rows = [slower(row) for row in fixtures.typical().results[:-1]]
    return replace(fixtures.comparison(rows), environment=queues.ARM)


def slower(row: VariantResult) -> VariantResult:
    latency = replace(row.latency_ms, p50=3 * row.latency_ms.p50)
    return replace(row, key=f"{row.key} there", latency_ms=latency, threads=4)


def summary(job_id: str, job: JobView) -> JobSummary:
    rows = job.comparison.results
    return JobSummary(
        id=job_id,
        owner=job.owner,
        asked_by=job.asked_by,
        name="",
        model=rows[0].model,
        models=1,
        location=job.location,
        host=Host(job.comparison.environment).digest,
        created=0.0,
        ended=1.0,
        state=job.state,
        cells=len(rows),
        measured=len(rows),
        failed=0,
        refused=0,
        waiting=0,
        share=1.0,
        message="",
    )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeComparisons:
    fake = FakeComparisons(
        here=view(replace(fixtures.typical(), environment=current_environment())),
        arm=replace(view(on_arm()), location="cluster", asked_by="Ada", owner="ada"),
        other=replace(view(fixtures.random_weights()), location="cluster"),
        again=view(replace(fixtures.one_variant(), environment=current_environment())),
    )
    fake.listed = [summary(job_id, job) for job_id, job in fake.views.items()]
    monkeypatch.setattr(state, "service", lambda: fake)
    return fake


def table(page: AppTest) -> list[list[str]]:
    """Return the table's rows, its head first, as the words of their cells."""
    assert not page.exception
    (text,) = [e.proto.body for e in page.html if "<table" in e.proto.body]
    rows = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in text.split("<tr>")[1:]]
    return [[" ".join(re.sub("<[^>]+>", " ", cell).split()) for cell in row] for row in rows]


def box(page: AppTest) -> list[str]:
    return next((box.options for box in page.selectbox if box.label == "Lay beside"), [])


def test_what_other_machines_measured_of_this_model_is_offered(open_page: Open) -> None:
    page = open_page(job="here")
    assert box(page) == [
        "Nothing",
        "Cortex-A76 with NEON, 2 cores, torch 2.13.0, on 24 Nov 2026, asked for by Ada",
    ]
    assert len(table(page)[0]) == 9


def test_the_other_machines_figures_stand_in_columns_of_their_own(open_page: Open) -> None:
    page = open_page(job="here")
    usual = table(page)
    choice = next(box for box in page.selectbox if box.label == "Lay beside")
    page = choice.set_value("arm").run()
    assert page.query_params["beside"] == "arm"
    laid = table(page)
    assert [row[:9] for row in laid] == usual
    assert laid[0][9:] == ["Latency there on Cortex-A76", "Speed-up there on Cortex-A76"]
    by_name = {row[0]: row[9:] for row in laid[1:]}
    assert by_name["Float32 reference"] == ["21.3 ms 4 threads", "–"]
    assert by_name["Static x86"] == ["8.13 ms 4 threads", "2.6× 2.54 to 2.70×"]
    assert by_name["QAT QNNPACK"] == ["– not measured there", "–"]
    assert any("Beside it: Cortex" in caption.value for caption in page.caption)


def test_a_link_lays_them_beside_again(open_page: Open) -> None:
    page = open_page(job="here", beside="arm")
    assert len(table(page)[0]) == 11
    assert page.query_params["beside"] == "arm"


@pytest.mark.parametrize("beside", ["other", "again", "gone"])
def test_a_link_to_what_does_not_belong_beside_it_says_so(open_page: Open, beside: str) -> None:
    page = open_page(job="here", beside=beside)
    assert len(table(page)[0]) == 9
    assert "it is left out" in page.info[0].value
    assert "beside" not in page.query_params


def test_a_comparison_of_another_machine_says_where(open_page: Open) -> None:
    text = "\n".join(element.proto.body for element in open_page(job="arm").html)
    assert "Measured elsewhere</span>Measured on Cortex-A76 with NEON" in text
    assert "not on this machine" in text


def test_without_another_machine_nothing_is_offered(open_page: Open, fake: FakeComparisons) -> None:
    fake.listed = [line for line in fake.listed if line.id in {"here", "again"}]
    assert box(open_page(job="here")) == []
