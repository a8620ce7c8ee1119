"""Statements of SQLAlchemy as Postgres takes them: compiled once, values in their order."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql import psycopg

queries_logger = logging.getLogger("backend.database.queries")
"""Told each query when it is made, at DEBUG, with the `statement` that it is made of."""
_DIALECT: Any = psycopg.dialect(  # type: ignore[no-untyped-call]
    paramstyle="numeric_dollar"
)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """SQL with `$1`, and how its values are found among those that are given by name."""

    sql: bytes
    names: tuple[str, ...] = ()
    literals: Mapping[str, object] = MappingProxyType({})
    """The values that the statement itself holds."""
    adapt: Sequence[tuple[str, Callable[[Any], Any]]] = ()
    """What a column's type makes of a value, where it makes something else of it."""

    @property
    def only_reads(self) -> bool:
        """Whether it may be sent again though it may have been done."""
        return self.sql.lstrip()[:6].upper() == b"SELECT"

    def values(self, given: Mapping[str, object]) -> list[object]:
        """The values in the order of their numbers."""
        named = {**self.literals, **given}
        for name, adapt in self.adapt:
            named[name] = adapt(named[name])
        return [named[name] for name in self.names]


_made: WeakKeyDictionary[Executable, dict[tuple[str, ...], Query]] = WeakKeyDictionary()


def query_of(statement: Executable, given: Mapping[str, object]) -> Query:
    """The query of a statement, made the first time it is sent with values of these names.

    The names of an INSERT or UPDATE are columns to be written, as SQLAlchemy has it. A
    statement that is built for each call is made each time, which costs more than sending it.
    """
    made = _made.setdefault(statement, {})
    names = tuple(given)
    query = made.get(names)
    if query is None:
        query = made[names] = _make(statement, names)
        if queries_logger.isEnabledFor(logging.DEBUG):
            queries_logger.debug("%s", query.sql.decode(), extra={"statement": statement})
    return query


def _make(statement: Executable, given: tuple[str, ...]) -> Query:
    compiled: Any = statement.compile(  # type: ignore[attr-defined]
        dialect=_DIALECT, column_keys=list(given), compile_kwargs={"render_postcompile": True}
    )
    names: tuple[str, ...] = tuple(compiled.positiontup or ())
    binds = {name: compiled.binds[name] for name in names}
    literals = {
        name: bind.effective_value
        for name, bind in binds.items()
        if name not in given and not bind.required
    }
    literals |= {column.key: column.default.arg for column in compiled.insert_prefetch}
    adapt = []
    for name, bind in binds.items():
        processor = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
        if processor is not None:
            adapt.append((name, processor))
    return Query(str(compiled).encode(), names, literals, adapt)
