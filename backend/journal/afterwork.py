"""What is written of a conversation after a turn in it has been answered.

Each write is one statement, which also adds what the model took for it to the turn's own tokens, so
that nothing is spent off the books. None moves the conversation up: nobody has said anything.
"""

from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Numeric,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from backend.conversations.messages import DEAD, conversations, messages
from backend.database import Session, execute
from backend.journal.spending import Spending
from backend.journal.turns import Turn
from backend.models import MessageStatus
from backend.run_models import Spent


class Remembered(NamedTuple):
    """Where a conversation's context begins, and what is kept of the part before it."""

    context_from: int
    """The oldest message that the model is still given as it was said."""
    summary: str
    summary_to: int
    """The newest message that the summary covers."""


spending: Any = Spent.__table__  # type: ignore[attr-defined]


def _plus(column: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """Null, which is unknown, stays where nothing was counted."""
    spent = bindparam(name, type_=BigInteger)
    return case((spent.is_(None), column), else_=func.coalesce(column, 0) + spent)


_PAID = (
    update(messages)
    .where(messages.c.id == bindparam("message"), messages.c.user_id == bindparam("owner"))
    .values(
        input_tokens=_plus(messages.c.input_tokens, "spent_input"),
        cached_tokens=_plus(messages.c.cached_tokens, "spent_cached"),
        output_tokens=_plus(messages.c.output_tokens, "spent_output"),
    )
    .returning(messages.c.id, messages.c.user_id, messages.c.conversation_id)
    .cte("paid")
)
_booked = insert(spending).from_select(
    [
        *("message_id", "attempt", "user_id", "provider", "model"),
        *("input_tokens", "cached_tokens", "output_tokens", "cost_usd"),
    ],
    select(
        _PAID.c.id,
        bindparam("of_attempt", type_=Integer),
        _PAID.c.user_id,
        bindparam("by_provider", type_=Text),
        bindparam("by_model", type_=Text),
        bindparam("spent_input", type_=BigInteger),
        bindparam("spent_cached", type_=BigInteger),
        bindparam("spent_output", type_=BigInteger),
        bindparam("spent_cost", type_=Numeric),
    ).where(bindparam("spent_input", type_=BigInteger).is_not(None)),
)
_BOOKED = (
    _booked.on_conflict_do_update(
        index_elements=[spending.c.message_id, spending.c.attempt],
        set_={
            name: func.coalesce(
                spending.c[name] + _booked.excluded[name],
                spending.c[name],
                _booked.excluded[name],
            )
            for name in ("input_tokens", "cached_tokens", "output_tokens", "cost_usd")
        },
    )
    .returning(spending.c.message_id)
    .cte("booked")
)
_CHANGE = (
    update(conversations)
    .where(
        conversations.c.id == _PAID.c.conversation_id,
        conversations.c.user_id == bindparam("owner"),
    )
    .add_cte(_BOOKED)
)
_UNNAMED = and_(
    conversations.c.title == bindparam("by_rule", type_=Text), conversations.c.deleted_at.is_(None)
)
_EARLIER_RUNS = exists().where(
    messages.c.conversation_id == conversations.c.id,
    messages.c.id < bindparam("message"),
    messages.c.status == MessageStatus.RUNNING,
    not_(DEAD),
)
"""An earlier turn has not ended: what it did must not fall behind the context unsaid."""
_own = messages.alias("own")
_read_at = select(_own.c.created_at).where(_own.c.id == bindparam("message")).scalar_subquery()
_CHANGED_SINCE = exists().where(
    messages.c.conversation_id == conversations.c.id,
    messages.c.id < bindparam("message"),
    or_(messages.c.ended_at >= _read_at, messages.c.undone_at >= _read_at),
)
"""An earlier turn was ended or undone since it was read: a summary would tell of it as it was."""
_SAME_SUMMARY = conversations.c.summary.is_not_distinct_from(bindparam("was", type_=Text))
_UNMOVED = and_(
    conversations.c.deleted_at.is_(None),
    _SAME_SUMMARY,
    not_(_EARLIER_RUNS),
    not_(_CHANGED_SINCE),
    conversations.c.context_from.is_not_distinct_from(bindparam("was_from", type_=BigInteger)),
    conversations.c.summary_to.is_not_distinct_from(bindparam("was_to", type_=BigInteger)),
)
_THIS = and_(
    conversations.c.id == bindparam("conversation"),
    conversations.c.user_id == bindparam("owner"),
)
_LEFT = select(_UNNAMED, _UNMOVED).where(_THIS)
_NAME_CONVERSATION = _CHANGE.where(_UNNAMED).values(title=bindparam("named", type_=Text))
_REMEMBER = _CHANGE.where(_UNMOVED).values(
    context_from=bindparam("new_from"),
    summary=bindparam("new_summary"),
    summary_to=bindparam("new_to"),
)

_LOCK_CONVERSATION = select(conversations.c.id).where(_THIS).with_for_update()
"""A statement of its own, behind which the next one sees what those who held the lock have done."""
_LOCK_SUMMARY = (
    select(conversations.c.id, conversations.c.summary)
    .where(
        conversations.c.user_id == bindparam("owner"),
        conversations.c.id
        == select(_own.c.conversation_id)
        .where(_own.c.id == bindparam("message"), _own.c.user_id == bindparam("owner"))
        .scalar_subquery(),
    )
    .add_columns((conversations.c.summary_to >= bindparam("message")).label("tells"))
    .with_for_update()
)
_SUMMARY = select(conversations.c.summary).where(_THIS)
_REWRITE = (
    update(conversations)
    .where(_THIS, _SAME_SUMMARY)
    .values(summary=bindparam("new_summary"))
    .returning(conversations.c.id)
)


class Left(NamedTuple):
    """What of a conversation is still as it was when the turn began."""

    unnamed: bool | None
    """Whether its title is the one by rule."""
    unmoved: bool


async def left_to_do(session: Session, turn: Turn, by_rule: str | None = None) -> Left:
    """Whether it is still for this turn to name the conversation, and to move its context."""
    values = {
        "by_rule": by_rule,
        "owner": turn.owner,
        "conversation": turn.conversation_id,
        "message": turn.message_id,
        **_was(turn),
    }
    return Left(*(await execute(session, _LEFT, values)).one())


async def name_conversation(
    session: Session, turn: Turn, by_rule: str, title: str, spending: Spending
) -> None:
    """Give the turn's conversation a title in place of that by rule, if it still has that one."""
    await execute(
        session, _NAME_CONVERSATION, {"by_rule": by_rule, "named": title, **_costs(turn, spending)}
    )


async def remember(
    session: Session, turn: Turn, remembered: Remembered, spending: Spending
) -> None:
    """Move the beginning of the context, unless another turn is or was there first.

    It stays where it has been moved since the turn began, and where an earlier turn still runs,
    or was ended or undone since: what it did would fall out unsaid. Commits.
    """
    values: dict[str, object] = {
        "new_from": remembered.context_from,
        "new_summary": remembered.summary,
        "new_to": remembered.summary_to,
    }
    values |= {**_was(turn), **_costs(turn, spending)}
    locked = {"owner": turn.owner, "conversation": turn.conversation_id}
    await session.flight((_LOCK_CONVERSATION, locked), (_REMEMBER, values), commit=True)


async def read_summary(session: Session, turn: Turn) -> str | None:
    """The summary of the turn's conversation as it stands now."""
    place = {"owner": turn.owner, "conversation": turn.conversation_id}
    found = await execute(session, _SUMMARY, place)
    summary: str | None = found.scalar_one()
    return summary


async def lock_summary(session: Session, user_id: str, message_id: int) -> tuple[int, str] | None:
    """The id and the summary of the message's conversation, locked; None where it says nothing.

    Locked all the same: what is said of the message after this sees what has become of it.
    """
    row = (await execute(session, _LOCK_SUMMARY, {"owner": user_id, "message": message_id})).one()
    return (row.id, row.summary) if row.tells and row.summary else None


async def rewrite_summary(
    session: Session, user_id: str, conversation_id: int, was: str | None, summary: str
) -> bool:
    """Put `summary` in place of `was`; False where another has been written meanwhile."""
    values = {
        "owner": user_id,
        "conversation": conversation_id,
        "was": was,
        "new_summary": summary,
    }
    return (await execute(session, _REWRITE, values)).one_or_none() is not None


def _was(turn: Turn) -> dict[str, object]:
    conversation = turn.conversation
    return {
        "was": conversation.summary,
        "was_from": conversation.context_from,
        "was_to": conversation.summary_to,
    }


def _costs(turn: Turn, spending: Spending) -> dict[str, object]:
    return spending.booked() | {
        "owner": turn.owner,
        "message": turn.message_id,
        "of_attempt": turn.attempt,
        "by_provider": turn.provider,
        "by_model": turn.model,
    }
