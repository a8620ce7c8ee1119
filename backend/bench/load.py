"""A load client light enough to share two cores with what it measures."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any, Self, cast


class UnexpectedAnswer(Exception):
    """An answer that no figure may be made from."""


def http_request(method: str, path: str, token: str = "", body: Any = None) -> bytes:
    """A whole request, built before the clock starts."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: bench", f"content-length: {len(content)}"]
    if content:
        lines.append("content-type: application/json")
    if token:
        lines.append(f"authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + content


class Connection(asyncio.Protocol, AbstractAsyncContextManager["Connection"]):
    """One keep-alive connection with one request under way at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._received = bytearray()
        self._due = 0
        """Bytes of an answer that are surely to come, as far as its head has been read."""
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    async def ask(self, request: bytes) -> Any:
        """The JSON of a 2xx answer.

        Raises:
            UnexpectedAnswer: another status.
            ConnectionError: the connection was closed instead.
        """
        status, body = await self._sent(request)
        if status // 100 != 2:
            raise UnexpectedAnswer(f"{status} {body[:300]!r}")
        return json.loads(body)

    async def status_of(self, request: bytes) -> int:
        """The status of any answer; raises `ConnectionError` as `ask` does."""
        status, _ = await self._sent(request)
        return status

    async def _sent(self, request: bytes) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) < self._due:
            return
        head, ended, rest = bytes(self._received).partition(b"\r\n\r\n")
        body = _body(head, rest) if ended else None
        if body is None:
            self._due = len(head) + 4 + _content_length(head) if ended and _is_sized(head) else 0
            return
        self._received.clear()
        self._due = 0
        if self._answer and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed before the answer"))


def _body(head: bytes, rest: bytes) -> bytes | None:
    """What follows the head, once all of it is there."""
    if _is_sized(head):
        return rest if len(rest) >= _content_length(head) else None
    if not rest.endswith(b"\r\n0\r\n\r\n"):
        return None
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def _is_sized(head: bytes) -> bool:
    return b"transfer-encoding: chunked" not in head.lower()


def _content_length(head: bytes) -> int:
    _, named, rest = head.lower().partition(b"content-length:")
    if not named:
        raise UnexpectedAnswer("no content-length")
    return int(rest.split(b"\r\n", 1)[0])


@asynccontextmanager
async def connections_to(port: int, number: int) -> AsyncIterator[list[Connection]]:
    """Open connections, closed at the end; the service closes those that idle for 5 s."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Connection(port)) for _ in range(number)]


async def ask_all(connections: Iterable[Connection], requests: Iterable[bytes]) -> list[Any]:
    """Send the requests, as many at once as there are connections; all the answers."""
    waiting = iter(requests)
    answers: list[Any] = []

    async def work(connection: Connection) -> None:
        answers.extend([await connection.ask(request) for request in waiting])

    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(work(connection))
    return answers


async def timed(connection: Connection, request: bytes) -> float:
    """Seconds until the answer was there."""
    started = perf_counter()
    await connection.ask(request)
    return perf_counter() - started


@asynccontextmanager
async def polled(port: int, request: bytes, every: float) -> AsyncIterator[list[float]]:
    """Milliseconds of each `request`, made one after the other inside the block."""
    times: list[float] = []

    async def poll() -> None:
        async with Connection(port) as connection:
            while True:
                times.append(1000 * await timed(connection, request))
                await asyncio.sleep(every)

    polling = asyncio.create_task(poll())
    try:
        yield times
    finally:
        polling.cancel()
