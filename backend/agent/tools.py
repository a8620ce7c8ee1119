"""The five tools: names, descriptions and results for the model; no rules of their own.

The schemas are constants, built once; a request binds them to its user, its session and its
turn. Each call is one transaction: the task changed and the call recorded, or neither.
"""

import copy
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from agents import FunctionTool, Tool
from agents.strict_schema import ensure_strict_json_schema
from pydantic import BaseModel, Field, ValidationError

from backend.agent.arguments import WholeNumber, read_arguments, reasons, recordable
from backend.agent.events import Telling
from backend.agent.prompt import TOO_MANY_CALLS
from backend.agent.signatures import (
    LIST_MAX,
    AddTask,
    CompleteTask,
    DeleteTask,
    ListTasks,
    UpdateTask,
)
from backend.agent.wire.exchange import Reasoning, bounded
from backend.conversations.tool_calls import CALLS_MAX, ToolCall, Undo
from backend.database import Session
from backend.errors import AppError, TaskNotFound, ValidationFailed, is_outage
from backend.journal.turns import Turn, TurnClosed, record_call
from backend.journal.undo import changed, made
from backend.schemas.fields import iso_utc
from backend.tasks import rules as tasks
from backend.tasks.dates import due_text
from backend.tasks.fields import TaskCreate, TaskUpdate
from backend.tasks.listing import TaskFilter, list_tasks
from backend.tasks.stored import StoredTask

logger = logging.getLogger(__name__)

Result = dict[str, Any]
Done = tuple[Result, Undo | None]
"""What came of a call, and what it takes to undo it; None where it only looked."""


class Caller(NamedTuple):
    """Whose tasks a call is about, and in which transaction it is made."""

    session: Session
    user_id: str
    zone: str | None = None
    """The person's time zone by its name."""


Run = Callable[[Caller, dict[str, Any]], Awaitable[Done]]


async def _add_task(caller: Caller, given: dict[str, Any]) -> Done:
    task = await tasks.add_task(
        caller.session, caller.user_id, TaskCreate.model_validate(given), caller.zone
    )
    result = _summary(task) | {
        "status": "pending",
        "message": f'Added "{task.title}" as task {task.id}.',
    }
    return result, made(task)


class _Filter(BaseModel):
    status: Literal["all", "pending", "completed"] = "all"
    search: str | None = None
    limit: WholeNumber = Field(default=LIST_MAX, ge=1, le=LIST_MAX)


async def _list_tasks(caller: Caller, given: dict[str, Any]) -> Done:
    wanted = _Filter.model_validate(given)
    completed = {"all": None, "pending": False, "completed": True}[wanted.status]
    asked = TaskFilter(completed=completed, search=wanted.search or "")
    page = await list_tasks(caller.session, caller.user_id, asked, limit=wanted.limit)
    found, total = page.tasks, page.total
    counted = "1 task" if total == 1 else f"{total} tasks"
    rest = "." if total == len(found) else f"; these are the newest {len(found)}."
    result = {
        "success": True,
        "tasks": [
            {
                "task_id": task.id,
                "title": task.title,
                "description": task.description,
                "completed": task.completed,
                "priority": task.priority,
                "due_date": due_text(task.due),
                "created_at": iso_utc(task.created_at),
            }
            for task in found
        ],
        "count": len(found),
        "message": f"Found {counted}{rest}",
    }
    return result, None


class _Reference(BaseModel):
    task_id: WholeNumber


async def _complete_task(caller: Caller, given: dict[str, Any]) -> Done:
    task_id = _Reference.model_validate(given).task_id
    before = await tasks.lock_task(caller.session, caller.user_id, task_id)
    task, following = await tasks.set_completed(
        caller.session, caller.user_id, task_id, completed=True, zone=caller.zone
    )
    result = {
        "success": True,
        "task_id": task.id,
        "title": task.title,
        "status": "completed",
        "completed_at": iso_utc(task.completed_at),
        "message": f'Completed "{task.title}".',
    }
    return result, changed(before, task) + made(following)


async def _delete_task(caller: Caller, given: dict[str, Any]) -> Done:
    task_id = _Reference.model_validate(given).task_id
    before = await tasks.lock_task(caller.session, caller.user_id, task_id)
    task = await tasks.delete_task(caller.session, caller.user_id, task_id)
    result = {
        "success": True,
        "task_id": task.id,
        "title": task.title,
        "message": f'Deleted "{task.title}".',
    }
    return result, changed(before, task)


async def _update_task(caller: Caller, given: dict[str, Any]) -> Done:
    task_id = _Reference.model_validate(given).task_id
    changes = TaskUpdate.model_validate({k: v for k, v in given.items() if k != "task_id"})
    if not changes.model_fields_set:
        raise ValidationFailed("Nothing to change was given.")
    before = await tasks.lock_task(caller.session, caller.user_id, task_id)
    task = await tasks.update_task(caller.session, caller.user_id, task_id, changes, caller.zone)
    result = _summary(task) | {
        "updated_at": iso_utc(task.updated_at),
        "message": f'Updated "{task.title}".',
    }
    return result, changed(before, task)


def _summary(task: StoredTask) -> Result:
    return {
        "success": True,
        "task_id": task.id,
        "title": task.title,
        "description": task.description,
        "due_date": due_text(task.due),
        "priority": task.priority,
    }


@dataclass(frozen=True, slots=True)
class _Specification:
    parameters: frozenset[str]
    run: Run
    template: FunctionTool


async def _unbound(*_: object) -> str:
    raise RuntimeError("a tool template was called without a request")


def _specify(arguments: type[BaseModel], name: str, run: Run) -> _Specification:
    schema = arguments.model_json_schema()
    for part in (schema, *schema["properties"].values()):
        part.pop("title", None)
    template = FunctionTool(
        name=name,
        description=schema.pop("description"),
        params_json_schema=ensure_strict_json_schema(schema),
        on_invoke_tool=_unbound,
        # it is strict already; said only of the copies, or each would have it made so again
        strict_json_schema=False,
    )
    return _Specification(frozenset(arguments.model_fields), run, template)


TOOLS = (
    _specify(AddTask, "add_task", _add_task),
    _specify(ListTasks, "list_tasks", _list_tasks),
    _specify(CompleteTask, "complete_task", _complete_task),
    _specify(DeleteTask, "delete_task", _delete_task),
    _specify(UpdateTask, "update_task", _update_task),
)


def create_tools_for_user(
    user_id: str, session: Session, turn: Turn, telling: Telling | None = None
) -> list[Tool]:
    """The five tools, able to touch `user_id`'s tasks only and to write `turn`'s record.

    One call at a time may use them, since they share `session`; between calls it holds no
    connection. What a model gets wrong comes back as a result it can read; only a database
    that is away, or a turn that has been closed, ends the run with an exception.
    """

    def bind(tool: _Specification) -> FunctionTool:
        async def invoke(context: Any, raw: str) -> str:
            async with turn.calling:
                reasoning = turn.reasoning.get(getattr(context, "tool_call_id", ""))
                return await _call(tool, user_id, session, turn, raw, reasoning, telling)

        bound = copy.copy(tool.template)
        bound.on_invoke_tool = invoke
        bound.strict_json_schema = True
        return bound

    return [bind(tool) for tool in TOOLS]


async def _call(
    tool: _Specification,
    user_id: str,
    session: Session,
    turn: Turn,
    raw: str,
    reasoning: Reasoning | None,
    telling: Telling | None,
) -> str:
    if turn.stopped:
        raise TurnClosed
    if len(turn.calls) >= CALLS_MAX:
        return json.dumps(_failure(tool.template.name, ValidationFailed(TOO_MANY_CALLS)))
    given: dict[str, Any] = {}
    try:
        given = read_arguments(raw, tool.parameters)
        if done := _done_before(turn, tool.template.name, recordable(given)):
            return json.dumps(done, ensure_ascii=False)
        result, undo = await tool.run(Caller(session, user_id, turn.zone), given)
    except Exception as error:
        await session.rollback()
        result, undo = _failure(tool.template.name, error), None
    call = ToolCall(tool=tool.template.name, args=recordable(given), result=result)
    if undo is not None:
        call["undo"] = undo
    if reasoning:
        call["reasoning"] = bounded(reasoning)
    if telling and telling.said:
        call["said"] = telling.said
    await record_call(session, turn, call)
    await session.commit()
    turn.calls.append(call)
    if telling:
        telling.called(call)
    return json.dumps(result, ensure_ascii=False)


def _done_before(turn: Turn, name: str, args: dict[str, Any]) -> Result | None:
    """The result of the same call in an earlier attempt at this turn, once for each.

    The model was shown it, but one that asks all the same must not have it done again.
    """
    for call in turn.earlier:
        if call["tool"] == name and call["args"] == args:
            turn.earlier.remove(call)
            return call["result"]
    return None


def _failure(tool: str, error: Exception) -> Result:
    match error:
        case TaskNotFound():
            text, code = error.message, error.code
        case AppError():
            text, code = error.message, ValidationFailed.code
        case ValidationError():
            text, code = reasons(error), ValidationFailed.code
        case _ if is_outage(error):
            raise error
        case _:
            logger.error("tool failed", exc_info=error, extra={"fields": {"tool": tool}})
            text, code = "The tool failed. Nothing was changed.", "INTERNAL_ERROR"
    return {"success": False, "error": text, "error_code": code}
