"""A person's tasks, page by page: those that match, how many there are, and those still open."""

from collections.abc import Sequence
from functools import cache
from itertools import batched
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Select,
    any_,
    bindparam,
    func,
    select,
    tuple_,
)

from backend.cursors import POSITION, Position, position_values
from backend.database import Session, execute
from backend.tasks.filters import ALL, FIRST, PLACES, Sort, TaskFilter, matching, place_of
from backend.tasks.stored import (
    COLUMNS,
    OWNED,
    StoredTask,
    read_task,
    table,
)

LISTED_MAX = 5000
"""Tasks of one answer at the most."""
READ_AT_ONCE = 250
"""Rows that one statement reads, so that no list holds up the event loop."""
_BY_IDS = select(*COLUMNS).where(OWNED, table.c.id == any_(bindparam("ids", ARRAY(BigInteger))))


@cache
def _count_of(names: frozenset[str]) -> Select[*tuple[Any, ...]]:
    return select(func.count()).where(matching(names))


@cache
def _page_of(names: frozenset[str], sort: Sort) -> Select[*tuple[Any, ...]]:
    total = _count_of(names).scalar_subquery().label("total")
    return _in_order(select(*COLUMNS, total), names, sort)


@cache
def _ids_of(names: frozenset[str], sort: Sort) -> Select[*tuple[Any, ...]]:
    return _in_order(select(table.c.id), names, sort)


def _in_order(
    selected: Select[*tuple[Any, ...]], names: frozenset[str], sort: Sort
) -> Select[*tuple[Any, ...]]:
    """`limit` of the tasks that match, behind a position in the order of `sort`."""
    place = tuple_(*PLACES[sort])
    return (
        selected.where(matching(names), place > POSITION if sort is Sort.DUE else place < POSITION)
        .order_by(*(each if sort is Sort.DUE else each.desc() for each in PLACES[sort]))
        .limit(bindparam("limit"))
    )


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

    One statement; where there are more than `READ_AT_ONCE` the order of the rest is asked once,
    and then its rows by so many ids.
    """
    filters = wanted.values
    names = frozenset(filters)
    behind = before or FIRST[sort]
    values = filters | {"owner": user_id}
    size = min(limit, READ_AT_ONCE)
    part = values | position_values(behind) | {"limit": size + 1}
    rows = (await execute(session, _page_of(names, sort), part)).all()
    if not rows:  # nothing stands behind the first place only where there is nothing at all
        return TaskPage([], await _count_tasks(session, names, values) if before else 0, None)
    found = [read_task(row) for row in rows[:size]]
    more = len(rows) > size
    if more and limit > size:
        part = values | position_values(place_of(found[-1], sort)) | {"limit": limit - size + 1}
        ids = (await execute(session, _ids_of(names, sort), part)).scalars()
        found += await _read_listed(session, user_id, ids[: limit - size])
        more = len(ids) > limit - size
    return TaskPage(found, rows[0].total, place_of(found[-1], sort) if more else None)


async def _read_listed(session: Session, user_id: str, ids: Sequence[int]) -> list[StoredTask]:
    """The tasks with these ids, in their order; what was deleted meanwhile is left out."""
    found: dict[int, StoredTask] = {}
    for some in batched(ids, READ_AT_ONCE, strict=False):
        rows = await execute(session, _BY_IDS, {"owner": user_id, "ids": list(some)})
        found.update((row.id, read_task(row)) for row in rows)
    return [found[each] for each in ids if each in found]


async def _count_tasks(session: Session, names: frozenset[str], values: dict[str, object]) -> int:
    count: int = (await execute(session, _count_of(names), values)).scalar_one()
    return count
