"""What is written of a conversation after a turn in it has been answered.

Each write is one statement, which also adds what the model took for it to the turn's own tokens, so
that nothing is spent off the books. None moves the conversation up: nobody has said anything.
"""

from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Text, and_, bindparam, case, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.services.conversations import conversations, execute, messages
from backend.services.spending import Spending
from backend.services.turns import Turn


class Remembered(NamedTuple):
    """Where a conversation's context begins, and what is kept of the part before it."""

    context_from: int
    """The oldest message that the model is still given as it was said."""
    summary: str
    summary_to: int
    """The newest message that the summary covers."""


def _plus(column: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """Null, which is unknown, stays where nothing was counted."""
    spent = bindparam(name, type_=BigInteger)
    return case((spent.is_(None), column), else_=func.coalesce(column, 0) + spent)


_PAID = (
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(
        input_tokens=_plus(messages.c.input_tokens, "spent_input"),
        cached_tokens=_plus(messages.c.cached_tokens, "spent_cached"),
        output_tokens=_plus(messages.c.output_tokens, "spent_output"),
    )
    .returning(messages.c.conversation_id)
    .cte("paid")
)
_CHANGE = update(conversations).where(conversations.c.id == _PAID.c.conversation_id)
_UNNAMED = and_(conversations.c.title.is_(None), conversations.c.deleted_at.is_(None))
_UNMOVED = and_(
    conversations.c.deleted_at.is_(None),
    conversations.c.context_from.is_not_distinct_from(bindparam("was_from", type_=BigInteger)),
    conversations.c.summary_to.is_not_distinct_from(bindparam("was_to", type_=BigInteger)),
)
_LEFT = select(_UNNAMED, _UNMOVED).where(conversations.c.id == bindparam("conversation"))
_NAME = _CHANGE.where(_UNNAMED).values(title=bindparam("named", type_=Text))
_REMEMBER = _CHANGE.where(_UNMOVED).values(
    context_from=bindparam("new_from"),
    summary=bindparam("new_summary"),
    summary_to=bindparam("new_to"),
)


class Left(NamedTuple):
    """What of a conversation is still as it was when the turn began."""

    unnamed: bool
    unmoved: bool


async def left_to_do(session: AsyncSession, turn: Turn) -> Left:
    """Whether it is still for this turn to name the conversation, and to move its context."""
    values = {"conversation": turn.conversation_id, **_was(turn)}
    return Left(*(await execute(session, _LEFT, values)).one())


async def name_conversation(
    session: AsyncSession, turn: Turn, title: str, spending: Spending
) -> None:
    """Give the turn's conversation its title, unless it has one by now."""
    await execute(session, _NAME, {"named": title, **_costs(turn, spending)})


async def remember(
    session: AsyncSession, turn: Turn, remembered: Remembered, spending: Spending
) -> None:
    """Move the beginning of the context, unless it has been moved since the turn began."""
    values = {
        "new_from": remembered.context_from,
        "new_summary": remembered.summary,
        "new_to": remembered.summary_to,
    }
    await execute(session, _REMEMBER, {**values, **_was(turn), **_costs(turn, spending)})


def _was(turn: Turn) -> dict[str, object]:
    return {"was_from": turn.conversation.context_from, "was_to": turn.conversation.summary_to}


def _costs(turn: Turn, spending: Spending) -> dict[str, object]:
    return {
        "message": turn.message_id,
        "spent_input": spending.input,
        "spent_cached": spending.cached,
        "spent_output": spending.output,
    }
