"""What each of the five tools does, and what it answers the model with; no rules of its own."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from backend.agent.arguments import read_ids
from backend.agent.named_tasks import ask_which
from backend.agent.task_arguments import (
    Caller,
    are_changes,
    given_fields,
    given_steps,
    own_project,
    with_tags,
)
from backend.agent.task_results import Result, completed, summary, told
from backend.conversations.tool_calls import Undo
from backend.errors import ValidationFailed
from backend.journal.undo import changed, made
from backend.schemas.fields import iso_utc
from backend.tasks import rules as tasks
from backend.tasks import several
from backend.tasks.fields import TaskCreate, TaskUpdate
from backend.tasks.stored import StoredTask

UNDO_MAX_BYTES = 256_000
"""Of what it takes to undo a call about several tasks: the long texts of a hundred are too long."""
Done = tuple[Result, Undo | None]
"""What came of a call, and what it takes to undo it; None where it only looked."""
Run = Callable[[Caller, dict[str, Any]], Awaitable[Done]]


async def add_task(caller: Caller, given: dict[str, Any]) -> Done:
    fields, said = await given_fields(caller, given)
    new = TaskCreate.model_validate(fields | given_steps(given))
    new.project_id = fields.get("project_id") or await own_project(caller)
    task = await tasks.add_task(caller.session, caller.user_id, new, caller.zone)
    result = summary(task) | {
        "status": "pending",
        "message": f'Added "{task.title}" as task {task.id}.',
    }
    return result | said, made(task)


async def complete_task(caller: Caller, given: dict[str, Any]) -> Done:
    ids = read_ids(given)
    before = await several.lock_several(caller.session, caller.user_id, ids)
    await _one_is_meant(caller, before)
    done = await several.complete_several(caller.session, caller.user_id, before, caller.zone)
    undo = [
        change
        for id_, each in done.items()
        for change in changed(before[id_], each.task) + made(each.following)
    ]
    return told("Completed", ids, {id_: completed(each) for id_, each in done.items()}), undo


async def _one_is_meant(caller: Caller, tasks: Mapping[int, StoredTask]) -> None:
    if caller.words and len(tasks) == 1:
        await ask_which(caller, *tasks.values())


async def delete_task(caller: Caller, given: dict[str, Any]) -> Done:
    ids = read_ids(given)
    before = await several.lock_several(caller.session, caller.user_id, ids)
    await _one_is_meant(caller, before)
    done = await several.delete_several(caller.session, caller.user_id, before)
    results = {
        id_: {
            "success": True,
            "task_id": id_,
            "title": task.title,
            "message": f'Deleted "{task.title}".',
        }
        for id_, task in done.items()
    }
    return told("Deleted", ids, results), _changed(before, done)


async def update_task(caller: Caller, given: dict[str, Any]) -> Done:
    ids = read_ids(given)
    if given.keys() == {"task_id"}:
        raise ValidationFailed("Nothing to change was given.")
    fields, said = await given_fields(caller, given)
    if len(ids) > 1 and ("steps" in given or "steps" in fields):
        raise ValidationFailed("steps: can be changed for one task at a time only")
    signed = fields.pop("tags") if are_changes(fields.get("tags") or ()) else []
    TaskUpdate.model_validate(fields)
    before = await several.lock_several(caller.session, caller.user_id, ids)
    steps = next((task.steps for task in before.values()), [])
    changes = TaskUpdate.model_validate(fields | given_steps(given, steps))
    tags = {id_: _tags_after(task, signed) for id_, task in before.items()} if signed else None
    done = await several.update_several(
        caller.session, caller.user_id, before, changes, caller.zone, tags
    )
    results = {
        id_: summary(task)
        | {"updated_at": iso_utc(task.updated_at), "message": f'Updated "{task.title}".'}
        for id_, task in done.items()
    }
    undo = _changed(before, done)
    if len(ids) > 1 and len(json.dumps(undo)) > UNDO_MAX_BYTES:
        raise ValidationFailed("These are too many to change at once. Nothing was changed.")
    return told("Updated", ids, results) | said, undo


def _tags_after(task: StoredTask, signed: list[str]) -> list[str]:
    return TaskUpdate.model_validate({"tags": with_tags(task.tags, signed)}).tags


def _changed(before: Mapping[int, StoredTask], done: Mapping[int, StoredTask]) -> Undo:
    return [change for id_, task in done.items() for change in changed(before[id_], task)]
