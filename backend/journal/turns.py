"""A turn, from the message that begins it to the answer that ends it, and again after a failure.

A turn is two rows born together, the person's and the assistant's, committed before the
model is asked. The assistant's row is then the run's journal: `record_call` writes each tool
call into it in the transaction of the call's own change, and with it the sentence that is
true if nothing more comes. `finish_turn` replaces that sentence with the answer, `fail_turn`
leaves it. `backend.journal.begin` finds the turn that a repeated message means, and
`take_up` begins another attempt at it, in the same rows.

While a run is under way its process renews the row's lease; a running row whose lease has
lapsed is taken as failed, and nothing has to sweep. Every write of a run names its attempt,
so one that was stopped and comes back can change nothing after another has begun.

Nothing here commits: the caller's transaction does.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.conversations.messages import StoredMessage, read_messages
from backend.conversations.tool_calls import (
    ToolCall,
    changes,
    dump_calls,
    load_calls,
    unfinished_answer,
)
from backend.database import execute
from backend.errors import ConversationNotFound
from backend.journal import statements
from backend.journal.spending import Spending
from backend.models import ID_MAX


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A message to be answered: in a conversation or a new one, with the client's key or none."""

    conversation_id: int | None
    text: str
    key: str | None = None
    zone: str = "UTC"
    """The person's time zone; the same message from another zone is the same turn."""

    @property
    def hash(self) -> str | None:
        """Tells two requests under one key apart; None without a key."""
        if self.key is None:
            return None
        return sha256(json.dumps([self.conversation_id, self.text]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class OpenedConversation:
    """A conversation as it stood when the turn began; see `backend.models.Conversation`."""

    id: int
    message_count: int
    """With the two rows of the turn."""
    title: str | None
    provider: str | None
    model: str | None
    context_from: int | None
    summary: str | None
    summary_to: int | None


@dataclass(slots=True)
class Turn:
    """A turn under way: its rows, what came before it, and the calls made so far."""

    conversation: OpenedConversation
    asked_id: int
    """The person's row."""
    message_id: int
    """The assistant's row, the run's journal."""
    created_at: datetime
    """Of that row."""
    history: list[StoredMessage]
    """From where the context begins, oldest first, the person's new message not among them."""
    attempt: int = 1
    provider: str | None = None
    model: str | None = None
    """Who answers it; None until that is settled."""
    spending: Spending = field(default_factory=Spending)
    calls: list[ToolCall] = field(default_factory=list)
    """All that are on record, those of earlier attempts first."""
    earlier: list[ToolCall] = field(default_factory=list)
    """Changes of earlier attempts that this one has not asked for again."""
    calling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a tool call from its first statement to its commit."""

    @property
    def conversation_id(self) -> int:
        return self.conversation.id


class TurnClosed(Exception):
    """The row is not this attempt's to write any more, so it may change nothing."""


READ_TIMES = 2
"""How many times the messages that a model is given are read at the most.

More than that stand behind the beginning of the context only where it has not been moved on:
in a conversation of an earlier backend, or after failures. Read, they are cut in the steps in
which it would have been.
"""


async def begin_turn(
    session: AsyncSession, user_id: str, request: TurnRequest, *, history_limit: int
) -> Turn:
    """Write both rows of a turn and read the history before it.

    `history_limit` is how many messages the model is given; `READ_TIMES` as many may come.

    Raises:
        ConversationNotFound: not there, deleted, or someone else's.
    """
    values: dict[str, object] = {
        "owner": user_id,
        "text": request.text,
        "key": request.key,
        "hash": request.hash,
    }
    statement = statements.BEGIN_NEW
    if request.conversation_id is not None:
        if not 0 < request.conversation_id <= ID_MAX:
            raise ConversationNotFound
        values["conversation"] = request.conversation_id
        statement = statements.BEGIN_HERE
    row = (await execute(session, statement, values)).one_or_none()
    if row is None:
        raise ConversationNotFound
    history = []
    if request.conversation_id is not None:
        history = await _history(session, row, history_limit)
    return Turn(_opened(row), row.reply_to, row.message_id, row.created_at, history)


async def _history(
    session: AsyncSession, row: Row[*tuple[Any, ...]], history_limit: int
) -> list[StoredMessage]:
    limit = READ_TIMES * history_limit
    since = row.context_from
    if since is not None and since > row.reply_to:
        since = None
    return await read_messages(session, row.id, limit, before=row.reply_to, since=since)


def _opened(row: Row[*tuple[Any, ...]]) -> OpenedConversation:
    """For an old turn that is taken up, the summary of what came after it is left out."""
    opened = OpenedConversation(
        row.id,
        row.message_count,
        row.title,
        row.provider,
        row.model,
        row.context_from,
        row.summary,
        row.summary_to,
    )
    if row.summary_to is not None and row.summary_to > row.reply_to:
        return replace(opened, summary=None)
    return opened


async def take_up(
    session: AsyncSession, message_id: int, attempt: int, *, history_limit: int
) -> Turn:
    """Begin the next attempt at a failed turn, whose row the caller has locked."""
    values = {"message": message_id, "of_attempt": attempt}
    row = (await execute(session, statements.TAKE_UP, values)).one()
    await execute(session, statements.FETCH_BACK, {"conversation": row.id})
    history = await _history(session, row, history_limit)
    calls = load_calls(row.tool_calls_json)
    return Turn(
        _opened(row),
        row.reply_to,
        message_id,
        row.created_at,
        history,
        row.attempt,
        spending=Spending(row.input_tokens, row.cached_tokens, row.output_tokens),
        calls=calls,
        earlier=[call for call in calls if changes([call])],
    )


def _written(turn: Turn, **values: object) -> dict[str, object]:
    """The values of a write to the turn's row: which attempt, who answers, what it has cost."""
    return values | {
        "message": turn.message_id,
        "of_attempt": turn.attempt,
        "answered_by": turn.provider,
        "answered_with": turn.model,
        "spent_input": turn.spending.input,
        "spent_cached": turn.spending.cached,
        "spent_output": turn.spending.output,
    }


async def record_call(session: AsyncSession, turn: Turn, call: ToolCall) -> None:
    """Write `call` into the turn's journal, in the transaction of the change it tells of.

    Raises:
        TurnClosed: the turn is over or another attempt has begun; the change must not stay.
    """
    calls = [*turn.calls, call]
    values = _written(turn, calls=dump_calls(calls), so_far=unfinished_answer(calls))
    if (await execute(session, statements.JOURNAL, values)).one_or_none() is None:
        raise TurnClosed


async def finish_turn(
    session: AsyncSession, turn: Turn, answer: str, title: str | None = None
) -> None:
    """Write the answer in place of the journal's sentence and move the conversation up.

    `title` becomes the conversation's, where it has none.
    Doing it again changes nothing, so it can be tried again when a connection was lost.

    Raises:
        TurnClosed: the turn was closed, or taken up, by someone else.
    """
    if (
        await execute(session, statements.FINISH, _written(turn, answer=answer, named=title))
    ).one_or_none() is None:
        raise TurnClosed


async def fail_turn(session: AsyncSession, turn: Turn) -> list[ToolCall]:
    """Close the turn as failed, leaving what its journal says; the calls that are on record."""
    await execute(session, statements.FAIL, _written(turn))
    found = await execute(session, statements.RECORD, {"message": turn.message_id})
    return load_calls(found.scalar_one())


async def renew_leases(session: AsyncSession, turns: Iterable[tuple[int, int]]) -> None:
    """Say that the runs behind these rows, each a message's id and an attempt, are alive."""
    ids, attempts = zip(*turns, strict=True)
    await execute(session, statements.RENEW, {"messages": list(ids), "attempts": list(attempts)})
