"""A turn that is asked for again, or whose question is put otherwise.

What it had changed is taken back in the transaction that begins the new attempt, in the same
rows. What it had said and done stands beside the new answer from then on.
"""

from dataclasses import dataclass
from typing import Any

from backend.conversations.approvals import dump_replaced, load_replaced
from backend.conversations.messages import read_id
from backend.conversations.tool_calls import (
    as_shown,
    changes_outside,
    load_calls,
    unfinished_answer,
)
from backend.database import Row, Session, execute
from backend.errors import MessageChanged, MessageNotFound, OutsideChanged, TurnInProgress
from backend.journal import statements
from backend.journal.approvals import Asked, lock_answer
from backend.journal.begin import Busy, given_again
from backend.journal.quotas import Quota, admit_turn, ask_admission, lock_user
from backend.journal.requests import Answer
from backend.journal.turns import Turn, take_up
from backend.journal.undo import take_back
from backend.models import MessageStatus, utc_now

NOT_THE_NEWEST = "Something has been said since."


@dataclass(frozen=True, slots=True)
class Edit:
    """What the person says instead, under which key."""

    text: str
    key: str | None = None
    hash: str | None = None


async def ask_again(
    session: Session,
    user_id: str,
    message_id: str,
    *,
    edit: Edit | None = None,
    waited: float,
    joined: tuple[int, int] | None = None,
    history_limit: int,
    quota: Quota,
) -> tuple[Turn, Asked] | Answer | Busy:
    """Have the newest turn answered anew; `message_id` is its answer's, or with `edit` either's.

    One that has failed or was stopped is taken up. One that is answered begins anew, or is given
    again where its answer has reached nobody. An edit that changes nothing is the same turn.

    Raises:
        MessageNotFound: not there, someone else's, or its conversation is deleted.
        MessageChanged: something has been said since.
        TurnInProgress: it is still being worked on, and is to be put otherwise.
        TaskChanged: what it had changed was changed since, so nothing is done.
        NothingToUndo: what it had changed was not recorded, so nothing is done.
        OutsideChanged: it had outside tools do what cannot be taken back, so nothing is done.
        TooManyTurns: the user's quota of turns at once is taken.
        BudgetSpent: the user's tokens of the day are.
    """
    lock_user(session, user_id)
    admission = ask_admission(session, user_id, quota)
    row = await lock_answer(session, user_id, message_id, waited)
    if edit is None and row.id != read_id(message_id):
        raise MessageNotFound
    if not row.newest:
        raise MessageChanged(NOT_THE_NEWEST)
    changed = edit is not None and edit.text != row.asked
    if row.status == MessageStatus.RUNNING and not row.dead:
        if changed:
            raise TurnInProgress
        return Busy(row.id, row.attempt, row.lease_until, joined=True)
    answered = row.status in (MessageStatus.COMPLETE, MessageStatus.WAITING) and not row.stopped
    here_for_it = row.untaken or joined == (row.id, row.attempt) or edit is not None
    if answered and not changed and here_for_it:
        return given_again(row)
    await admit_turn(admission)
    asked = Asked(row.conversation_id, edit.text if edit else row.asked)
    if answered or changed or row.undone_at is not None:
        return await _begin_anew(session, user_id, row, edit, history_limit), asked
    turn = await take_up(
        session,
        user_id,
        row.conversation_id,
        row.id,
        row.attempt,
        history_limit=history_limit,
        statement=statements.TAKE_UP_STOPPED,
        content=unfinished_answer(load_calls(row.tool_calls_json)),
    )
    return turn, asked


async def _begin_anew(
    session: Session, user_id: str, row: Row, edit: Edit | None, history_limit: int
) -> Turn:
    calls = load_calls(row.tool_calls_json)
    if outside := changes_outside(calls):
        raise OutsideChanged(as_shown(outside))
    if row.undone_at is None:
        await take_back(session, user_id, calls)
    if edit is not None:
        edited = {"owner": user_id, "message": row.asked_id, "text": edit.text}
        await execute(session, statements.EDIT, edited)
    keyed = edit if edit is not None and edit.key is not None else None
    return await take_up(
        session,
        user_id,
        row.conversation_id,
        row.id,
        row.attempt,
        history_limit=history_limit,
        statement=statements.ANEW,
        replaced=dump_replaced([*load_replaced(row.replaced_json), _replaced(row)]),
        key=keyed.key if keyed else row.idempotency_key,
        hash=keyed.hash if keyed else row.request_hash,
    )


def _replaced(row: Row) -> dict[str, Any]:
    calls = as_shown(load_calls(row.tool_calls_json))
    return {
        "message": row.asked,
        "content": row.content,
        "tool_calls": calls or None,
        "replaced_at": utc_now().isoformat().replace("+00:00", "Z"),
    }
