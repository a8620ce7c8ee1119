"""Each request as it is told: a span from its head to the end of its answer, and its figures.

FastAPI could tell as much by itself, but with the whole path and the query of each request, in
which a calendar's secret and people's words stand.
"""

from time import perf_counter

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.telemetry import spans
from backend.telemetry.figures import REQUEST_SECONDS
from backend.web.cors import METHODS

_METHODS = frozenset({*METHODS, "OPTIONS"})
_PROBES = ("/health", "/ready")
"""Asked every second or two by what watches the service: counted, but no traces of their own."""


class Seen:
    """Tell of each request; outside of all that can answer it. Added only where something is told.

    The answer names the trace in `traceresponse`, as W3C's draft has it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        started, status = perf_counter(), 0

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if told := spans.carrier():
                    MutableHeaders(scope=message)["traceresponse"] = told["traceparent"]
            await send(message)

        with _span(method, scope) as span:
            try:
                await self.app(scope, receive, send_seen)
            finally:
                # the framework has put the route where all see it
                route = str(getattr(scope.get("route"), "path", ""))
                _note(span, method, route, status)
                labels = {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": str(status),
                }
                REQUEST_SECONDS.record(perf_counter() - started, labels)


def _span(method: str, scope: Scope) -> spans.Span:
    tracing = spans.tracing()
    if tracing is None or scope["path"] in _PROBES:
        return spans.SILENCE
    attributes = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
    return tracing.request(method, attributes, scope["headers"])


def _note(span: spans.Span, method: str, route: str, status: int) -> None:
    if route:
        span.rename(f"{method} {route}")
        span.note({"http.route": route, "http.response.status_code": status})
    else:
        span.note({"http.response.status_code": status})
    if status >= 500:
        span.fail(str(status))
