"""Spans: what a request and a turn consist of, told to a tracer where there is one.

This is all that the rest of the service knows of tracing. Where it is off, as by default, a span
is one look at a name, and nothing of OpenTelemetry's is imported for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol, Self

type Value = str | int | float | bool | list[str]
type Attributes = Mapping[str, Value]
type Kind = Literal["internal", "server", "client"]

NOTHING: Attributes = {}


class Span(Protocol):
    """A span under way: within its block what is begun is a part of it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    def note(self, attributes: Attributes) -> None:
        """Add to what is told of it; never a person's words, a token or a key."""
        ...

    def rename(self, name: str) -> None: ...

    def fail(self, reason: str) -> None:
        """Say that it has failed, and in one word why."""
        ...

    def within(self) -> AbstractContextManager[object]:
        """A stretch inside the block of a `detached` span, for what is a part of it."""
        ...


class Silence:
    """The span where nobody listens."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, _: Attributes) -> None:
        pass

    def rename(self, _: str) -> None:
        pass

    def fail(self, _: str) -> None:
        pass

    def within(self) -> Self:
        return self


SILENCE = Silence()


class Tracing(Protocol):
    """What spans are told to."""

    tells_texts: bool
    """Whether people's texts may be told, which the operator has to ask for."""

    def span(
        self, name: str, attributes: Attributes, kind: Kind, *, detached: bool = False
    ) -> Span: ...

    def request(
        self, name: str, attributes: Attributes, headers: Iterable[tuple[bytes, bytes]]
    ) -> Span: ...

    def leaf(self, name: str, attributes: Attributes) -> Span:
        """A call of another program, of which nothing is a part; silent outside of a span."""
        ...

    def ids(self) -> tuple[str, str] | None: ...

    def carrier(self) -> dict[str, str]: ...


_tracing: Tracing | None = None


@contextmanager
def told_to(tracing: Tracing) -> Iterator[None]:
    """Have the spans of this process told to `tracing` inside the block."""
    global _tracing
    before, _tracing = _tracing, tracing
    try:
        yield
    finally:
        _tracing = before


def tracing() -> Tracing | None:
    """What spans are told to now; None where they are off."""
    return _tracing


def span(
    name: str, attributes: Attributes = NOTHING, kind: Kind = "internal", *, detached: bool = False
) -> Span:
    """A part of what is under way; `detached`, it is that only in stretches `within` it.

    So has a span to be whose block another task may leave, as that of a generator. An exception
    that leaves the block is told by its type alone.
    """
    if _tracing is None:
        return SILENCE
    return _tracing.span(name, attributes, kind, detached=detached)


def trace_fields() -> dict[str, str]:
    """The ids of the span under way, as log lines carry them; empty where there is none."""
    ids = _tracing.ids() if _tracing is not None else None
    return {} if ids is None else {"trace_id": ids[0], "span_id": ids[1]}


def carrier() -> dict[str, str]:
    """The header fields by which a server that is asked now can go on with the trace."""
    return {} if _tracing is None else _tracing.carrier()
