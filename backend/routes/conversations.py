"""Conversations as things a person keeps: listed, opened, named, put away, deleted, exported."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request, Response, status
from fastapi.responses import StreamingResponse

from backend.agent.models.catalog import Providers
from backend.auth import CurrentUser, SignedInRoute
from backend.conversations import lifecycle, listing, messages
from backend.conversations.cursors import NEWEST, Position, read_cursor, write_cursor
from backend.conversations.export import ExportFormat, export
from backend.conversations.lifecycle import Chosen
from backend.conversations.listing import StoredConversation
from backend.database import SessionDep, SessionsDep, open_session
from backend.errors import ValidationFailed
from backend.rate_limiter import rate_limit
from backend.schemas.conversations import (
    ConversationDetail,
    ConversationList,
    ConversationResponse,
    ConversationSettings,
)
from backend.schemas.fields import SearchText
from backend.schemas.messages import MessageResponse
from backend.turns.runtime import RuntimeDep
from backend.web.openapi import (
    CONVERSATION_ERRORS,
    CONVERSATION_LINKS,
    EXPORT_ANSWERS,
    HISTORY_ERRORS,
    HISTORY_LINKS,
)

router = APIRouter(prefix="/api/conversations", tags=["conversations"], route_class=SignedInRoute)

Limit = Annotated[int, Query(ge=1, le=100)]
Archived = Annotated[bool, Query(description="Those that are put away, not those in use.")]
Cursor = Annotated[str | None, Query(description="What the page before gave as the next one.")]
Words = Annotated[
    SearchText, Query(description="Beginnings of words, all in the title or all in one message.")
]
Format = Annotated[ExportFormat, Query(alias="format")]


def _position(listed: str, before: str | None) -> Position:
    if before is None:
        return NEWEST
    try:
        return read_cursor(listed, before)
    except ValueError:
        broken = {"field": "query.before", "message": "must be a cursor of this list"}
        raise ValidationFailed(details=[broken | {"type": "cursor"}]) from None


def _list_name(archived: bool) -> str:
    return "archived" if archived else "conversations"


def _messages_name(conversation_id: int | str) -> str:
    return f"messages of {conversation_id}"


async def _listed_before(archived: Archived = False, before: Cursor = None) -> Position:
    return _position(_list_name(archived), before)


async def _said_before(conversation_id: str, before: Cursor = None) -> Position:
    # by the number, which the path may write with zeros before it
    return _position(_messages_name(messages.read_id(conversation_id) or ""), before)


ListedBefore = Annotated[Position, Depends(_listed_before)]
SaidBefore = Annotated[Position, Depends(_said_before)]


async def _settings(
    runtime: RuntimeDep,
    body: Annotated[ConversationSettings, Body(default_factory=ConversationSettings)],
) -> ConversationSettings:
    """The body; a provider that it names is looked at here, since 422 comes before 429 and 404."""
    if body.provider is not None:
        runtime.providers.choose(body.provider, body.model)
    return body


SettingsBody = Annotated[ConversationSettings, Depends(_settings)]


def _to_store(
    providers: Providers, body: ConversationSettings, current: StoredConversation | None = None
) -> Chosen:
    """What of the body is to be stored; a model is stored with the provider whose it is.

    Raises:
        ValidationFailed: provider or model is not set up; `details` list what is.
    """
    sent = body.model_fields_set
    changes: Chosen = {"title": body.title} if "title" in sent else {}
    if body.model is not None:
        provider = body.provider
        if current is not None and "provider" not in sent:
            provider = providers.of_conversation(current).provider
        choice = providers.choose(provider, body.model)
        return changes | {"provider": choice.provider, "model": choice.model}
    if "provider" in sent:
        changes |= {"provider": body.provider}
    if sent & {"provider", "model"}:
        changes |= {"model": None}
    return changes


def _shown(providers: Providers, stored: StoredConversation) -> ConversationResponse:
    choice = providers.of_conversation(stored)
    return ConversationResponse(**asdict(stored) | choice._asdict())


@router.get(
    "", responses=CONVERSATION_ERRORS, summary="List conversations, most recently active first"
)
@rate_limit("history")
async def list_conversations(
    request: Request,
    user_id: CurrentUser,
    session: SessionDep,
    runtime: RuntimeDep,
    before: ListedBefore,
    archived: Archived = False,
    limit: Limit = 20,
    q: Words = "",
) -> ConversationList:
    """A page of those in use, or of those put away; with `q`, only those in which it was said."""
    page = await listing.list_conversations(
        session, user_id, limit=limit, before=before, archived=archived, search=q
    )
    return ConversationList(
        conversations=[_shown(runtime.providers, each) for each in page.conversations],
        next=write_cursor(_list_name(archived), page.next) if page.next else None,
    )


@router.post(
    "",
    responses=CONVERSATION_ERRORS | CONVERSATION_LINKS,
    status_code=status.HTTP_201_CREATED,
    summary="Begin an empty conversation",
)
@rate_limit("tasks")
async def create_conversation(
    request: Request,
    response: Response,
    body: SettingsBody,
    user_id: CurrentUser,
    session: SessionDep,
    runtime: RuntimeDep,
) -> ConversationResponse:
    made = await lifecycle.create_conversation(session, user_id, _to_store(runtime.providers, body))
    await session.commit()
    response.headers["Location"] = f"{request.url.path}/{made.id}"
    return _shown(runtime.providers, made)


@router.get(
    "/{conversation_id}",
    responses=HISTORY_ERRORS,
    summary="Open a conversation with its newest messages",
)
@rate_limit("history")
async def read_conversation(
    request: Request,
    conversation_id: str,
    user_id: CurrentUser,
    session: SessionDep,
    runtime: RuntimeDep,
    limit: Limit = 50,
) -> ConversationDetail:
    """`next` is where the older messages go on, for `before` of the messages route."""
    stored = await listing.get_conversation(session, user_id, conversation_id)
    page = await messages.read_page(session, stored.id, limit=limit)
    return ConversationDetail.model_validate(
        _shown(runtime.providers, stored).model_dump()
        | {
            "messages": [MessageResponse.model_validate(message) for message in page.messages],
            "next": write_cursor(_messages_name(stored.id), page.next) if page.next else None,
        }
    )


@router.patch("/{conversation_id}", responses=HISTORY_ERRORS, summary="Change the fields sent")
@rate_limit("tasks")
async def change_conversation(
    request: Request,
    conversation_id: str,
    body: SettingsBody,
    user_id: CurrentUser,
    session: SessionDep,
    runtime: RuntimeDep,
) -> ConversationResponse:
    """A provider alone brings its default model; null puts a field back to the default."""
    current = await listing.get_conversation(session, user_id, conversation_id)
    changes = _to_store(runtime.providers, body, current)
    changed = await lifecycle.change_conversation(session, user_id, conversation_id, changes)
    await session.commit()
    return _shown(runtime.providers, changed)


@router.delete(
    "/{conversation_id}",
    responses=HISTORY_ERRORS,
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a conversation with all that was said in it",
)
@rate_limit("tasks")
async def delete_conversation(
    request: Request, conversation_id: str, user_id: CurrentUser, session: SessionDep
) -> None:
    await lifecycle.delete_conversation(session, user_id, conversation_id)
    await session.commit()


@router.post("/{conversation_id}/archive", responses=HISTORY_ERRORS, summary="Put it away")
@rate_limit("tasks")
async def archive_conversation(
    request: Request,
    conversation_id: str,
    user_id: CurrentUser,
    session: SessionDep,
    runtime: RuntimeDep,
) -> ConversationResponse:
    """Out of the list of those in use, until it is fetched back or goes on."""
    stored = await lifecycle.archive_conversation(session, user_id, conversation_id, away=True)
    await session.commit()
    return _shown(runtime.providers, stored)


@router.post("/{conversation_id}/unarchive", responses=HISTORY_ERRORS, summary="Fetch it back")
@rate_limit("tasks")
async def unarchive_conversation(
    request: Request,
    conversation_id: str,
    user_id: CurrentUser,
    session: SessionDep,
    runtime: RuntimeDep,
) -> ConversationResponse:
    stored = await lifecycle.archive_conversation(session, user_id, conversation_id, away=False)
    await session.commit()
    return _shown(runtime.providers, stored)


@router.get(
    "/{conversation_id}/messages",
    responses=HISTORY_ERRORS | HISTORY_LINKS,
    summary="Read the newest messages of a conversation, oldest first",
)
@rate_limit("history")
async def list_messages(
    request: Request,
    response: Response,
    conversation_id: str,
    user_id: CurrentUser,
    session: SessionDep,
    before: SaidBefore,
    limit: Limit = 50,
) -> list[MessageResponse]:
    """The newest `limit` messages; an id of any shape that is not the caller's is a 404.

    Where there are older ones, `Link` with `rel="next"` names their page.
    """
    number = await messages.find_conversation(session, user_id, conversation_id)
    page = await messages.read_page(session, number, limit=limit, before=before)
    if page.next:
        cursor = write_cursor(_messages_name(number), page.next)
        older = f"{request.url.path}?limit={limit}&before={cursor}"
        response.headers["Link"] = f'<{older}>; rel="next"'
    return [MessageResponse.model_validate(message) for message in page.messages]


@router.get(
    "/{conversation_id}/export",
    response_class=StreamingResponse,
    responses=EXPORT_ANSWERS,
    summary="Download a whole conversation",
)
@rate_limit("history")
async def export_conversation(
    request: Request,
    conversation_id: str,
    user_id: CurrentUser,
    sessions: SessionsDep,
    runtime: RuntimeDep,
    wanted: Format = ExportFormat.JSON,
) -> StreamingResponse:
    """As it is sent it is read; one that breaks off in the middle is not a whole JSON."""
    async with open_session(sessions) as session:
        stored = await listing.get_conversation(session, user_id, conversation_id)
    return export(sessions, _shown(runtime.providers, stored), wanted)
