"""Visitors without a browser: websocket clients that rerun a page as Streamlit's own do."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Visit:
    """Which page is looked at: its name (empty for the first one) and what the address says."""

    page: str = ""
    query: str = ""


def rerun_seconds(url: str, visits: Visit | Sequence[Visit], count: int) -> list[float]:
    """Return how long each of several reruns took, the first load left out.

    Of several visits, each rerun takes the next.
    """
    turns = [visits] if isinstance(visits, Visit) else list(visits)
    return asyncio.run(_reruns(url, turns, count))


async def _reruns(url: str, visits: Sequence[Visit], count: int) -> list[float]:
    connection = await _connected(url)
    try:
        await _rerun(connection, visits[-1])
        return [await _rerun(connection, visits[turn % len(visits)]) for turn in range(count)]
    finally:
        connection.close()


@contextmanager
def crowd(url: str, visits: Sequence[Visit], every_s: float) -> Iterator[list[float]]:
    """Keep one visitor per visit, each rerunning so often; yield the list of all their times."""
    times: list[float] = []
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    tasks = [
        asyncio.run_coroutine_threadsafe(_stay(url, visit, every_s, delay, times), loop)
        for delay, visit in ((every_s * n / len(visits), v) for n, v in enumerate(visits))
    ]
    try:
        yield times
    finally:
        failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for task in tasks:
            task.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
    if failed:
        raise RuntimeError(f"{len(failed)} visitors were thrown out, the first by: {failed[0]!r}")


async def _stay(url: str, visit: Visit, every_s: float, delay_s: float, times: list[float]) -> None:
    # Spread out, as people are.
    await asyncio.sleep(delay_s)
    connection = await _connected(url)
    await _rerun(connection, visit)
    while True:
        await asyncio.sleep(every_s)
        times.append(await _rerun(connection, visit))


async def _connected(url: str) -> WebSocketClientConnection:
    address = url.replace("http://", "ws://") + "/_stcore/stream"
    request = HTTPRequest(address, connect_timeout=TIMEOUT_S)
    return await websocket_connect(request, subprotocols=["streamlit"])


async def _rerun(connection: WebSocketClientConnection, visit: Visit) -> float:
    """Ask for a rerun; return the seconds until the page has been drawn.

    Raises:
        RuntimeError: the server hung up, or the page ended with an error.
    """
    message = BackMsg()
    message.rerun_script.query_string = visit.query
    message.rerun_script.page_name = visit.page
    started = time.perf_counter()
    await connection.write_message(message.SerializeToString(), binary=True)
    while True:
        text = await asyncio.wait_for(connection.read_message(), TIMEOUT_S)
        if text is None:
            raise RuntimeError("the server hung up")
        answer = ForwardMsg()
        answer.ParseFromString(text if isinstance(text, bytes) else text.encode())
        if answer.WhichOneof("type") == "page_not_found":
            raise RuntimeError(f"there is no page {visit.page!r}")
        if answer.WhichOneof("type") == "script_finished":
            if answer.script_finished != ForwardMsg.FINISHED_SUCCESSFULLY:
                raise RuntimeError("the page ended with an error")
            return time.perf_counter() - started
