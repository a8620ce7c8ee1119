"""A person's conversations: one of them, a page of them, those in which something was said.

The newest page of ten thousand costs what that of ten does: the list is read backwards off an
index that has its order, and a count is the conversation's own, less the few rows that their
readers are not shown, which an index of unfinished rows holds.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Select,
    TextClause,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    text,
    tuple_,
    union,
)
from sqlalchemy.dialects.postgresql import ARRAY

from backend.conversations.messages import (
    OWNED,
    SHOWN,
    conversation_number,
    conversations,
    messages,
)
from backend.cursors import NEWEST, POSITION, Position, position_values
from backend.database import Session, execute
from backend.errors import ConversationNotFound
from backend.text_search import found_by_terms, wanted_runs, wanted_words

# as the indexes say it: a value that is bound cannot be known to be theirs
_COMPLETE = messages.c.status == literal_column("'complete'")
_UNFINISHED = messages.c.status != literal_column("'complete'")


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation as its owner sees it; provider and model are null where none was chosen."""

    id: int
    title: str | None
    provider: str | None
    model: str | None
    message_count: int
    """Messages in its history, as it is shown."""
    created_at: datetime
    updated_at: datetime
    """When its last answered turn ended, else when it was made."""
    archived_at: datetime | None
    origin: str | None
    project_id: int | None
    toolsets: str | None

    @property
    def position(self) -> Position:
        return Position(self.updated_at, self.id)


@dataclass(frozen=True, slots=True)
class ConversationPage:
    conversations: list[StoredConversation]
    next: Position | None
    """Where the following page begins; None at the end."""


_hidden = (
    select(func.count())
    .where(messages.c.conversation_id == conversations.c.id, _UNFINISHED, ~SHOWN)
    .scalar_subquery()
)
_STORED = select(
    conversations.c.id,
    conversations.c.title,
    conversations.c.provider,
    conversations.c.model,
    (conversations.c.message_count - _hidden).label("message_count"),
    conversations.c.created_at,
    conversations.c.updated_at,
    conversations.c.archived_at,
    conversations.c.origin,
    conversations.c.project_id,
    conversations.c.toolsets,
)
_ONE_CONVERSATION = _STORED.where(OWNED)


def _found_in(column: str) -> TextClause:
    found = found_by_terms(
        column, "CAST(:owner AS text)", "CAST(:words AS text)", "CAST(:runs AS text[])"
    )
    return text(found)


_named = conversations.alias("named")
_own = conversations.alias("own")
_OWN_IDS = func.array(
    select(_own.c.id)
    .where(_own.c.user_id == bindparam("owner"), _own.c.deleted_at.is_(None))
    .scalar_subquery(),
    type_=ARRAY(BigInteger),
)
_IDS_FOUND = union(
    select(_named.c.id).where(
        _named.c.user_id == bindparam("owner"),
        _named.c.title.is_not(None),
        _found_in("title"),
    ),
    *(
        select(messages.c.conversation_id).where(
            # so that it is a search of one person's messages also while there is no index
            messages.c.conversation_id == any_(_OWN_IDS),
            messages.c.user_id == bindparam("owner"),
            state,
            SHOWN,
            _found_in("content"),
        )
        for state in (_COMPLETE, _UNFINISHED)
    ),
)


def _page_of_conversations(*, archived: bool) -> Select[*tuple[object, ...]]:
    away = conversations.c.archived_at
    order = (conversations.c.updated_at, conversations.c.id)
    return (
        _STORED.where(
            conversations.c.user_id == bindparam("owner"),
            conversations.c.deleted_at.is_(None),
            away.is_not(None) if archived else away.is_(None),
            tuple_(*order) < POSITION,
        )
        .order_by(*(column.desc() for column in order))
        .limit(bindparam("limit"))
    )


_PAGES = {archived: _page_of_conversations(archived=archived) for archived in (False, True)}
# an array, which a plan that was made for few hits probes well for many of them too
_HITS = func.array(_IDS_FOUND.scalar_subquery(), type_=ARRAY(BigInteger))
_SEARCHES = {
    archived: page.where(conversations.c.id == any_(_HITS)) for archived, page in _PAGES.items()
}


async def get_conversation(
    session: Session, user_id: str, conversation_id: str
) -> StoredConversation:
    """One of this user's conversations, by whatever the client kept as its id.

    Raises:
        ConversationNotFound: not there, deleted, someone else's, or no id at all.
    """
    number = conversation_number(conversation_id)
    values = {"conversation": number, "owner": user_id}
    row = (await execute(session, _ONE_CONVERSATION, values)).one_or_none()
    if row is None:
        raise ConversationNotFound
    return StoredConversation(*row)


async def list_conversations(
    session: Session,
    user_id: str,
    *,
    limit: int,
    before: Position = NEWEST,
    archived: bool = False,
    search: str = "",
) -> ConversationPage:
    """The `limit` most recently active ones before a position: those in use, or those put away.

    With `search`, only those whose title has all its words, or one message of whose history
    has; each as the beginning of a word, whatever its case and width. What holds no word at all is
    found nowhere.
    """
    values = position_values(before) | {"owner": user_id, "limit": limit + 1}
    statement = _PAGES[archived]
    if search:
        words = wanted_words(search)
        if not words:
            return ConversationPage([], None)
        statement = _SEARCHES[archived]
        values |= {"words": " ".join(words), "runs": wanted_runs(search)}
    rows = await execute(session, statement, values)
    found = [StoredConversation(*row) for row in rows]
    more = found[limit - 1].position if len(found) > limit else None
    return ConversationPage(found[:limit], more)
