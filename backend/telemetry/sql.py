"""A round trip to the database, as it is told."""

import re
from collections.abc import Sequence
from functools import lru_cache
from time import perf_counter
from typing import Protocol

from backend.telemetry import figures, spans

TEXT_MAX = 500
"""Characters of a round trip's SQL that are told; it has `$1` where values go, never a value.

The whole of it would cost as much again as the span.
"""
_WRITES = re.compile(r"(?<!FOR )(?<!DO )\b(INSERT INTO|UPDATE|DELETE FROM) (\w+)")
_READS = re.compile(r"\b(SELECT)\b.*? FROM (\w+)")


class Query(Protocol):
    @property
    def sql(self) -> bytes: ...


class Asked(Protocol):
    @property
    def query(self) -> Query: ...


class _Flight:
    """A round trip that is timed, inside its block."""

    __slots__ = ("_span", "_started")

    def __init__(self, span: spans.Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._span.__enter__()
        self._started = perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        seconds = perf_counter() - self._started
        labels = figures.NO_LABELS if kind is None else {"error.type": kind.__name__}
        figures.SQL_SECONDS.record(seconds, labels)
        self._span.__exit__(kind, *rest)


def flight(asked: Sequence[Asked]) -> "_Flight | spans.Silence":
    """The round trip that asks all of these at once."""
    if spans.tracing() is None and not figures.SQL_SECONDS.is_on:
        return spans.SILENCE
    return _Flight(_span(asked))


def _span(asked: Sequence[Asked]) -> spans.Span:
    """A part of what is under way; what nobody has asked for, as a look each second, is none."""
    tracing = spans.tracing()
    if tracing is None:
        return spans.SILENCE
    return tracing.leaf(*_described(tuple(each.query.sql for each in asked)))


@lru_cache(maxsize=1000)
def _described(flight: tuple[bytes, ...]) -> tuple[str, spans.Attributes]:
    told = [_statement_in_short(sql) for sql in flight]
    summary = "; ".join(summary for summary, _ in told if summary)[:255] or "SQL"
    attributes: dict[str, spans.Value] = {
        "db.system.name": "postgresql",
        "db.query.text": "; ".join(text for _, text in told)[:TEXT_MAX],
    }
    if len(told) > 1:
        attributes["db.operation.batch.size"] = len(told)
    return summary, attributes


def _statement_in_short(sql: bytes) -> tuple[str, str]:
    """A statement in short, such as `UPDATE messages`, and its text in one line."""
    text = " ".join(sql.decode().split())
    found = _WRITES.search(text) or _READS.search(text)
    return f"{found[1].split()[0]} {found[2]}" if found else text.split(" ")[0], text
