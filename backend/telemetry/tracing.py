"""Spans as OpenTelemetry has them. Imported only where they are on.

What is sampled, how it is sent and what it looks like is the SDK's. Only a span under way is ours:
the SDK's own takes five times as long, with locks and limits for what others might do to it, and
all spans of a turn together would cost more of the processor than a turn may pay.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import Token
from time import time_ns
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from backend.telemetry.spans import SILENCE, Attributes, Kind, Span, Value

_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
}
_PROPAGATOR = TraceContextTextMapPropagator()
"""Not baggage, which would carry what strangers say on to providers and to servers of tools."""
_TRACE_HEADERS = {b"traceparent": "traceparent", b"tracestate": "tracestate"}
_UNSET = Status()
_ERROR = Status(StatusCode.ERROR)


class OpenSpan:
    """A span under way; an exception is told by its type, never by its message."""

    __slots__ = (
        "_attached",
        "_attributes",
        "_detached",
        "_kind",
        "_name",
        "_own",
        "_parent",
        "_started",
        "_status",
        "_tracing",
    )

    def __init__(
        self,
        tracing: "OtelTracing",
        name: str,
        attributes: Attributes,
        kind: Kind,
        own: SpanContext,
        parent: SpanContext | None,
        *,
        detached: bool = False,
    ) -> None:
        self._tracing = tracing
        self._name = name
        self._attributes: dict[str, Value] = dict(attributes)
        self._kind = kind
        self._own = own
        self._parent = parent
        self._detached = detached
        self._status = _UNSET
        self._attached: Token[Context] | None = None
        self._started = time_ns()

    def __enter__(self) -> Self:
        if not self._detached:
            self._attached = self._attach()
        return self

    def _attach(self) -> Token[Context]:
        return attach(trace.set_span_in_context(NonRecordingSpan(self._own)))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.fail(kind.__qualname__)
        if self._attached is not None:
            detach(self._attached)
        if self._own.trace_flags.sampled:
            self._tracing.tell(self._ended())

    def _ended(self) -> ReadableSpan:
        return ReadableSpan(
            name=self._name,
            context=self._own,
            parent=self._parent,
            resource=self._tracing.resource,
            attributes=self._attributes,
            kind=_KINDS[self._kind],
            status=self._status,
            start_time=self._started,
            end_time=time_ns(),
            instrumentation_scope=self._tracing.scope,
        )

    def note(self, attributes: Attributes) -> None:
        self._attributes.update(attributes)

    def rename(self, name: str) -> None:
        self._name = name

    def fail(self, reason: str) -> None:
        self._attributes["error.type"] = reason
        self._status = _ERROR

    @contextmanager
    def within(self) -> Iterator[None]:
        token = self._attach()
        try:
            yield
        finally:
            detach(token)


class OtelTracing:
    """`backend.telemetry.spans.Tracing` that tells a processor of the SDK's."""

    def __init__(
        self, provider: TracerProvider, processor: SpanProcessor, name: str, *, tells_texts: bool
    ) -> None:
        self.tells_texts = tells_texts
        self.tell = processor.on_end
        self.resource = provider.resource
        self.scope = InstrumentationScope(name)
        self._sampler = provider.sampler
        self._ids = provider.id_generator

    def span(
        self, name: str, attributes: Attributes, kind: Kind, *, detached: bool = False
    ) -> Span:
        parent = _current()
        if not parent.is_valid:
            return self._begin(name, attributes, kind, Context(), detached=detached)
        if not parent.trace_flags.sampled:
            return SILENCE
        return OpenSpan(
            self, name, attributes, kind, self._below(parent), parent, detached=detached
        )

    def request(
        self, name: str, attributes: Attributes, headers: Iterable[tuple[bytes, bytes]]
    ) -> Span:
        """The span of a request, a part of its caller's trace where it brings one."""
        told = {
            _TRACE_HEADERS[name]: value.decode("latin-1")
            for name, value in headers
            if name in _TRACE_HEADERS
        }
        return self._begin(name, attributes, "server", _PROPAGATOR.extract(told, Context()))

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
        trace_id = parent.trace_id if parent.is_valid else self._ids.generate_trace_id()
        sampled = self._sampler.should_sample(caller, trace_id, name, _KINDS[kind], attributes)
        is_sampled = sampled.decision is Decision.RECORD_AND_SAMPLE
        flags = trace.TraceFlags.SAMPLED if is_sampled else trace.TraceFlags.DEFAULT
        own = SpanContext(
            trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=trace.TraceFlags(flags),
            trace_state=sampled.trace_state,
        )
        above = parent if parent.is_valid else None
        return OpenSpan(self, name, attributes, kind, own, above, detached=detached)

    def leaf(self, name: str, attributes: Attributes) -> Span:
        parent = _current()
        if not (parent.is_valid and parent.trace_flags.sampled):
            return SILENCE
        return OpenSpan(
            self, name, attributes, "client", self._below(parent), parent, detached=True
        )

    def _below(self, parent: SpanContext) -> SpanContext:
        return SpanContext(
            parent.trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=parent.trace_flags,
            trace_state=parent.trace_state,
        )

    def ids(self) -> tuple[str, str] | None:
        current = _current()
        if not current.is_valid:
            return None
        return trace.format_trace_id(current.trace_id), trace.format_span_id(current.span_id)

    def carrier(self) -> dict[str, str]:
        told: dict[str, str] = {}
        _PROPAGATOR.inject(told)
        return told


def _current() -> SpanContext:
    return trace.get_current_span().get_span_context()
