"""The server around the pages: it goes on with what was under way, and knows visitors again."""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.common import state

COOKIE = "quantcore_visitor"
COOKIE_DAYS = 400
ID_BYTES = 24
_KNOWN_ID = re.compile(r"[\w-]{32}", re.ASCII)

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Go on with what was under way when the last server ended, without any browser."""
    await asyncio.to_thread(_resume)
    try:
        yield
    finally:
        await asyncio.to_thread(state.close)


def _resume() -> None:
    """Open the comparisons; where that fails the server starts all the same, and pages say why."""
    if problem := state.problem():
        _logger.warning("Nothing can be measured. %s", problem)


class VisitorCookie:
    """Gives every browser a random id with its first page, so that its comparisons stay its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the cookie to the answer where a page was asked for."""
        if scope["type"] != "http" or not _asks_for_page(connection := HTTPConnection(scope)):
            await self._app(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", _cookie(connection))
            await send(message)

        await self._app(scope, receive, send_with_cookie)


def _asks_for_page(connection: HTTPConnection) -> bool:
    # A browser that kept the page gets it without a type: only what it asks for tells.
    return "text/html" in connection.headers.get("accept", "")


def _cookie(connection: HTTPConnection) -> str:
    """Return the cookie to set: the id the browser has, for longer, or a new one."""
    cookie = connection.cookies.get(COOKIE, "")
    visitor = cookie if _KNOWN_ID.fullmatch(cookie) else secrets.token_urlsafe(ID_BYTES)
    secure = "; Secure" if connection.url.scheme == "https" else ""
    age = COOKIE_DAYS * 24 * 60 * 60
    return f"{COOKIE}={visitor}; Max-Age={age}; Path=/; HttpOnly; SameSite=Lax{secure}"
