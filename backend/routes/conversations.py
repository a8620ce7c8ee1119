"""Conversations as things a person keeps: listed, opened, named, put away, deleted, exported."""

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import StreamingResponse

from backend.auth import CurrentUser, SignedInRoute
from backend.conversations import lifecycle, listing, pages
from backend.database import SessionDep, SessionsDep, open_session
from backend.journal.usage import ask_usage_of
from backend.rate_limiter import rate_limit
from backend.routes.cursors import (
    Archived,
    BeforeConversation,
    BeforeMessage,
    conversations_cursor,
    messages_cursor,
)
from backend.routes.export import ExportFormat, download, message_json
from backend.routes.long_lists import LONG_BYTES, listed
from backend.routes.provider_choice import SettingsBody, chosen, shown
from backend.routes.runtime import RuntimeDep
from backend.schemas.conversations import (
    ConversationDetail,
    ConversationList,
    ConversationResponse,
    ConversationUsage,
)
from backend.schemas.fields import SearchText
from backend.schemas.messages import MessageResponse
from backend.web.openapi import (
    CONVERSATION_ERRORS,
    CONVERSATION_LINKS,
    EXPORT_ANSWERS,
    HISTORY_ERRORS,
    HISTORY_LINKS,
    ONE_PROJECT_ERRORS,
)

router = APIRouter(prefix="/api/conversations", tags=["conversations"], route_class=SignedInRoute)

Limit = Annotated[int, Query(ge=1, le=100)]
Words = Annotated[
    SearchText, Query(description="Beginnings of words, all in the title or all in one message.")
]
Format = Annotated[ExportFormat, Query(alias="format")]


@router.get(
    "", responses=CONVERSATION_ERRORS, summary="List conversations, most recently active first"
)
@rate_limit("history")
async def list_conversations(
    request: Request,
    user_id: CurrentUser,
    session: SessionDep,
    runtime: RuntimeDep,
    before: BeforeConversation,
    archived: Archived = False,
    limit: Limit = 20,
    q: Words = "",
) -> ConversationList:
    """A page of those in use, or of those put away; with `q`, only those in which it was said."""
    page = await listing.list_conversations(
        session, user_id, limit=limit, before=before, archived=archived, search=q
    )
    return ConversationList(
        conversations=[shown(runtime, each) for each in page.conversations],
        next=conversations_cursor(archived, page.next),
    )


@router.post(
    "",
    responses=ONE_PROJECT_ERRORS | CONVERSATION_LINKS,
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
    made = await lifecycle.create_conversation(session, user_id, chosen(runtime, body))
    await session.commit()
    response.headers["Location"] = f"{request.url.path}/{made.id}"
    return shown(runtime, made)


@router.get(
    "/{conversation_id}",
    response_model=ConversationDetail,
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
) -> Response:
    """`next` is where the older messages go on, for `before` of the messages route."""
    stored = await listing.get_conversation(session, user_id, conversation_id)
    used = ask_usage_of(session, stored.id)
    page = await pages.read_page(session, stored.id, limit=limit)
    fields = shown(runtime, stored).model_dump(mode="json")
    fields["usage"] = ConversationUsage.model_validate((await used).one()).model_dump(mode="json")
    head = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).removesuffix("}")
    cursor = json.dumps(messages_cursor(stored.id, page.next))
    return _messages_shown(page, head + ',"messages":', f',"next":{cursor}}}')


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
    changes = chosen(runtime, body, current)
    changed = await lifecycle.change_conversation(session, user_id, conversation_id, changes)
    await session.commit()
    return shown(runtime, changed)


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


@router.post(
    "/{conversation_id}/restore",
    responses=HISTORY_ERRORS,
    summary="Have back a conversation that was deleted within ten minutes",
)
@rate_limit("tasks")
async def restore_conversation(
    request: Request,
    conversation_id: str,
    user_id: CurrentUser,
    session: SessionDep,
    runtime: RuntimeDep,
) -> ConversationResponse:
    """With all that was said in it; one that is not deleted stays as it is."""
    stored = await lifecycle.restore_conversation(session, user_id, conversation_id)
    await session.commit()
    return shown(runtime, stored)


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
    return shown(runtime, stored)


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
    return shown(runtime, stored)


@router.get(
    "/{conversation_id}/messages",
    response_model=list[MessageResponse],
    responses=HISTORY_ERRORS | HISTORY_LINKS,
    summary="Read the newest messages of a conversation, oldest first",
)
@rate_limit("history")
async def list_messages(
    request: Request,
    conversation_id: str,
    user_id: CurrentUser,
    session: SessionDep,
    before: BeforeMessage,
    limit: Limit = 50,
) -> Response:
    """The newest `limit` messages, fewer where they are long.

    An id of any shape that is not the caller's is a 404. Where there are older ones, `Link` with
    `rel="next"` names their page.
    """
    number, page = await pages.read_history(
        session, user_id, conversation_id, limit=limit, before=before
    )
    answer = _messages_shown(page)
    if cursor := messages_cursor(number, page.next):
        older = f"{request.url.path}?limit={limit}&before={cursor}"
        answer.headers["Link"] = f'<{older}>; rel="next"'
    return answer


def _messages_shown(page: pages.MessagePage, head: str = "", tail: str = "") -> Response:
    shown = map(message_json, page.messages)
    return listed(shown, long=page.bytes > LONG_BYTES, head=head, tail=tail)


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
    return download(sessions, stored, shown(runtime, stored), wanted)
