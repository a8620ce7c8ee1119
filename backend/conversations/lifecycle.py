"""What a person does with a conversation as a whole: make, name, put away, delete, restore it.

None of it moves `updated_at`, which is when a turn last ended there: to rename a conversation
or to fetch it back from the archive does not bring it to the top.

Nothing here commits: the caller's transaction does.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Any, TypedDict

from sqlalchemy import Executable, bindparam, func, insert, null, or_, update

from backend.conversations.listing import StoredConversation, get_conversation
from backend.conversations.messages import OWNED, conversation_number, conversations
from backend.database import Session, execute
from backend.errors import ConversationNotFound, ProjectNotFound
from backend.tasks.projects import known_project, project_of_owner


class Chosen(TypedDict, total=False):
    """What a person sets of a conversation; null is no choice."""

    title: str | None
    provider: str | None
    model: str | None
    project_id: int | None
    toolsets: str | None


_CHANGE_OWN = update(conversations).where(OWNED).returning(conversations.c.id)
_ARCHIVE = _CHANGE_OWN.values(
    archived_at=func.coalesce(conversations.c.archived_at, func.clock_timestamp())
)
_UNARCHIVE = _CHANGE_OWN.values(archived_at=null())
_DELETE_CONVERSATION = _CHANGE_OWN.values(deleted_at=func.clock_timestamp())
RESTORABLE = timedelta(minutes=10)
"""How long after it was deleted a conversation can be had back."""
_RESTORE = (
    update(conversations)
    .where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.user_id == bindparam("owner"),
        or_(
            conversations.c.deleted_at.is_(None),
            conversations.c.deleted_at > func.clock_timestamp() - RESTORABLE,
        ),
    )
    .values(deleted_at=null())
    .returning(conversations.c.id)
)
_INSERT_CONVERSATION = (
    insert(conversations)
    .values(
        user_id=bindparam("owner"),
        title=bindparam("title"),
        provider=bindparam("provider"),
        model=bindparam("model"),
        project_id=project_of_owner(),
        toolsets=bindparam("toolsets"),
    )
    .returning(conversations.c.id)
)


async def create_conversation(session: Session, user_id: str, chosen: Chosen) -> StoredConversation:
    """An empty conversation; what is not chosen is null."""
    nothing = dict.fromkeys(("title", "provider", "model", "toolsets"))
    values = {**nothing, **chosen, "owner": user_id}
    values["project"] = known_project(chosen.get("project_id"))
    values.pop("project_id", None)
    made = (await execute(session, _INSERT_CONVERSATION, values)).scalar_one()
    return _in_project(await get_conversation(session, user_id, str(made)), chosen)


async def change_conversation(
    session: Session,
    user_id: str,
    conversation_id: str,
    chosen: Chosen,
) -> StoredConversation:
    """The conversation with what `chosen` names set, or cleared where that is null.

    Raises:
        ConversationNotFound: not there, deleted, someone else's, or no id at all.
    """
    if chosen:
        known_project(chosen.get("project_id"))
        values = {f"new_{name}": value for name, value in chosen.items()}
        await _apply(session, user_id, conversation_id, _choosing(frozenset(chosen)), values)
    return _in_project(await get_conversation(session, user_id, conversation_id), chosen)


@cache
def _choosing(names: frozenset[str]) -> Executable:
    new: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    if "project_id" in names:
        new["project_id"] = project_of_owner("new_project_id")
    return _CHANGE_OWN.values(new)


def _in_project(stored: StoredConversation, chosen: Chosen) -> StoredConversation:
    if "project_id" in chosen and stored.project_id != chosen["project_id"]:
        raise ProjectNotFound
    return stored


async def archive_conversation(
    session: Session, user_id: str, conversation_id: str, *, away: bool
) -> StoredConversation:
    """Put the conversation away, or fetch it back; one that is there already stays as it is.

    Raises:
        ConversationNotFound: not there, deleted, someone else's, or no id at all.
    """
    await _apply(session, user_id, conversation_id, _ARCHIVE if away else _UNARCHIVE)
    return await get_conversation(session, user_id, conversation_id)


async def delete_conversation(session: Session, user_id: str, conversation_id: str) -> None:
    """Delete it softly, with all that was said in it; a turn under way there ends unseen.

    Raises:
        ConversationNotFound: not there, deleted before, someone else's, or no id at all.
    """
    await _apply(session, user_id, conversation_id, _DELETE_CONVERSATION)


async def restore_conversation(
    session: Session, user_id: str, conversation_id: str
) -> StoredConversation:
    """Have back what was deleted within `RESTORABLE`; one that is there stays as it is.

    Raises:
        ConversationNotFound: not there, deleted longer ago, someone else's, or no id at all.
    """
    await _apply(session, user_id, conversation_id, _RESTORE)
    return await get_conversation(session, user_id, conversation_id)


async def _apply(
    session: Session,
    user_id: str,
    conversation_id: str,
    change: Executable,
    values: Mapping[str, object] | None = None,
) -> None:
    number = conversation_number(conversation_id)
    owned = {"conversation": number, "owner": user_id}
    if (await execute(session, change, {**owned, **(values or {})})).one_or_none() is None:
        raise ConversationNotFound
