"""How a turn ends: answered or failed; and whether its answer has reached anybody.

Each of these is a statement or two that stand for themselves, so they can be tried again where
the word of a commit was lost. Nothing here commits: the caller's transaction does.
"""

from dataclasses import dataclass

from backend.conversations.approvals import dump_approvals, waiting_sentence
from backend.conversations.tool_calls import ToolCall, load_calls
from backend.database import Session, execute
from backend.journal import statements
from backend.journal.turns import Turn, TurnClosed, is_behind, written
from backend.models import MessageStatus


@dataclass(frozen=True, slots=True)
class Record:
    """What a turn's row says of it, whoever wrote it."""

    status: str
    attempt: int
    content: str
    calls: list[ToolCall]
    untaken: bool


async def finish_turn(
    session: Session,
    turn: Turn,
    answer: str,
    title: str | None = None,
    *,
    untaken: bool = False,
) -> None:
    """Write the answer in place of the journal's sentence and move the conversation up.

    `title` becomes the conversation's, where it has none. `untaken` says that nobody waits for
    the answer any more, so that the same text is given it again.
    Doing it again changes nothing, so it can be tried again when a connection was lost.

    Raises:
        TurnClosed: the turn was closed, or taken up, by someone else.
    """
    values = written(turn, answer=answer, title=title, untaken=untaken)
    row = (await execute(session, statements.FINISH, values)).one_or_none()
    if row is None:
        raise TurnClosed
    turn.behind = is_behind(turn.asked_id, row.context_from)


async def wait_for_person(session: Session, turn: Turn, *, untaken: bool = False) -> str:
    """End the run at calls that the person has to approve; the sentence that says so.

    Raises:
        TurnClosed: the turn was closed, or taken up, by someone else.
    """
    said = waiting_sentence(turn.calls, turn.approvals)
    approvals = dump_approvals(turn.calls, turn.approvals)
    values = written(turn, content=said, approvals=approvals, untaken=untaken)
    if (await execute(session, statements.WAIT, values)).one_or_none() is None:
        raise TurnClosed
    return said


async def stop_turn(session: Session, turn: Turn, said: str) -> None:
    """End the turn that the person has stopped; what was said by then is its answer.

    Raises:
        TurnClosed: the turn was closed, or taken up, by someone else.
    """
    values = written(turn, answer=said, title=None)
    if (await execute(session, statements.STOP, values)).one_or_none() is None:
        raise TurnClosed


async def fail_turn(session: Session, turn: Turn, *, counted: bool = True) -> Record:
    """Close the turn as failed if it still runs, leaving what its journal says; what is so then.

    Without `counted` what it has cost stays unsaid, which the database may not take.
    """
    statement = statements.FAIL if counted else statements.FAIL_UNCOUNTED
    row_of_turn = {"owner": turn.owner, "message": turn.message_id}
    values = written(turn) if counted else row_of_turn | {"attempt": turn.attempt}
    await execute(session, statement, values)
    found = await execute(session, statements.RECORD, row_of_turn)
    row = found.one_or_none()
    if row is None:  # all of the person has been deleted
        return Record(MessageStatus.FAILED, turn.attempt, "", turn.calls, untaken=False)
    calls = load_calls(row.tool_calls_json)
    return Record(row.status, row.attempt, row.content, calls, row.repeats)


async def mark_untaken(session: Session, message_id: int, attempt: int) -> None:
    """Remember for a while that the answer of this attempt, given or to come, reached nobody."""
    values = {"message": message_id, "attempt": attempt}
    await execute(session, statements.UNTAKEN, values)


async def mark_taken(session: Session, message_id: int, attempt: int, ago: float) -> None:
    """Take back `mark_untaken`: what was said again from `ago` seconds ago on is done again."""
    values = {"message": message_id, "attempt": attempt, "ago": ago}
    await execute(session, statements.TAKEN, values)
