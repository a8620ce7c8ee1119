"""What the person decides of the calls that wait for them.

Who decides first wins, by the lock on the row; the same decision again means the same turn. When
all are decided the turn is taken up, and what was decided is done first, from the record alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backend.conversations.approvals import Approval, dump_approvals, is_pending, load_approvals
from backend.conversations.messages import read_id
from backend.conversations.tool_calls import load_calls, unfinished_answer
from backend.database import Row, Session, execute
from backend.errors import AlreadyDecided, AlreadyUndone, MessageNotFound, NotPending
from backend.journal import statements
from backend.journal.begin import Busy, given_again
from backend.journal.quotas import Quota, admit_turn, ask_admission, lock_user
from backend.journal.requests import Answer
from backend.journal.turns import Turn, take_up
from backend.models import MessageStatus
from backend.telemetry.figures import APPROVALS

UNFINISHED = "I could not finish what you approved."


@dataclass(frozen=True, slots=True)
class Decision:
    """The person's word on one call."""

    id: str
    approved: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """It was waited for too long: what was pending is declined, which the caller commits."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a turn that goes on was asked, and where."""

    conversation_id: int
    text: str


async def lock_answer(session: Session, user_id: str, message_id: str, waited: float) -> Row:
    """The answer, or that to the person's message, of which this is the id, locked.

    Raises:
        MessageNotFound: not there, someone else's, or its conversation is deleted.
    """
    number = read_id(message_id)
    if number is None:
        raise MessageNotFound
    values = {"message": number, "owner": user_id, "waited": waited}
    row = (await execute(session, statements.LOCK_ANSWER, values)).one_or_none()
    if row is None:
        raise MessageNotFound
    return row


async def decide(
    session: Session,
    user_id: str,
    message_id: str,
    decisions: Sequence[Decision],
    *,
    history_limit: int,
    quota: Quota,
) -> tuple[Turn, Asked] | Answer | Busy | Expired:
    """Write down what the person decides; the turn, where it goes on with that.

    Raises:
        MessageNotFound: not there, someone else's, a person's, or its conversation is deleted.
        NotPending: the message has not asked for this.
        AlreadyDecided: it was decided otherwise, or declined by what the person did since.
        AlreadyUndone: the turn failed then, and what it had done was taken back.
        TooManyTurns: the user's quota of turns at once is taken; nothing is decided.
        BudgetSpent: the user's tokens of the day are.
    """
    lock_user(session, user_id)
    admission = ask_admission(session, user_id, quota)
    row = await lock_answer(session, user_id, message_id, 0)
    if row.id != read_id(message_id):
        raise MessageNotFound
    before = load_approvals(row.approvals_json)
    after = _decided(before, decisions, row.status == MessageStatus.WAITING)
    if row.expired:
        await execute(session, statements.DECLINE, {"owner": user_id, "message": row.id})
        return Expired()
    calls = load_calls(row.tool_calls_json)
    if row.status == MessageStatus.WAITING and any(map(is_pending, after)):
        approvals = dump_approvals(calls, after)
        values = {"owner": user_id, "message": row.id, "approvals": approvals}
        row = (await execute(session, statements.DECIDE, values)).one()
        return given_again(row)
    if row.status == MessageStatus.COMPLETE:
        return given_again(row)
    if row.status == MessageStatus.RUNNING and not row.dead:
        return Busy(row.id, row.attempt, row.lease_until, joined=True)
    if row.undone_at is not None:
        raise AlreadyUndone
    await admit_turn(admission)
    turn = await take_up(
        session,
        user_id,
        row.conversation_id,
        row.id,
        row.attempt,
        history_limit=history_limit,
        statement=statements.CONTINUE,
        content=unfinished_answer(calls) or UNFINISHED,
        approvals=dump_approvals(calls, after),
    )
    return turn, Asked(row.conversation_id, row.asked)


def _decided(
    approvals: Sequence[Approval], decisions: Sequence[Decision], waiting: bool
) -> list[Approval]:
    """The approvals with what is decided now; the same decision again changes nothing."""
    known: Mapping[str, int] = {each["id"]: at for at, each in enumerate(approvals)}
    after = list(approvals)
    for decision in decisions:
        if decision.id not in known:
            raise NotPending
        at = known[decision.id]
        current = after[at]
        if current["approved"] is None and waiting:
            APPROVALS.add(1, {"decision": "approved" if decision.approved else "declined"})
            after[at] = Approval(
                {**current, "approved": decision.approved, "reason": decision.reason}
            )
        elif current["approved"] is not decision.approved:
            raise AlreadyDecided
    return after
