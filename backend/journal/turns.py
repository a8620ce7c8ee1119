"""A turn, from the message that begins it to the answer that ends it, and again after a failure.

A turn is two rows born together, the person's and the assistant's, committed before the
model is asked. The assistant's row is then the run's journal: `backend.journal.record` writes
each tool call into it in the transaction of the call's own change, and with it the sentence that
is true if nothing more comes. `backend.journal.ending` replaces that sentence with the answer, or
leaves it. `backend.journal.begin` finds the turn that a repeated message means, and `take_up`
begins another attempt at it, in the same rows.

While a run is under way its process renews the row's lease; a running row whose lease has
lapsed is taken as failed, and nothing has to sweep. Every write of a run names its attempt,
so one that was stopped and comes back can change nothing after another has begun.

Nothing here commits: the caller's transaction does.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause

from backend.conversations.approvals import Approval, is_pending, load_approvals
from backend.conversations.messages import (
    StoredMessage,
    read_context_ahead,
    read_messages,
    stored_before,
)
from backend.conversations.tool_calls import (
    ToolCall,
    changes,
    load_calls,
)
from backend.database import Row, Session, execute
from backend.errors import ConversationNotFound, ProjectNotFound
from backend.journal import statements
from backend.journal.requests import TurnRequest
from backend.journal.spending import Spending, together
from backend.tasks.projects import known_project


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
    project_id: int | None = None
    toolsets: str | None = None


@dataclass(slots=True)
class Turn:
    """A turn under way: its rows, what came before it, and the calls made so far."""

    owner: str
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
    zone: str | None = None
    """The person's time zone by its name; None where they never named one."""
    provider: str | None = None
    model: str | None = None
    """Who answers it; None until that is settled."""
    spending: Spending = field(default_factory=Spending)
    """Of this attempt."""
    spent_before: Spending = field(default_factory=Spending)
    """Of the attempts before it."""
    calls: list[ToolCall] = field(default_factory=list)
    """All that are on record, those of earlier attempts first."""
    earlier: list[ToolCall] = field(default_factory=list)
    """Changes of earlier attempts that this one has not asked for again."""
    approvals: list[Approval] = field(default_factory=list)
    """The calls that it has asked the person for, in all its attempts."""
    ask_first: Collection[str] = ()
    """The tools that it may not call without asking."""
    behind: bool = False
    """Whether the context begins after it already: an old turn that was taken up.

    As it was when it began; once it is answered, as it was then.
    """
    reasoning: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What came with a call and its provider wants back, by the id of the call."""
    calling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a tool call from its first statement to its commit."""
    said: str = ""
    """What the person says in it, once it runs."""
    stopped: bool = False
    """Whether the person has stopped it; no call may do anything from then on."""

    @property
    def asks(self) -> bool:
        """Whether it waits for the person."""
        return any(map(is_pending, self.approvals))

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
    session: Session, user_id: str, request: TurnRequest, *, history_limit: int
) -> Turn:
    """Write both rows of a turn and read the history before it.

    `history_limit` is how many messages the model is given; `READ_TIMES` as many may come.

    Raises:
        ConversationNotFound: not there, deleted, or someone else's.
        ProjectNotFound: so is the project that a new conversation is to belong to.
    """
    values: dict[str, object] = {
        "owner": user_id,
        "text": request.text,
        "key": request.key,
        "hash": request.hash,
    }
    new, here = statements.BEGIN_NEW, statements.BEGIN_HERE
    if request.named:
        values |= {"chat": request.chat, "asked_as": request.asked_as}
        new, here = statements.BEGIN_NAMED, statements.BEGIN_IN_NAMED
    if request.conversation_id is not None:
        values["conversation"] = request.conversation_id
    else:
        values["project"] = known_project(request.project_id)
    statement = new if request.conversation_id is None else here
    beginning, reading = session.ahead(statement, values), None
    if request.conversation_id is not None:
        # one more, for the person's new message is among them
        limit = READ_TIMES * history_limit + 1
        reading = read_context_ahead(session, request.conversation_id, limit)
    row = (await beginning).one_or_none()
    if row is None:
        raise ConversationNotFound
    if request.conversation_id is None and row.project_id != request.project_id:
        raise ProjectNotFound
    history = stored_before(await reading, row.reply_to) if reading else []
    return Turn(user_id, _opened(row), row.reply_to, row.message_id, row.created_at, history)


async def _history(
    session: Session, conversation: OpenedConversation, asked_id: int, history_limit: int
) -> list[StoredMessage]:
    since = conversation.context_from
    if since is not None and since > asked_id:
        since = None
    limit = READ_TIMES * history_limit
    return await read_messages(session, conversation.id, limit, before=asked_id, since=since)


def _opened(row: Row) -> OpenedConversation:
    return OpenedConversation(
        row.id,
        row.message_count,
        row.title,
        row.provider,
        row.model,
        row.context_from,
        row.summary,
        row.summary_to,
        row.project_id,
        row.toolsets,
    )


def is_behind(asked_id: int, context_from: int | None) -> bool:
    """Whether the turn that began with this message is one that the model is not given any more."""
    return asked_id < (context_from or 0)


def _as_then(conversation: OpenedConversation, asked_id: int) -> OpenedConversation:
    """For an old turn that is taken up: without the summary, if that tells what came after it."""
    if conversation.summary_to is not None and conversation.summary_to > asked_id:
        return replace(conversation, summary=None)
    return conversation


async def take_up(
    session: Session,
    user_id: str,
    conversation_id: int,
    message_id: int,
    attempt: int,
    *,
    history_limit: int,
    statement: TextClause = statements.TAKE_UP,
    **values: object,
) -> Turn:
    """Begin the next attempt at a turn, whose row the caller has locked.

    What the person has decided of its calls is to be done first. `statement` is how the row
    changes with it, by `values`; a turn that has failed is left as it is.
    """
    place = {"owner": user_id, "conversation": conversation_id}
    conversation = _opened((await execute(session, statements.FETCH_BACK, place)).one())
    values |= {"owner": user_id, "message": message_id, "attempt": attempt}
    row = (await execute(session, statement, values)).one()
    calls = load_calls(row.tool_calls_json)
    return Turn(
        user_id,
        _as_then(conversation, row.reply_to),
        row.reply_to,
        message_id,
        row.created_at,
        await _history(session, conversation, row.reply_to, history_limit),
        row.attempt,
        spent_before=Spending(row.input_tokens, row.cached_tokens, row.output_tokens),
        calls=calls,
        earlier=[call for call in calls if changes([call])],
        approvals=load_approvals(row.approvals_json),
        behind=is_behind(row.reply_to, conversation.context_from),
    )


def written(turn: Turn, **values: object) -> dict[str, object]:
    """The values of a write to the turn's row: which attempt, who answers, what it has cost."""
    whole = together(turn.spent_before, turn.spending)
    return {
        **values,
        **turn.spending.booked(),
        "owner": turn.owner,
        "message": turn.message_id,
        "attempt": turn.attempt,
        "provider": turn.provider,
        "model": turn.model,
        "input_tokens": whole.input,
        "cached_tokens": whole.cached,
        "output_tokens": whole.output,
    }


async def renew_leases(session: Session, runs: Mapping[tuple[int, int], bool]) -> set[int]:
    """Say that the runs behind these rows, each a message's id and an attempt, are alive, and of
    which of them nobody waits for the answer any more.

    The ids of the rows that say so now; the others are closed, or locked by someone.
    """
    ids, attempts = zip(*runs, strict=True)
    untaken = list(runs.values())
    values = {"messages": list(ids), "attempts": list(attempts), "untaken": untaken}
    return set((await session.execute(statements.RENEW, values)).scalars())
