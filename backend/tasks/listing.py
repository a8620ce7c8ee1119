"""A person's tasks, page by page: those that match, how many there are, and those still open."""

from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Select,
    bindparam,
    func,
    select,
    tuple_,
)

from backend.conversations.cursors import POSITION, Position, position_values
from backend.database import Session, execute
from backend.tasks.filters import ALL, FIRST, PLACES, Sort, TaskFilter, matching, place_of
from backend.tasks.stored import (
    COLUMNS,
    StoredTask,
    read_task,
)

LISTED_MAX = 5000
"""Tasks of one answer at the most."""
READ_AT_ONCE = 250
"""Rows that one statement reads, so that no list holds up the event loop."""


@cache
def _count_of(names: frozenset[str]) -> Select[*tuple[Any, ...]]:
    return select(func.count()).where(matching(names))


@cache
def _page_of(names: frozenset[str], sort: Sort, *, counted: bool) -> Select[*tuple[Any, ...]]:
    place = tuple_(*PLACES[sort])
    page = (
        select(*COLUMNS)
        .where(matching(names), place > POSITION if sort is Sort.DUE else place < POSITION)
        .order_by(*(each if sort is Sort.DUE else each.desc() for each in PLACES[sort]))
        .limit(bindparam("limit"))
    )
    total = _count_of(names).scalar_subquery().label("total")
    return page.add_columns(total) if counted else page


class TaskPage(NamedTuple):
    """Some tasks, in the order that was asked for."""

    tasks: list[StoredTask]
    total: int
    """All that match, wherever the page begins."""
    next: Position | None
    """Where the following page begins; None at the end."""


async def list_tasks(
    session: Session,
    user_id: str,
    wanted: TaskFilter = ALL,
    *,
    limit: int = LISTED_MAX,
    before: Position | None = None,
    sort: Sort = Sort.CREATED,
) -> TaskPage:
    """The first `limit` tasks, 1 or more, behind a position; without one from the beginning.

    One statement, or one for each `READ_AT_ONCE` where there are more.
    """
    filters = wanted.values
    names = frozenset(filters)
    before = before or FIRST[sort]
    values = filters | {"owner": user_id}
    found: list[StoredTask] = []
    total, more = None, True
    while more and len(found) < limit:
        size = min(limit - len(found), READ_AT_ONCE)
        statement = _page_of(names, sort, counted=total is None)
        part = values | position_values(before) | {"limit": size + 1}
        rows = (await execute(session, statement, part)).all()
        if rows and total is None:
            total = rows[0].total
        found += map(read_task, rows[:size])
        more = len(rows) > size
        before = place_of(found[-1], sort) if found else before
    if total is None:  # where nothing stands behind the first place there is nothing at all
        count = before != FIRST[sort] and await _count(session, names, values)
        total = int(count)
    return TaskPage(found, total, before if more else None)


async def _count(session: Session, names: frozenset[str], values: dict[str, object]) -> int:
    count: int = (await execute(session, _count_of(names), values)).scalar_one()
    return count
