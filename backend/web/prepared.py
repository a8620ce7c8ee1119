"""Answers that are the same for everybody: made and packed once, from then on only sent."""

import asyncio
import gzip
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from fastapi import Request, Response

from backend.fair_turns import own_turn
from backend.rate_limiter import count_long_page

LET_KEEP = {"Cache-Control": "no-cache"}
"""For what a browser may keep, and asks about each time."""
_LONG = 32 * 1024
"""Bytes whose handing over to the network takes as long as all else of a request."""
_VERY_LONG = 100_000
"""Bytes that nobody is sent again and again: a browser keeps what it has, and takes it packed."""


class _Body(NamedTuple):
    plain: bytes
    packed: bytes
    etag: str


class Prepared:
    """What `make` returns, made off the event loop with the first request for it.

    Who has it and asks whether it is still the same is sent no body.
    """

    def __init__(self, make: Callable[[], bytes], media_type: str, **headers: str) -> None:
        self._make = make
        self._headers = {
            "Content-Type": media_type,
            "Vary": "Accept-Encoding",
            **headers,
        }
        self._body: _Body | None = None
        self._lock = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        async with self._lock:
            if self._body is None:
                self._body = await asyncio.to_thread(self._pack)
        headers = {"ETag": self._body.etag} | self._headers
        if self._body.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = self._body.plain
        if "gzip" in request.headers.get("accept-encoding", ""):
            content = self._body.packed
            headers["Content-Encoding"] = "gzip"
        if len(content) > _VERY_LONG and request.method != "HEAD":
            await count_long_page(request)
        if len(content) > _LONG:
            await own_turn()
        return Response(content, headers=headers)

    def _pack(self) -> _Body:
        plain = self._make()
        etag = f'W/"{sha256(plain).hexdigest()[:32]}"'
        return _Body(plain, gzip.compress(plain, mtime=0), etag)
