"""Spans as OpenTelemetry has them. Imported only where they are on.

What is sampled and how it is sent is the SDK's. A span under way is ours: the SDK's own takes
ten times as long, with locks and limits for what others might do to it, and all spans of a turn
together would cost more of the processor than a turn may pay. It is not OpenTelemetry's current
span either: whom a trace is handed on to is told by `carrier`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from time import time_ns
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from backend.telemetry.spans import SILENCE, Attributes, Kind, Span
from backend.telemetry.wire import EndedSpan

_SPAN_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
}
_PROPAGATOR = TraceContextTextMapPropagator()
"""Not baggage, which would carry what strangers say on to providers and to servers of tools."""
_TRACE_HEADERS = {b"traceparent": "traceparent", b"tracestate": "tracestate"}
_NO_CALLER = Context()


class Trace:
    """What all spans of ours in a trace have in common."""

    __slots__ = ("id", "is_sampled", "state")

    def __init__(self, trace_id: int, *, is_sampled: bool, state: TraceState | None) -> None:
        self.id = trace_id
        self.is_sampled = is_sampled
        self.state = state.to_header() if state else ""


class OpenSpan:
    """A span under way; an exception is told by its type, never by its message."""

    __slots__ = (
        "_attributes",
        "_before",
        "_failed",
        "_is_detached",
        "_is_parent_away",
        "_kind",
        "_name",
        "_parent",
        "_started",
        "_tracing",
        "id",
        "trace",
    )

    def __init__(
        self,
        tracing: "OtelTracing",
        of: Trace,
        parent: int | None,
        name: str,
        attributes: Attributes,
        kind: Kind,
        *,
        detached: bool = False,
        is_parent_away: bool = False,
    ) -> None:
        self._tracing = tracing
        self.trace = of
        self.id = tracing.new_id()
        self._parent = parent
        self._is_parent_away = is_parent_away
        self._name = name
        self._attributes = attributes
        self._kind = kind
        self._is_detached = detached
        self._failed = False
        self._started = time_ns()

    def __enter__(self) -> Self:
        if not self._is_detached:
            self._before = _under_way.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.fail(kind.__qualname__)
        if not self._is_detached:
            _go_back(self._before)
        if self.trace.is_sampled:
            self._tracing.tell(self._ended())

    def _ended(self) -> EndedSpan:
        return (
            self.trace.id,
            self.trace.state,
            self.id,
            self._parent,
            self._is_parent_away,
            self._name,
            self._kind,
            self._started,
            time_ns(),
            self._failed,
            self._attributes,
        )

    def note(self, attributes: Attributes) -> None:
        self._attributes = {**self._attributes, **attributes}

    def rename(self, name: str) -> None:
        self._name = name

    def fail(self, reason: str) -> None:
        self.note({"error.type": reason})
        self._failed = True

    @contextmanager
    def within(self) -> Iterator[None]:
        before = _under_way.set(self)
        try:
            yield
        finally:
            _go_back(before)


_under_way: ContextVar[OpenSpan | None] = ContextVar("span_under_way", default=None)


def _go_back(before: Token[OpenSpan | None]) -> None:
    try:  # noqa: SIM105, which takes as long as all else that an end does
        _under_way.reset(before)
    except ValueError:  # left by another task, which has nothing to go back from
        pass


class OtelTracing:
    """`backend.telemetry.spans.Tracing` that hands each span that has ended to `tell`."""

    def __init__(
        self, provider: TracerProvider, tell: Callable[[EndedSpan], None], *, tells_texts: bool
    ) -> None:
        self.tells_texts = tells_texts
        self.tell = tell
        self.new_id = provider.id_generator.generate_span_id
        self._new_trace_id = provider.id_generator.generate_trace_id
        self._sampler = provider.sampler

    def span(
        self, name: str, attributes: Attributes, kind: Kind, *, detached: bool = False
    ) -> Span:
        parent = _under_way.get()
        if parent is None:
            return self._begin(name, attributes, kind, _NO_CALLER, detached=detached)
        if not parent.trace.is_sampled:
            return SILENCE
        return OpenSpan(self, parent.trace, parent.id, name, attributes, kind, detached=detached)

    def request(
        self, name: str, attributes: Attributes, headers: Iterable[tuple[bytes, bytes]]
    ) -> Span:
        """The span of a request, a part of its caller's trace where it brings one."""
        told = {
            _TRACE_HEADERS[name]: value.decode("latin-1")
            for name, value in headers
            if name in _TRACE_HEADERS
        }
        caller = _PROPAGATOR.extract(told, _NO_CALLER) if told else _NO_CALLER
        return self._begin(name, attributes, "server", caller)

    def _begin(
        self,
        name: str,
        attributes: Attributes,
        kind: Kind,
        caller: Context,
        *,
        detached: bool = False,
    ) -> OpenSpan:
        """The first span of ours in its trace, with which it is settled whether it is sampled."""
        parent = trace.get_current_span(caller).get_span_context()
        trace_id = parent.trace_id if parent.is_valid else self._new_trace_id()
        sampled = self._sampler.should_sample(caller, trace_id, name, _SPAN_KINDS[kind], attributes)
        is_sampled = sampled.decision is Decision.RECORD_AND_SAMPLE
        return OpenSpan(
            self,
            Trace(trace_id, is_sampled=is_sampled, state=sampled.trace_state),
            parent.span_id if parent.is_valid else None,
            name,
            attributes,
            kind,
            detached=detached,
            is_parent_away=parent.is_remote,
        )

    def leaf(self, name: str, attributes: Attributes) -> Span:
        parent = _under_way.get()
        if parent is None or not parent.trace.is_sampled:
            return SILENCE
        return OpenSpan(self, parent.trace, parent.id, name, attributes, "client", detached=True)

    def ids(self) -> tuple[str, str] | None:
        span = _under_way.get()
        return None if span is None else (f"{span.trace.id:032x}", f"{span.id:016x}")

    def carrier(self) -> dict[str, str]:
        span = _under_way.get()
        if span is None:
            return {}
        of = span.trace
        told = {"traceparent": f"00-{of.id:032x}-{span.id:016x}-{of.is_sampled:02x}"}
        return told | {"tracestate": of.state} if of.state else told
