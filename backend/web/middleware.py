"""What every request passes: its id, its log line, the limits of its size, the last catch.

And what the app's start passes: a failure there is said in one line.

Plain ASGI, since Starlette's `BaseHTTPMiddleware` hides a client's leaving and wraps bodies.
"""

import asyncio
import logging
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from uuid import uuid4

from psycopg import OperationalError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import StartFailure, Stopping
from backend.fair_turns import LONG_BODY, own_turn
from backend.web.envelope import as_app_error, error_response
from backend.web.logs import request_id
from backend.web.refusals import BodyTooLarge, HeadTooLarge, RequestRefused, RequestTooSlow

logger = logging.getLogger("backend.access")

BODY_MAX = 64 * 1024
"""Bytes of a request's body; the largest valid one is a task of about 20 kB."""
FIELDS_MAX = 100
"""Header fields of a request; a browser sends about 20, and proxies add a few."""
ANSWER_S = 1.0
"""Seconds that answers may take at a stop, once all runs are closed and nothing is waited for."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class InFlight:
    """The requests that are being answered; `app.state.in_flight`.

    A server that stops gives up those that take too long, and does not wait until they have been
    told so: what they need must last until then.
    """

    def __init__(self) -> None:
        self._number = 0
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        self._number += 1
        self._none.clear()

    def __exit__(self, *_: object) -> None:
        self._number -= 1
        if not self._number:
            self._none.set()

    async def answered(self) -> None:
        """Wait until there are none, for `ANSWER_S` at the most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._none.wait()


class RequestContext:
    """Give each request an id, on the answer and in every log line, and log how it ended.

    A client's own `X-Request-ID` is kept if it is short and plain. The line holds the route's
    path template, never the query or the body.
    """

    def __init__(self, app: ASGIApp, in_flight: InFlight) -> None:
        self.app = app
        self.in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        current = given if _PLAIN_ID.fullmatch(given) else uuid4().hex
        token = request_id.set(current)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = current
            await send(message)

        try:
            with self.in_flight:
                await self.app(scope, receive, send_with_id)
        finally:
            fields = {
                "method": scope["method"],
                "route": getattr(scope.get("route"), "path", None),
                "status": status,
                "ms": round((time.perf_counter() - started) * 1000, 1),
            }
            logger.info("request", extra={"fields": fields})
            request_id.reset(token)


class ErrorBoundary:
    """Turn what nobody foresaw into a 500 in the envelope, inside the CORS middleware.

    And what a stop cuts short into a 503, of which the server would make a 500. Starlette's own
    last handler stands outside of it, and an answer without CORS headers is shown to the person
    as a lost connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, note_start)
        except asyncio.CancelledError:  # only a server that stops cancels a request
            if started:
                raise
            await error_response(Stopping())(scope, receive, send)
        except Exception as error:
            answer = error_response(as_app_error(error))
            if started:
                raise
            await answer(scope, receive, send)


class SecurityHeaders:
    """Say on every answer that it is no page, is kept by nobody, and belongs in no frame.

    An answer that is a page brings a policy of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_guarded)


class HeadLimit:
    """Refuse a request of more than `FIELDS_MAX` header fields with 431.

    `backend.web.protocol` does so while they come; under another server they are here already.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(scope.get("headers", ())) > FIELDS_MAX:
            raise HeadTooLarge
        await self.app(scope, receive, send)


def _refusal(error: RequestRefused) -> HTTPException:
    """`error` as the framework lets it through, which takes others for a body not to be parsed."""
    return HTTPException(error.status, headers=error.headers)


class BodyLimit:
    """Refuse a body over `limit` bytes with 413, and one that is not there in `seconds` with 408.

    `large` are the paths whose bodies may have more bytes, and how many.

    The length is judged as it is declared, else while it comes. Starlette has a middleware for
    it, but that one answers in plain text, not in the envelope, and waits for ever.
    """

    def __init__(
        self,
        app: ASGIApp,
        seconds: float,
        limit: int = BODY_MAX,
        large: Mapping[str, int] | None = None,
    ) -> None:
        self.app = app
        self.seconds = seconds
        self.limit = limit
        self.large = large or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.large.get(scope["path"], self.limit)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
            raise _refusal(BodyTooLarge())
        received = 0
        deadline: float | None = asyncio.get_running_loop().time() + self.seconds

        async def bounded() -> Message:
            nonlocal received, deadline
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise _refusal(RequestTooSlow()) from None
            received += len(message.get("body", b""))
            if received > limit:
                raise _refusal(BodyTooLarge())
            if deadline is not None and not message.get("more_body", False):
                deadline = None  # what may come now is the client's leaving
                if received > LONG_BODY:
                    await own_turn()  # to be parsed
            return message

        await self.app(scope, bounded, send)


class PlainStartFailure:
    """Say in one line why the app cannot start, where Starlette hands uvicorn a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_plainly(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                message["message"] = _start_failure_reason(sys.exception()) or message["message"]
            await send(message)

        await self.app(scope, receive, send_plainly if scope["type"] == "lifespan" else send)


def _start_failure_reason(error: BaseException | None) -> str | None:
    match error:
        case StartFailure():
            return str(error)
        case OperationalError():
            return f"DATABASE_URL: {str(error).splitlines()[0]}"
    return None
