"""CORS as the contract has it: exact origins, with credentials, and a refusal in the envelope."""

from collections.abc import Sequence

from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp

from backend.web.envelope import error_response
from backend.web.refusals import PreflightRefused

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Mcp-Session-Id",
    "X-Request-ID",
    "X-Timezone",
)
TRACING_HEADERS = (
    "baggage",
    "traceparent",
    "tracestate",
    "sentry-trace",
    "b3",
    *(f"X-B3-{part}" for part in ("TraceId", "SpanId", "ParentSpanId", "Sampled", "Flags")),
    *(f"x-datadog-{part}" for part in ("trace-id", "parent-id", "origin", "sampling-priority")),
    "x-datadog-tags",
    "Request-Id",
    "Request-Context",
    "Correlation-Context",
    "X-Correlation-ID",
    "X-Cloud-Trace-Context",
    "X-Amzn-Trace-Id",
    "uber-trace-id",
    "newrelic",
    "elastic-apm-traceparent",
    "sw8",
    "sw8-correlation",
    "jaeger-debug-id",
    *(f"ot-tracer-{part}" for part in ("traceid", "spanid", "sampled")),
    *(f"X-INSTANA-{part}" for part in ("T", "S", "L")),
    "X-Honeycomb-Trace",
    *(f"X-NewRelic-{part}" for part in ("ID", "Transaction")),
    *(f"X-PostHog-{part}" for part in ("Session-ID", "Distinct-ID", "Window-ID")),
    "X-Highlight-Request",
    "X-OpenReplay-SessionToken",
)
"""What libraries of tracing add to a page's calls; the two of W3C count where traces are on."""
ANSWER_HEADERS = (
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "X-Request-ID",
    "traceresponse",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Content-Disposition",
    "X-Vercel-AI-UI-Message-Stream",
    "WWW-Authenticate",
)


class Cors(CORSMiddleware):
    """Starlette's, for pages of `origins`, which may send `more_headers` besides those above."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], more_headers: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_credentials=True,
            allow_methods=METHODS,
            allow_headers=(*REQUEST_HEADERS, *TRACING_HEADERS, *more_headers),
            expose_headers=ANSWER_HEADERS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        refused = bytes(answer.body).decode().removeprefix("Disallowed CORS ").split(", ")
        refusal = error_response(PreflightRefused(details={"refused": refused}))
        for name, value in answer.headers.items():
            refusal.headers.setdefault(name, value)
        return refusal
