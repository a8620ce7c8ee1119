"""HTTP/1.1 on the wire: uvicorn's protocol, with bounds that it leaves to a proxy.

A client that is slow, or sends no end of header fields, or no HTTP at all, is answered in the
envelope like every other, and its connection is closed.
"""

import asyncio
import functools
import logging
import socket
import struct
from typing import Any, cast
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from backend.web.envelope import error_response
from backend.web.logs import request_id
from backend.web.middleware import FIELDS_MAX, SECURITY_HEADERS
from backend.web.refusals import HeadTooLarge, MalformedRequest, RequestRefused, RequestTooSlow
from backend.web.sockets import has_closed, quiet_for

logger = logging.getLogger("backend.access")

HEAD_MAX = 64 * 1024
"""Bytes of a request's line and header fields together, give or take one read of the socket."""


class _Quiet:
    """A transport on which a write after its end goes nowhere, where uvloop raises.

    Between a client's reset and the word of it to the protocol an answer may be ready.
    """

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """One connection, on which a client has `seconds` for a request's head and for its body.

    The time runs from the connection, or from the first byte after the last request; uvicorn
    closes only connections that idle after an answer. For twice as long the client may take
    nothing of an answer.
    """

    def __init__(self, *args: Any, seconds: float = 15.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._refusal: RequestRefused | None = None
        self._reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, _Quiet(transport)))
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._timer is None:
            self._start_timer()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_MAX and not self.transport.is_closing():
            self._refuse(HeadTooLarge())

    def on_message_begin(self) -> None:
        self._start_timer()
        super().on_message_begin()
        # for `backend.web.clients`: what the app sees of it itself, it sees late
        connection = self.transport.get_extra_info("socket")
        self.scope["state"] |= {
            "came": self.loop.time() - quiet_for(connection),
            "has_left": functools.partial(has_closed, connection),
        }

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= FIELDS_MAX:
            self._refusal = HeadTooLarge()
            raise ValueError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._stop_timer()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls where the parser cannot go on."""
        self._refuse(self._refusal or MalformedRequest())

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._seconds, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_reader(self) -> None:
        """Let a client go that has taken nothing of an answer for twice the time."""
        unread = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() < unread:
                self._watch_reader()
            else:
                self._reset()

        self._stop_watching()
        self._reader_timer = self.loop.call_later(2 * self._seconds, look)

    def _reset(self) -> None:
        """Close at once; by default the kernel would go on offering what it still holds."""
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _stop_watching(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _time_out(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_timer()  # an answer is under way; its body has a limit of its own
        elif self._in_head and self._head_bytes:
            self._refuse(RequestTooSlow())
        else:
            self.transport.close()

    def _refuse(self, error: RequestRefused) -> None:
        """Answer before there is a request that the app could answer, and close."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            token = request_id.set(uuid4().hex)
            logger.info("request refused", extra={"fields": {"status": error.status}})
            self.transport.write(_as_bytes(error))
            request_id.reset(token)
        self.transport.close()


def _as_bytes(error: RequestRefused) -> bytes:
    answer = error_response(error)
    answer.headers.update(SECURITY_HEADERS | {"X-Request-ID": request_id.get() or ""})
    lines = [b"HTTP/1.1 %d %s" % (error.status, error.message.encode())]
    lines += [b"%s: %s" % header for header in answer.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])


def protocol(seconds: float) -> type[asyncio.Protocol]:
    """For uvicorn, which calls it as it would the class."""
    return cast(type[asyncio.Protocol], functools.partial(BoundedProtocol, seconds=seconds))
