"""The server around the pages: visitors' cookies, and what happens when it starts and ends."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from starlette.types import Message, Receive, Scope, Send

from quantcore.service import Service
from tests.support.coroutines import run
from ui.common import server, state

PAGE = b"text/html,application/xhtml+xml,*/*;q=0.8"


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers everything with an empty page."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def cookie(accept: bytes = PAGE, sent: str = "", scheme: str = "http") -> str:
    """Return the cookie that an answer sets; empty without one."""
    headers = [(b"accept", accept), (b"host", b"here"), (b"cookie", sent.encode())]
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "scheme": scheme,
        "path": "/",
        "query_string": b"",
        "headers": headers,
    }
    answers: list[Message] = []

    async def send(message: Message) -> None:
        answers.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    run(server.VisitorCookie(page)(scope, receive, send))
    found = dict(answers[0]["headers"]).get(b"set-cookie", b"")
    return str(found.decode())


def value(text: str) -> str:
    return text.partition(";")[0].partition("=")[2]


def test_a_browser_is_given_an_id_that_scripts_cannot_read_and_other_sites_cannot_send() -> None:
    text = cookie()
    assert text.startswith("quantcore_visitor=")
    assert len(value(text)) == 32
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} < set(text.split("; "))
    assert "Secure" not in text
    assert "; Secure" in cookie(scheme="https")


def test_no_two_browsers_are_given_the_same_id_and_each_keeps_its_own() -> None:
    first, second = value(cookie()), value(cookie())
    assert first != second
    assert value(cookie(sent=f"theme=dark; quantcore_visitor={first}")) == first


@pytest.mark.parametrize("sent", ["short", "x" * 33, "x" * 31 + "é", "a b" * 10 + "cd"])
def test_an_id_that_no_server_gave_is_replaced(sent: str) -> None:
    assert value(cookie(sent=f"quantcore_visitor={sent}")) != sent


def test_only_pages_bring_the_cookie() -> None:
    assert cookie(accept=b"*/*") == cookie(accept=b"text/css") == ""


@pytest.fixture
def app() -> st.App:
    return st.App(Path(__file__).parents[2] / "app.py")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder that no server has opened."""
    monkeypatch.setenv("QUANTCORE_DATA", str(tmp_path / "data"))
    state.settings.cache_clear()
    state.opened.cache_clear()
    yield tmp_path / "data"
    state.settings.cache_clear()
    state.opened.cache_clear()


def test_the_server_goes_on_with_what_was_under_way_and_pages_share_its_comparisons(
    fresh: Path, app: st.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed: list[Service] = []
    monkeypatch.setattr(Service, "resume", lambda self: resumed.append(self))  # noqa: PLW0108
    closed: list[Service] = []
    monkeypatch.setattr(Service, "close", lambda self: closed.append(self))  # noqa: PLW0108

    async def serve() -> None:
        async with server.lifespan(app):
            assert resumed == [state.service()]
            assert closed == []

    run(serve())
    assert closed == resumed


def test_a_server_starts_without_its_data_folder_and_pages_say_why(
    fresh: Path, app: st.App, caplog: pytest.LogCaptureFixture
) -> None:
    fresh.write_text("in the way")

    async def serve() -> str:
        async with server.lifespan(app):
            return str(state.problem())

    with caplog.at_level(logging.WARNING):
        said = run(serve())
    assert str(fresh) in said
    assert said in caplog.text


def test_a_data_folder_that_is_mended_is_used_without_a_restart(fresh: Path) -> None:
    fresh.write_text("in the way")
    assert state.problem() is not None
    fresh.unlink()
    assert state.problem() is None
    state.close()
