"""Spans in the bytes in which OTLP sends them.

What the SDK keeps of a span until it is sent, and how it writes it then, takes ten times as long.
Each message is written by its own package, and what comes again, as most attributes do, is
written once. That bytes can be put together is protobuf's: two messages behind each other are
one that has the fields of both, and one inside another is its bytes behind their length.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import (
    ResourceSpans,
    ScopeSpans,
    Span,
    SpanFlags,
    Status,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from backend.telemetry.spans import Attributes, Kind

type EndedSpan = tuple[int, str, int, int | None, bool, str, Kind, int, int, bool, Attributes]
"""Ids of its trace, the trace's state, its id and its parent's, whether that is in another
process, name, kind, start, end, whether it has failed, attributes.

A tuple of such is nothing that the garbage collector visits while it waits to be sent.
"""
_WIRE_KINDS: dict[Kind, Span.SpanKind.ValueType] = {
    "internal": Span.SPAN_KIND_INTERNAL,
    "server": Span.SPAN_KIND_SERVER,
    "client": Span.SPAN_KIND_CLIENT,
}
_ERROR = Status(code=Status.STATUS_CODE_ERROR)
_PARENT_HERE = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_PARENT_AWAY = _PARENT_HERE | int(SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
_COMES_AGAIN_MAX = 500
"""Characters of a text up to which it may be one that comes again."""


class WireExporter(OTLPSpanExporter):
    """The SDK's exporter, for spans that write themselves."""

    def described(self, resource: Resource, scope: InstrumentationScope) -> None:
        """Say whose spans they are; before the first is sent."""
        nothing = ReadableSpan(
            "", INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=scope
        )
        (ours,) = encode_spans([nothing]).resource_spans
        (spans,) = ours.scope_spans
        del ours.scope_spans[:], spans.spans[:]
        self._resource, self._scope = ours.SerializeToString(), spans.SerializeToString()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        ended = cast(Sequence[EndedSpan], spans)
        whole = b"".join([self._scope, *map(_span_in_scope, ended)])
        of_scope = _inside(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, whole)
        number = ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER
        sent = self._client.export(_inside(number, self._resource + of_scope))
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE


def _span_in_scope(ended: EndedSpan) -> bytes:
    """A span as a part of its scope."""
    of, state, own, parent, is_parent_away, name, kind, start, end, failed, attributes = ended
    span = Span(
        trace_id=of.to_bytes(16),
        trace_state=state,
        span_id=own.to_bytes(8),
        parent_span_id=b"" if parent is None else parent.to_bytes(8),
        flags=_PARENT_AWAY if is_parent_away else _PARENT_HERE,
        name=name,
        kind=_WIRE_KINDS[kind],
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        status=_ERROR if failed else None,
    )
    told = [span.SerializeToString()]
    for name, value in attributes.items():
        if isinstance(value, list):
            told.append(_attribute_again(name, tuple(value)))
        elif isinstance(value, str) and len(value) > _COMES_AGAIN_MAX:
            told.append(_attribute(name, value))
        else:
            told.append(_attribute_again(name, value))
    return _inside(ScopeSpans.SPANS_FIELD_NUMBER, b"".join(told))


def _attribute(name: str, value: str | float | tuple[str, ...]) -> bytes:
    """A part of a span; nothing where the value cannot be written, as half a character."""
    try:
        told = Span(attributes=[KeyValue(key=name, value=_any(value))])
        written: bytes = told.SerializeToString()
    except ValueError:
        return b""
    return written


@lru_cache(maxsize=1000, typed=True)
def _attribute_again(name: str, value: str | float | tuple[str, ...]) -> bytes:
    return _attribute(name, value)


def _any(value: str | float | tuple[str, ...]) -> AnyValue:
    match value:
        case str():
            return AnyValue(string_value=value)
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case _:
            return AnyValue(array_value=ArrayValue(values=[_any(each) for each in value]))


def _inside(number: int, message: bytes) -> bytes:
    """The field `number` of another message, which `message` is."""
    head, length = bytearray([number << 3 | 2]), len(message)
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head) + message
