"""The chat as the AI SDK's `useChat` speaks it, so that a page needs no adapter code of its own."""

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response, status
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from backend.auth import CurrentUser
from backend.conversations.names import Chat, find_chat
from backend.conversations.parts import parts_of
from backend.conversations.ui_messages import UiMessage as StoredMessage
from backend.conversations.ui_messages import newest_messages
from backend.errors import ConversationNotFound, ValidationFailed
from backend.journal.requests import TurnRequest, key_of_names
from backend.journal.standing import newest_turn
from backend.models import Role
from backend.rate_limiter import count_call, rate_limit
from backend.routes.answering import AnswerRoute, ClientDep
from backend.routes.chat import Key, StopBody
from backend.routes.event_stream import follow_turn, stream_turn
from backend.routes.headers import TimeZone
from backend.routes.runtime import RuntimeDep
from backend.schemas.fields import iso_utc
from backend.schemas.ui_chat import (
    ChatId,
    StopAnswer,
    UiChatRequest,
    UiMessage,
    kept_id,
    read_chat_id,
)
from backend.turns.runtime import Runtime
from backend.turns.stopping import stop_turn
from backend.web.openapi import (
    HISTORY_ERRORS,
    STOP_ERRORS,
    UI_CHAT_ANSWERS,
    UI_RESUME_ANSWERS,
    inlined,
)
from backend.web.ui_stream import metadata, ui_parts

PATH = "/api/ui/chat"
BODY_MAX = 8 * 1024 * 1024
"""Bytes of a message's body, which by default holds the whole history; only its end is taken."""

router = APIRouter(prefix=PATH, tags=["ui"], route_class=AnswerRoute)


async def _message(request: Request) -> UiChatRequest:
    """The body, read without making objects of what is not taken from it.

    Raises:
        RequestValidationError: it is not JSON, or not a message of the person.
    """
    if "json" not in request.headers.get("content-type", "application/json"):
        raise ValidationFailed
    try:
        body = UiChatRequest.model_validate_json(await request.body())
        _ = body.text
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in faults]
        ) from None
    return body


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": inlined(UiChatRequest)}},
    }
}
MessageBody = Annotated[UiChatRequest, Depends(_message)]
PathId = Annotated[ChatId, Path()]
Limit = Annotated[int, Query(ge=1, le=100)]


async def _asked(
    runtime: Runtime, user_id: str, body: UiChatRequest, key: str | None, zone: str | None
) -> TurnRequest:
    """The turn that the message asks for, under the client's names for it.

    Raises:
        ConversationNotFound: there is no conversation of that number, or it is deleted.
    """
    async with runtime.autocommit() as session:
        chat = await find_chat(session, user_id, body.id)
    name = body.id if chat is None else chat.name
    number = None if chat is None else chat.conversation_id
    message = body.newest.id
    if key is None and message is not None:
        key = key_of_names(str(number) if name is None else name, message)
    return TurnRequest(number, body.text, key, zone, chat=name, asked_as=kept_id(message))


@router.post("", responses=UI_CHAT_ANSWERS, openapi_extra=_BODY, summary="Send a message")
async def ui_chat(
    request: Request,
    body: MessageBody,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    client: ClientDep,
    idempotency_key: Key = None,
    time_zone: TimeZone = None,
) -> Response:
    """The stream of the turn; the same message again while it is answered is the same stream."""
    try:
        asked = await _asked(runtime, user_id, body, idempotency_key, time_zone)
    except ConversationNotFound:
        await count_call(request, "chat")
        raise
    return await stream_turn(request, runtime, user_id, client, asked)


@router.get(
    "/{chat_id:path}/stream",
    responses=UI_RESUME_ANSWERS,
    summary="Follow the newest turn of a chat once more",
)
@rate_limit("history")
async def resume_ui_chat(
    request: Request, chat_id: str, user_id: CurrentUser, runtime: RuntimeDep, client: ClientDep
) -> Response:
    """The whole message from its beginning, and then what comes; 204 where there is nothing new."""
    nothing = Response(status_code=status.HTTP_204_NO_CONTENT)
    with suppress(ValueError, ConversationNotFound):
        async with runtime.autocommit() as session:
            chat = await find_chat(session, user_id, read_chat_id(chat_id))
            turn = chat and await newest_turn(session, chat.conversation_id)
        if turn and turn.recent:
            return follow_turn(runtime, user_id, client, turn)
    return nothing


@router.post(
    "/{chat_id:path}/stop", responses=STOP_ERRORS, summary="Stop the turn that is being answered"
)
async def stop_ui_chat(
    chat_id: PathId, user_id: CurrentUser, runtime: RuntimeDep, body: StopBody
) -> StopAnswer:
    """It counts against no limit. What was said so far is kept, and so is what was done."""
    chat = await _chat(runtime, user_id, chat_id)
    stopped = await stop_turn(runtime, chat.conversation_id, body.message_id)
    return StopAnswer.model_validate(asdict(stopped))


@router.get("/{chat_id:path}/stop", include_in_schema=False)
async def no_method_of_stop() -> None:
    """405, which the route below would take for the reading of a chat."""
    raise HTTPException(405)


@router.get("/{chat_id:path}", responses=HISTORY_ERRORS, summary="Read a chat as useChat holds it")
@rate_limit("history")
async def read_ui_chat(
    request: Request,
    chat_id: PathId,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    limit: Limit = 50,
) -> list[UiMessage]:
    """The newest `limit` messages, oldest first, ready for `useChat({messages})`."""
    chat = await _chat(runtime, user_id, chat_id)
    async with runtime.autocommit() as session:
        messages = await newest_messages(session, chat.conversation_id, limit)
    return [_shown(chat.conversation_id, message) for message in messages]


async def _chat(runtime: Runtime, user_id: str, chat_id: str) -> Chat:
    """The conversation that the client calls so.

    Raises:
        ConversationNotFound: there is none, or it is someone else's.
    """
    async with runtime.autocommit() as session:
        chat = await find_chat(session, user_id, chat_id)
    if chat is None:
        raise ConversationNotFound
    return chat


def _shown(conversation_id: int, message: StoredMessage) -> UiMessage:
    marks = {name: True for name in ("stopped", "failed") if getattr(message, name)}
    told = metadata(conversation_id, message.created_at, undone_at=iso_utc(message.undone_at))
    if message.role == Role.USER:
        said: list[dict[str, Any]] = [{"type": "text", "text": message.content}]
        id_ = message.client_id or str(message.id)
        return UiMessage(id=id_, role="user", metadata=told, parts=said)
    parts = ui_parts(message.id, parts_of(message.content, message.calls))
    return UiMessage(id=str(message.id), role="assistant", metadata=told | marks, parts=list(parts))
