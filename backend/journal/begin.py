"""Which turn a message means: a new one, or one that was begun before.

With a key (`Idempotency-Key`) the client says it. Without one, the client in service sends
the same text again after a failure, so the same text by the same user means the failed turn,
where that is the newest of its conversation, or the only one of a conversation whose id the
client never learnt.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, exists, func, null, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.conversations.messages import DEAD, conversations, messages
from backend.conversations.tool_calls import ToolCall, load_calls
from backend.database import execute
from backend.errors import AlreadyUndone, ConversationNotFound, ValidationFailed
from backend.journal.quotas import Quota, admit_turn
from backend.journal.turns import Turn, TurnRequest, begin_turn, take_up
from backend.models import ID_MAX, MessageStatus

KEY_LIFE = timedelta(hours=24)
RETRY_WINDOW = timedelta(minutes=10)
"""How long after its failure a turn is taken up by its text alone."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The turn was finished before; this is its answer."""

    conversation_id: int
    message_id: int
    created_at: datetime
    response: str
    calls: list[ToolCall]


@dataclass(frozen=True, slots=True)
class Busy:
    """The turn is being run, by all that is known; who asks again later is told more."""

    message_id: int
    lease_until: datetime


_now = func.clock_timestamp()
_FOUND = (
    messages.c.id,
    messages.c.conversation_id,
    messages.c.attempt,
    messages.c.status,
    messages.c.created_at,
    messages.c.lease_until,
    DEAD.label("dead"),
)
_KEYED = (
    select(
        *_FOUND,
        messages.c.content,
        messages.c.tool_calls_json,
        messages.c.request_hash,
        messages.c.undone_at,
        (messages.c.created_at < _now - KEY_LIFE).label("expired"),
        conversations.c.deleted_at.is_not(None).label("deleted"),
    )
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(
        messages.c.user_id == bindparam("owner"),
        messages.c.idempotency_key == bindparam("key"),
    )
    .with_for_update(of=messages)
)
_FORGET_KEY = (
    update(messages).where(messages.c.id == bindparam("message")).values(idempotency_key=null())
)
_asked = messages.alias("asked")
_before = messages.alias("before")
_later = messages.alias("later")
_TWIN = (
    select(*_FOUND)
    .join(_asked, _asked.c.id == messages.c.reply_to)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(
        messages.c.user_id == bindparam("owner"),
        messages.c.status != MessageStatus.COMPLETE.value,
        # what is recorded there does not stand any more
        messages.c.undone_at.is_(None),
        _asked.c.content == bindparam("text"),
        conversations.c.deleted_at.is_(None),
        func.coalesce(messages.c.ended_at, messages.c.lease_until) > _now - RETRY_WINDOW,
        ~exists().where(
            _later.c.conversation_id == messages.c.conversation_id, _later.c.id > messages.c.id
        ),
    )
    .order_by(messages.c.id.desc())
    .limit(1)
    .with_for_update(of=messages)
)
_TWIN_HERE = _TWIN.where(messages.c.conversation_id == bindparam("conversation"))
_TWIN_ALONE = _TWIN.where(
    ~exists().where(
        _before.c.conversation_id == messages.c.conversation_id,
        _before.c.id < messages.c.reply_to,
    )
)


async def begin_or_resume(
    session: AsyncSession,
    user_id: str,
    request: TurnRequest,
    *,
    history_limit: int,
    quota: Quota,
    alive: dict[int, datetime | None],
) -> Turn | Answered | Busy:
    """Begin the turn that `request` means, or say why it need not, or cannot yet, be run.

    `alive` are the messages that are known to be running: by this process (None), or under
    the lease that was seen before. Without a key only proof of death makes a message that
    looks like a running one a retry of it, and only proof of life makes it a new one.

    Raises:
        ConversationNotFound: not there, deleted, or someone else's.
        ValidationFailed: the key came with another request before.
        AlreadyUndone: the turn under the key failed, and the person took back what it had done.
        TooManyTurns: the user's quota of turns at once is taken, so none is begun or taken up.
        BudgetSpent: the user's tokens of the day are.
        IntegrityError: the same key came at the same moment; look again.
    """
    found = await _keyed(session, user_id, request)
    if request.key is None:
        found = await _twin(session, user_id, request)
        if found is not None and _lives(found, alive):
            found = None
    if found is None:
        await admit_turn(session, user_id, quota)
        return await begin_turn(session, user_id, request, history_limit=history_limit)
    if found.status == MessageStatus.COMPLETE:
        calls = load_calls(found.tool_calls_json)
        return Answered(found.conversation_id, found.id, found.created_at, found.content, calls)
    if found.status == MessageStatus.RUNNING and not found.dead:
        return Busy(found.id, found.lease_until)
    await admit_turn(session, user_id, quota)
    return await take_up(session, found.id, found.attempt, history_limit=history_limit)


def _lives(found: Row[*tuple[Any, ...]], alive: dict[int, datetime | None]) -> bool:
    if found.status != MessageStatus.RUNNING or found.dead or found.id not in alive:
        return False
    seen = alive[found.id]
    return bool(seen is None or found.lease_until > seen)


async def _keyed(
    session: AsyncSession, user_id: str, request: TurnRequest
) -> Row[*tuple[Any, ...]] | None:
    """The turn begun under the request's key in the last 24 hours, locked."""
    if request.key is None:
        return None
    found = await execute(session, _KEYED, {"owner": user_id, "key": request.key})
    row = found.one_or_none()
    if row is None:
        return None
    if row.expired:
        await execute(session, _FORGET_KEY, {"message": row.id})
        return None
    if row.request_hash != request.hash:
        raise ValidationFailed(
            "This Idempotency-Key came with another request before.",
            details=[
                {
                    "field": "Idempotency-Key",
                    "message": "came with another request before",
                    "type": "idempotency_key_reused",
                }
            ],
        )
    if row.deleted:
        raise ConversationNotFound
    if row.undone_at is not None and row.status != MessageStatus.COMPLETE:
        raise AlreadyUndone
    return row


async def _twin(
    session: AsyncSession, user_id: str, request: TurnRequest
) -> Row[*tuple[Any, ...]] | None:
    """The unfinished turn that the same text without a key means, locked."""
    values: dict[str, object] = {"owner": user_id, "text": request.text}
    if request.conversation_id is None:
        found = await execute(session, _TWIN_ALONE, values)
    elif 0 < request.conversation_id <= ID_MAX:
        values["conversation"] = request.conversation_id
        found = await execute(session, _TWIN_HERE, values)
    else:
        raise ConversationNotFound
    return found.one_or_none()
