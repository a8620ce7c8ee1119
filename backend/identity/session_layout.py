"""How Better Auth's session table looks here: its generators name and type it differently.

Its own migrations and Prisma write `"session"` with `"userId"` and `"expiresAt"`, Drizzle
`user_id` and `expires_at`, without a zone and perhaps in the plural. The settings name what
is called otherwise.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    TIMESTAMP,
    ColumnClause,
    ColumnElement,
    Row,
    Select,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.sql.elements import quoted_name

from backend.config import Settings
from backend.database import Session

TABLES = ("session", "sessions", "Session", "Sessions")
COLUMNS = (("token",), ("userId", "user_id"), ("expiresAt", "expires_at"))
"""What the token, the user and the end of the session may be called, in this order."""
_TIMES = ("timestamp with time zone", "timestamp without time zone")

_FIND_SESSION_TABLE = text("""
    SELECT candidate.name AS relation, attname AS name, format_type(atttypid, NULL) AS type,
        has_column_privilege(attrelid, attnum, 'SELECT') AS readable
    FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS candidate (name, place)
    JOIN pg_attribute ON attrelid = to_regclass(candidate.name)
    WHERE attnum > 0 AND NOT attisdropped ORDER BY candidate.place, attnum
""")


class Layout(NamedTuple):
    """The table as its names stand in the catalog, `schema.table` where it was set so."""

    table: str
    token: str
    user: str
    expires: str


class Unreadable(Exception):
    """The table is there and of no use; the text says why, without a value of any row."""


async def find_layout(session: Session, settings: Settings) -> Layout | None:
    """The first table that has all three columns; None where there is no table at all.

    Raises:
        Unreadable: there is one, but a column is missing, of another type, or not ours to read.
    """
    chosen = settings.better_auth_session_table
    names = (chosen,) if chosen else TABLES
    quoted = {_quoted(name): name for name in names}
    rows = (await session.execute(_FIND_SESSION_TABLE, {"tables": [*quoted]})).all()
    wanted = [(name,) for name in settings.better_auth_session_columns or ()] or COLUMNS
    problems = []
    for written, name in quoted.items():
        columns = [row for row in rows if row.relation == written]
        try:
            if columns:
                return _layout_of(name, columns, wanted)
        except Unreadable as problem:
            problems.append(problem)
    if problems:
        raise problems[0]
    return None


def _layout_of(name: str, columns: Sequence[Row[Any]], wanted: Sequence[tuple[str, ...]]) -> Layout:
    by_name = {row.name: row for row in columns}
    found = []
    for choices in wanted:
        present = next((choice for choice in choices if choice in by_name), None)
        if present is None:
            raise Unreadable(f"table {name} has no column {' or '.join(choices)}")
        if not by_name[present].readable:
            raise Unreadable(f"no right to read column {present} of table {name}")
        found.append(present)
    if by_name[found[-1]].type not in _TIMES:
        raise Unreadable(f"column {found[-1]} of table {name} is no timestamp")
    return Layout(name, *found)


def _quoted(name: str) -> str:
    """A name, `schema.table` perhaps, as SQL takes it to the letter."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))


def owner_query(layout: Layout) -> Select[Any]:
    """The user of the session whose `:token` it is, while the session lasts by Postgres's clock.

    A time without a zone is UTC, whatever the connection's time zone is. Its type is asked in
    the query, so that a table which is made anew meanwhile is still read rightly.
    """
    columns: list[ColumnClause[Any]] = [
        column(quoted_name(name, quote=True)) for name in layout[1:]
    ]
    *schema, name = (quoted_name(part, quote=True) for part in layout.table.split(".", 1))
    session = table(name, *columns, schema=schema[0] if schema else None)
    token, user, expires = (session.c[name] for name in layout[1:])
    return select(user).where(token == bindparam("token"), _lasts(expires))


def _lasts(expires: ColumnElement[Any]) -> ColumnElement[bool]:
    zoned = func.pg_typeof(expires) == literal_column("'timestamptz'::regtype")
    return case(
        (zoned, cast(expires, TIMESTAMP(timezone=True)) > func.now()),
        else_=cast(expires, TIMESTAMP()) > literal_column("now() AT TIME ZONE 'UTC'"),
    )
