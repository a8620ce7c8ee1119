"""One call of a tool by a client outside: the change and its record in one transaction."""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from backend.agent.arguments import read_arguments, recordable
from backend.agent.task_arguments import Caller
from backend.agent.tools import TOOLS, failure
from backend.agent.words.seen import SeenCall
from backend.conversations.tool_calls import ToolCall
from backend.database import Session, Sessions, open_session
from backend.errors import DatabaseUnavailable, ValidationFailed, is_outage
from backend.journal.outside import OutsideCall, done_before, record_outside
from backend.journal.quotas import lock_user
from backend.models import KEY_MAX

Result = dict[str, Any]

_TOOLS = {tool.template.name: tool for tool in TOOLS}
_READS = frozenset({"list_tasks"})
IDEMPOTENCY_KEY = "todo/idempotency-key"
"""In a call's `_meta`: with the same key the same call is done once."""


async def call_tool(
    sessions: Sessions, caller: OutsideCall, name: str, arguments: Mapping[str, Any]
) -> Result:
    """What the tool answers; what goes wrong as well, with a code.

    `name` is one of the five. A call that changes nothing leaves no record.
    """
    with SeenCall(name):
        return await _answer_call(sessions, caller, name, arguments)


async def _answer_call(
    sessions: Sessions, caller: OutsideCall, name: str, arguments: Mapping[str, Any]
) -> Result:
    async with open_session(sessions) as session:
        try:
            result = await _call_as_client(session, caller, name, arguments)
            await session.commit()
        except Exception as error:
            await session.rollback()
            return _failure_of_call(name, error)
    return result


def _failure_of_call(name: str, error: Exception) -> Result:
    if is_outage(error):
        away = DatabaseUnavailable()
        return {"success": False, "error": away.message, "error_code": away.code}
    return failure(name, error)


async def _call_as_client(
    session: Session, caller: OutsideCall, name: str, arguments: Mapping[str, Any]
) -> Result:
    tool = _TOOLS[name]
    given = read_arguments(json.dumps(arguments), tool.parameters)
    args = recordable(given)
    if name in _READS:
        return (await tool.run(Caller(session, caller.user_id), given))[0]
    call = _under_key(caller, name, args)
    lock_user(session, call.user_id)
    if before := await done_before(session, call):
        return before
    result, undo = await tool.run(Caller(session, call.user_id), given)
    if undo:
        done = ToolCall(tool=name, args=args, result=result, undo=undo)
        await session.flight(record_outside(call, done), commit=True)
    return result


def _under_key(caller: OutsideCall, name: str, args: Mapping[str, Any]) -> OutsideCall:
    """The call with what tells it from others under its key.

    Raises:
        ValidationFailed: the key is none that can be kept.
    """
    if caller.key is None:
        return caller
    if not (0 < len(caller.key) <= KEY_MAX and caller.key.isprintable()):
        raise ValidationFailed(f"{IDEMPOTENCY_KEY}: must be printable text of 1 to {KEY_MAX} signs")
    told = json.dumps(["mcp", name, args], sort_keys=True)
    return replace(caller, hash=sha256(told.encode()).hexdigest())
