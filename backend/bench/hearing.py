"""Streams as a light client hears them: when each word came, and how late it was."""

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Self, cast

from backend.bench.load import UnexpectedAnswer

_WORD = re.compile(rb"@(\d+)@")
_END = (b"\r\n0\r\n\r\n", b"data: [DONE]")


class Hearing(asyncio.Protocol):
    """One stream on a connection of its own, from its request to its end."""

    def __init__(self, request: bytes) -> None:
        self.lags: list[float] = []
        """Seconds between a word's being said and its being heard."""
        self.first: float | None = None
        """Seconds from the request to the first word."""
        self.talks = asyncio.Event()
        """Set with the first word, or where the stream has ended without one."""
        self.ended = asyncio.get_running_loop().create_future()
        self._request = request
        self._rest = b""
        self._began = 0.0
        self._transport: asyncio.Transport

    @classmethod
    async def begin(cls, port: int, request: bytes) -> Self:
        made = cls(request)
        await asyncio.get_running_loop().create_connection(lambda: made, "127.0.0.1", port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._began = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._rest + data
        if self.first is None and data.startswith(b"HTTP/1.1") and data[9:12] != b"200":
            self._end(UnexpectedAnswer(repr(data[:300])))
            return
        at = 0
        for word in _WORD.finditer(data):
            at = word.end()
            self.lags.append((now - int(word[1])) / 1e9)
        if at and self.first is None:
            self.first = time.monotonic() - self._began
            self.talks.set()
        self._rest = data[max(at, len(data) - 64) :]
        if any(end in self._rest for end in _END):
            self._end()

    def connection_lost(self, _: Exception | None) -> None:
        self._end(ConnectionError("cut"))

    def _end(self, error: Exception | None = None) -> None:
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)
            self.talks.set()
            self._transport.close()


async def hear_all(port: int, requests: Iterable[bytes]) -> list[Hearing]:
    """All the streams at once, to their ends."""
    heard = await asyncio.gather(*(Hearing.begin(port, request) for request in requests))
    await asyncio.gather(*(each.ended for each in heard))
    return heard
