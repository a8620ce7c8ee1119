"""The task rules for several tasks of a person at once: one statement for all of them.

An id that is none of theirs is left out, as one task would be missing. Rows are locked in the
order of their ids, as undo locks them, so that two who change the same ones do not wait for each
other. Nothing here commits: the caller's transaction does.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import JSON, BigInteger, Text, and_, any_, bindparam, cast, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.dml import ReturningUpdate

from backend.database import Session
from backend.errors import ProjectNotFound
from backend.models import ID_MAX
from backend.tasks.fields import TaskUpdate
from backend.tasks.projects import known_project
from backend.tasks.rules import NEXT, Completion, columns_of, next_values, setting
from backend.tasks.stored import COLUMNS, OWNED, StoredTask, read_task, read_tasks, table

SEVERAL_MAX = 100
"""Tasks of one call at the most."""
_SEVERAL_OWNED = and_(table.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))), OWNED)
_NOW = func.clock_timestamp()
_FIND_SEVERAL = select(*COLUMNS).where(_SEVERAL_OWNED).order_by(table.c.id)
_LOCK_IN_ORDER = _FIND_SEVERAL.with_for_update(of=table)
_CHANGE_SEVERAL = update(table).where(_SEVERAL_OWNED).values(updated_at=_NOW).returning(*COLUMNS)
_COMPLETE_SEVERAL = _CHANGE_SEVERAL.values(completed=True, completed_at=_NOW)
_TAGS_OF_EACH = bindparam("tags_by_id", type_=JSON).op("->")(cast(table.c.id, Text))
_DELETE_SEVERAL = _CHANGE_SEVERAL.values(deleted_at=_NOW)

type Tasks = dict[int, StoredTask]
"""Tasks by their ids."""


async def find_several(session: Session, user_id: str, ids: Iterable[int]) -> Tasks:
    """Those of the tasks that the person has."""
    return await _read_several(session, _FIND_SEVERAL, user_id, ids)


async def lock_several(session: Session, user_id: str, ids: Iterable[int]) -> Tasks:
    """The same as they stand until this transaction changes them."""
    return await _read_several(session, _LOCK_IN_ORDER, user_id, ids)


async def complete_several(
    session: Session, user_id: str, tasks: Tasks, zone: str | None = None
) -> dict[int, Completion]:
    """Complete tasks that are locked; one that is done already stays as it is.

    Those that recur have their next occurrences, once however often they are completed.
    """
    wanted = [task.id for task in tasks.values() if not task.completed]
    done = await _read_several(session, _COMPLETE_SEVERAL, user_id, wanted) if wanted else {}
    following = await _repeat_each(session, list(done.values()), zone)
    return {
        id_: Completion(done.get(id_, before), following.get(id_)) for id_, before in tasks.items()
    }


async def _repeat_each(session: Session, done: Sequence[StoredTask], zone: str | None) -> Tasks:
    """The next occurrences that were made of tasks just completed, by the ids of these."""
    recurring = [(task.id, new) for task in done if (new := next_values(task, zone))]
    if not recurring:
        return {}
    made = await session.flight(*((NEXT, new) for _, new in recurring))
    rows = zip(recurring, (result.one_or_none() for result in made), strict=True)
    return {id_: read_task(row) for (id_, _), row in rows if row is not None}


async def delete_several(session: Session, user_id: str, tasks: Tasks) -> Tasks:
    """Delete tasks that are locked, softly."""
    return await _read_several(session, _DELETE_SEVERAL, user_id, tasks)


async def update_several(
    session: Session,
    user_id: str,
    tasks: Tasks,
    changes: TaskUpdate,
    zone: str | None = None,
    tags: Mapping[int, list[str]] | None = None,
) -> Tasks:
    """Set the fields that were sent in tasks that are locked, one or more; as `update_task`.

    `tags` are those of each task by its id, where they are not alike.

    Raises:
        ProjectNotFound: their new project is not one of the user's.
    """
    sent = columns_of(changes, changes.model_fields_set)
    project = known_project(sent.get("project_id"))
    values = {f"new_{name}": value for name, value in sent.items()}
    if tags is not None:
        values["tags_by_id"] = {str(id_): each for id_, each in tags.items()}
    statement = _setting_several(frozenset(sent), tags is not None)
    changed = await _read_several(session, statement, user_id, tasks, zone=zone, **values)
    if "project_id" in sent and any(each.project_id != project for each in changed.values()):
        raise ProjectNotFound
    return changed


@cache
def _setting_several(
    names: frozenset[str], each_its_tags: bool
) -> ReturningUpdate[*tuple[Any, ...]]:
    change = setting(_CHANGE_SEVERAL, names) if names else _CHANGE_SEVERAL
    return change.values(tags=_TAGS_OF_EACH) if each_its_tags else change


async def _read_several(
    session: Session, statement: Any, user_id: str, ids: Iterable[int], **more: object
) -> Tasks:
    storable = [id_ for id_ in ids if 0 < id_ <= ID_MAX]
    if not storable:
        return {}
    found = await read_tasks(session, statement, {"owner": user_id, "ids": storable, **more})
    return {task.id: task for task in found}
