"""The statements of a turn, told once: SQLAlchemy compiles each the first time it is run.

A run writes to its assistant's row under its own attempt and only while the row is running,
which is what keeps out a run that was given up.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    Integer,
    Interval,
    Select,
    Text,
    and_,
    bindparam,
    func,
    insert,
    literal,
    null,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from backend.conversations.messages import OWNED, conversations, messages
from backend.models import MessageStatus, Role

LEASE = timedelta(seconds=6)
"""How long a run counts as alive after its process last said so."""

_lease_end = func.clock_timestamp() + literal(LEASE, Interval)
_OPENED = (
    conversations.c.id,
    conversations.c.message_count,
    conversations.c.title,
    conversations.c.provider,
    conversations.c.model,
    conversations.c.context_from,
    conversations.c.summary,
    conversations.c.summary_to,
)
_SPENT: dict[str, BindParameter[Any]] = {
    "provider": bindparam("answered_by"),
    "model": bindparam("answered_with"),
    "input_tokens": bindparam("spent_input"),
    "cached_tokens": bindparam("spent_cached"),
    "output_tokens": bindparam("spent_output"),
}
"""Who answers a turn and what its runs have cost so far, at each of their writes."""


def _begin(opened: CTE) -> Select[*tuple[Any, ...]]:
    """Both rows of a turn written in the conversation that `opened` makes or finds.

    One statement: it locks the conversation's row, so turns that begin at once in it queue here
    and each pair of rows stays together.
    """
    asked = (
        insert(messages)
        .from_select(
            ["conversation_id", "user_id", "role", "content", "status"],
            select(
                opened.c.id,
                bindparam("owner", type_=Text),
                literal(Role.USER.value, Text),
                bindparam("text", type_=Text),
                literal(MessageStatus.COMPLETE.value, Text),
            ),
        )
        .returning(messages.c.id)
        .cte("asked")
    )
    answer = (
        insert(messages)
        .from_select(
            [
                "conversation_id",
                "user_id",
                "role",
                "content",
                "status",
                "reply_to",
                "lease_until",
                "idempotency_key",
                "request_hash",
            ],
            select(
                opened.c.id,
                bindparam("owner", type_=Text),
                literal(Role.ASSISTANT.value, Text),
                literal("", Text),
                literal(MessageStatus.RUNNING.value, Text),
                asked.c.id,
                _lease_end,
                bindparam("key", type_=Text),
                bindparam("hash", type_=Text),
            ).select_from(opened.join(asked, true())),
        )
        .returning(messages.c.id, messages.c.reply_to, messages.c.created_at)
        .cte("answer")
    )
    return select(
        *opened.c,
        answer.c.id.label("message_id"),
        answer.c.reply_to,
        answer.c.created_at,
    ).select_from(opened.join(answer, true()))


BEGIN_NEW = _begin(
    insert(conversations)
    .values(user_id=bindparam("owner"), message_count=2)
    .returning(*_OPENED)
    .cte("opened")
)
BEGIN_HERE = _begin(
    update(conversations)
    .where(OWNED)
    # a new message fetches the conversation back from the archive
    .values(message_count=conversations.c.message_count + 2, archived_at=null())
    .returning(*_OPENED)
    .cte("opened")
)
_MINE = and_(
    messages.c.id == bindparam("message"),
    messages.c.attempt == bindparam("of_attempt"),
)
_RUNNING = and_(_MINE, messages.c.status == MessageStatus.RUNNING)
TAKE_UP = (
    update(messages)
    .where(_MINE, conversations.c.id == messages.c.conversation_id)
    .values(
        status=MessageStatus.RUNNING.value,
        attempt=messages.c.attempt + 1,
        lease_until=_lease_end,
        ended_at=null(),
    )
    .returning(
        *_OPENED,
        messages.c.id.label("message_id"),
        messages.c.attempt,
        messages.c.reply_to,
        messages.c.created_at,
        messages.c.tool_calls_json,
        messages.c.input_tokens,
        messages.c.cached_tokens,
        messages.c.output_tokens,
    )
)
FETCH_BACK = (
    update(conversations)
    .where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.archived_at.is_not(None),
    )
    .values(archived_at=null())
)
"""What a new message does in the statement of its own, for a turn that is taken up."""
JOURNAL = (
    update(messages)
    .where(_RUNNING)
    .values(tool_calls_json=bindparam("calls"), content=bindparam("so_far"), **_SPENT)
    .returning(messages.c.id)
)
_ANSWERED = (
    update(messages)
    # also where it is complete: the first try may have been committed and its word lost
    .where(_MINE, messages.c.status != MessageStatus.FAILED)
    .values(
        content=bindparam("answer"),
        status=MessageStatus.COMPLETE.value,
        ended_at=func.clock_timestamp(),
        **_SPENT,
    )
    .returning(messages.c.conversation_id)
    .cte("answered")
)
FINISH = (
    update(conversations)
    .where(conversations.c.id == _ANSWERED.c.conversation_id)
    .values(
        updated_at=func.clock_timestamp(),
        title=func.coalesce(conversations.c.title, bindparam("named", type_=Text)),
    )
    .returning(conversations.c.id)
)
FAIL = (
    update(messages)
    .where(_RUNNING)
    .values(status=MessageStatus.FAILED.value, ended_at=func.clock_timestamp(), **_SPENT)
)
RECORD = select(messages.c.tool_calls_json).where(messages.c.id == bindparam("message"))
_held = (
    func.unnest(
        bindparam("messages", type_=ARRAY(BigInteger)), bindparam("attempts", type_=ARRAY(Integer))
    )
    .table_valued("message", "attempt")
    .render_derived(name="held")
)
RENEW = (
    update(messages)
    .where(
        messages.c.id == _held.c.message,
        messages.c.attempt == _held.c.attempt,
        messages.c.status == MessageStatus.RUNNING,
    )
    .values(lease_until=_lease_end)
)
