"""What the person has decided of a turn's calls, done before the model is asked again."""

from backend.agent.outside_tools import OutsideTools
from backend.agent.task_arguments import Caller
from backend.agent.tools import TOOLS, failure
from backend.agent.words.events import Telling
from backend.agent.words.seen import SeenCall
from backend.conversations.approvals import Approval, declined_call, is_to_do, recorded_call
from backend.conversations.tool_calls import ToolCall
from backend.database import Session
from backend.errors import ValidationFailed
from backend.journal.record import record_decided
from backend.journal.turns import Turn, TurnClosed

_OUR_TOOLS = frozenset(tool.template.name for tool in TOOLS)


async def do_decided(
    user_id: str,
    session: Session,
    turn: Turn,
    telling: Telling | None,
    outside: OutsideTools | None = None,
) -> None:
    """Do what the person has approved of the turn's calls, and put on record what was declined.

    In the order in which they were asked for; each is done once, its effect, its record and the
    mark that it is done being one transaction. Arguments are those on record.
    """
    for at, approval in enumerate(turn.approvals):
        if not is_to_do(approval):
            continue
        if outside and approval["approved"] and approval["tool"] not in _OUR_TOOLS:
            await outside.do_approved(session, at, approval)
            continue
        async with turn.calling:
            await _do_decided(user_id, session, turn, at, approval, telling)


async def _do_decided(
    user_id: str,
    session: Session,
    turn: Turn,
    at: int,
    approval: Approval,
    telling: Telling | None,
) -> None:
    if turn.stopped:
        raise TurnClosed
    if approval["approved"]:
        caller = Caller(session, user_id, turn.zone, turn.conversation.project_id)
        with SeenCall(approval["tool"]):
            call = await _carry_out(caller, approval)
    else:
        call = declined_call(approval)
    await record_decided(session, turn, at, call)
    await session.commit()
    turn.calls.append(call)
    turn.approvals[at] = Approval({**approval, "done": True})
    if telling:
        telling.called(call)


async def _carry_out(caller: Caller, approval: Approval) -> ToolCall:
    """The call as it goes on record; its change is not committed yet."""
    tool = next((each for each in TOOLS if each.template.name == approval["tool"]), None)
    undo = None
    try:
        if tool is None:
            raise ValidationFailed("There is no such tool any more.")
        result, undo = await tool.run(caller, approval["args"])
    except Exception as error:
        await caller.session.rollback()
        result = failure(approval["tool"], error)
    call = recorded_call(approval, result)
    if undo is not None:
        call["undo"] = undo
    return call
