"""The record of a run: each tool call in the turn's row, in the transaction of what it changed."""

from backend.conversations.approvals import Approval, dump_approvals
from backend.conversations.tool_calls import ToolCall, dump_calls, unfinished_answer
from backend.database import Session, execute
from backend.journal import statements
from backend.journal.turns import Turn, TurnClosed, written


async def record_call(session: Session, turn: Turn, call: ToolCall) -> None:
    """Write `call` into the turn's journal, in the transaction of the change it tells of.

    Raises:
        TurnClosed: the turn is over or another attempt has begun; the change must not stay.
    """
    await _journal(session, turn, [*turn.calls, call])


async def rewrite_record(session: Session, turn: Turn, calls: list[ToolCall]) -> None:
    """Write the turn's calls anew, of which the result of one has become known.

    Raises:
        TurnClosed: as `record_call`; the result is then not on record.
    """
    await _journal(session, turn, calls)


async def _journal(session: Session, turn: Turn, calls: list[ToolCall]) -> None:
    values = written(turn, calls=dump_calls(calls), content=unfinished_answer(calls))
    if (await execute(session, statements.JOURNAL, values)).one_or_none() is None:
        raise TurnClosed


async def record_decided(session: Session, turn: Turn, at: int, call: ToolCall) -> None:
    """Write what came of the call that stands `at` among the turn's approvals, as `record_call`.

    Raises:
        TurnClosed: the turn is over or another attempt has begun; the change must not stay.
    """
    calls = [*turn.calls, call]
    approvals = [*turn.approvals]
    approvals[at] = Approval({**approvals[at], "done": True})
    values = written(
        turn,
        calls=dump_calls(calls),
        content=unfinished_answer(calls),
        approvals=dump_approvals(calls, approvals),
    )
    if (await execute(session, statements.CARRIED_OUT, values)).one_or_none() is None:
        raise TurnClosed
