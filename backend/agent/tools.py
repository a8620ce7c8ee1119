"""The five tools: names, descriptions and results for the model; no rules of their own.

The schemas are constants, built once; a request binds them to its user, its session and its
turn. Each call is one transaction: the task changed and the call recorded, or neither.
"""

import copy
import json
import logging
from dataclasses import dataclass
from typing import Any

from agents import FunctionTool, Tool
from agents.strict_schema import ensure_strict_json_schema
from pydantic import BaseModel, ValidationError

from backend.agent import list_tool, task_tools
from backend.agent.arguments import read_arguments, read_ids, reasons, recordable
from backend.agent.context.tokens import at_most
from backend.agent.context.truncate import compact, shown
from backend.agent.signatures import (
    AddTask,
    CompleteTask,
    DeleteTask,
    ListTasks,
    UpdateTask,
)
from backend.agent.task_arguments import Caller
from backend.agent.task_results import Result, told
from backend.agent.task_tools import Run
from backend.agent.wire.exchange import Reasoning, bounded
from backend.agent.words.events import Telling
from backend.agent.words.prompt import TOO_MANY_CALLS
from backend.agent.words.seen import SeenCall
from backend.conversations.approvals import request_approval
from backend.conversations.tool_calls import (
    CALLS_MAX,
    LIST_LEAST_BYTES,
    LIST_MAX_BYTES,
    LISTS_MAX_BYTES,
    RECORD_MAX_BYTES,
    ToolCall,
    dump_calls,
)
from backend.database import Session
from backend.errors import AppError, TaskNotFound, ValidationFailed, is_outage
from backend.journal.record import record_call
from backend.journal.turns import Turn, TurnClosed
from backend.tasks.several import find_several

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Specification:
    parameters: dict[str, str]
    """What is said of each, by its name."""
    run: Run
    template: FunctionTool


async def _unbound(*_: object) -> str:
    raise RuntimeError("a tool template was called without a request")


def _specify(arguments: type[BaseModel], name: str, run: Run) -> Specification:
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
    described = {name: field.description or "" for name, field in arguments.model_fields.items()}
    return Specification(described, run, template)


TOOLS = (
    _specify(AddTask, "add_task", task_tools.add_task),
    _specify(ListTasks, "list_tasks", list_tool.list_tasks),
    _specify(CompleteTask, "complete_task", task_tools.complete_task),
    _specify(DeleteTask, "delete_task", task_tools.delete_task),
    _specify(UpdateTask, "update_task", task_tools.update_task),
)


def create_tools_for_user(
    user_id: str, session: Session, turn: Turn, telling: Telling | None = None
) -> list[Tool]:
    """The five tools, able to touch `user_id`'s tasks only and to write `turn`'s record.

    One call at a time may use them, since they share `session`; between calls it holds no
    connection. What a model gets wrong comes back as a result it can read; only a database
    that is away, or a turn that has been closed, ends the run with an exception.
    """

    def bind(tool: Specification) -> FunctionTool:
        async def invoke(context: Any, raw: str) -> str:
            call_id = getattr(context, "tool_call_id", "")
            with SeenCall(tool.template.name, call_id) as seen:
                async with turn.calling:
                    reasoning = turn.reasoning.get(call_id)
                    answer = await _call_and_record(
                        tool, user_id, session, turn, raw, reasoning, telling
                    )
                seen.answered(answer)
                return answer

        bound = copy.copy(tool.template)
        bound.on_invoke_tool = invoke
        bound.strict_json_schema = True
        return bound

    return [bind(tool) for tool in TOOLS]


async def _call_and_record(
    tool: Specification,
    user_id: str,
    session: Session,
    turn: Turn,
    raw: str,
    reasoning: Reasoning | None,
    telling: Telling | None,
) -> str:
    if turn.stopped:
        raise TurnClosed
    recorded = at_most(dump_calls(turn.calls) or "")
    if len(turn.calls) >= CALLS_MAX or recorded > RECORD_MAX_BYTES:
        return json.dumps(failure(tool.template.name, ValidationFailed(TOO_MANY_CALLS)))
    given: dict[str, Any] = {}
    try:
        given = read_arguments(raw, tool.parameters)
        if done := _done_before(turn, tool.template.name, recordable(given)):
            return _read_by_model(tool, done)
        if tool.template.name in turn.ask_first:
            tasks = await _meant(user_id, session, given)
            if tasks != []:
                ask_first(turn, tool.template.name, recordable(given), reasoning, telling, tasks)
                return WAITS
            # not run: one could be there by then, and nobody was asked
            result, undo = told("", read_ids(given), {}), None
        else:
            said = "" if _insists(turn, tool.template.name, recordable(given)) else turn.said
            result, undo = await tool.run(
                Caller(session, user_id, turn.zone, turn.conversation.project_id, said), given
            )
    except Exception as error:
        await session.rollback()
        result, undo = failure(tool.template.name, error), None
    if undo is None:
        result = _fit(result, recorded)
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
    return _read_by_model(tool, result)


def _read_by_model(tool: Specification, result: Result) -> str:
    return json.dumps(compact(tool.template.name, result), ensure_ascii=False)


def _fit(result: Result, recorded: int) -> Result:
    """What only tells something, cut to what a record of `recorded` bytes has room for.

    It is what the model is given too, so that it reads the same in every later turn.
    """
    room = max(LIST_LEAST_BYTES, min(LIST_MAX_BYTES, LISTS_MAX_BYTES - recorded))
    fitting: Result = json.loads(shown(result, room, at_most))
    return fitting


WAITS = '{"success": false, "error": "This waits for the person to approve it."}'
"""What no model is given: a run ends with the step that asks the person for something."""


async def _meant(user_id: str, session: Session, given: dict[str, Any]) -> list[Result] | None:
    """The tasks that a call is about, as the person is asked about them; None where it is not.

    Raises what a call with wrong ids does: nobody is asked about that.
    """
    if "task_id" not in given:
        return None
    ids = read_ids(given)
    found = await find_several(session, user_id, ids)
    await session.commit()
    return [{"task_id": id_, "title": found[id_].title} for id_ in ids if id_ in found]


def ask_first(
    turn: Turn,
    name: str,
    args: dict[str, Any],
    reasoning: Reasoning | None,
    telling: Telling | None,
    tasks: list[Result] | None = None,
) -> None:
    """Have the call wait for the person, who is told which `tasks` it is about."""
    number = len(turn.calls) + len(turn.approvals)
    approval = request_approval(turn.message_id, turn.attempt, number, name, args)
    if tasks is not None:
        approval["tasks"] = tasks
    if reasoning:
        approval["reasoning"] = bounded(reasoning)
    if telling and telling.said and not turn.asks:
        approval["said"] = telling.said
    turn.approvals.append(approval)


def _insists(turn: Turn, name: str, args: dict[str, Any]) -> bool:
    """Whether the model makes a call of this turn again as it was."""
    return any(call["tool"] == name and call["args"] == args for call in turn.calls)


def _done_before(turn: Turn, name: str, args: dict[str, Any]) -> Result | None:
    """The result of the same call in an earlier attempt at this turn, once for each.

    The model was shown it, but one that asks all the same must not have it done again.
    """
    for call in turn.earlier:
        if call["tool"] == name and call["args"] == args:
            turn.earlier.remove(call)
            return call["result"]
    return None


def failure(tool: str, error: Exception) -> Result:
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
