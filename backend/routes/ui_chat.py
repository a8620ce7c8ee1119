"""The chat as the AI SDK's `useChat` speaks it, so that a page needs no adapter code of its own."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response, status

from backend.auth import CurrentUser
from backend.conversations.names import Chat, ask_chat, find_chat, is_number, read_chat
from backend.conversations.parts import parts_of
from backend.conversations.ui_messages import UiMessage as StoredMessage
from backend.conversations.ui_messages import newest_messages
from backend.database import Session
from backend.errors import ConversationNotFound, MessageNotFound, NotFound
from backend.journal.again import Edit
from backend.journal.approvals import Decision
from backend.journal.begin import Busy
from backend.journal.requests import Answer, TurnRequest, key_of_names
from backend.journal.standing import Standing, ask_running, find_turn, newest_turn, read_running
from backend.models import Role
from backend.rate_limiter import count_call, rate_limit
from backend.routes.answering import AnswerRoute, ClientDep
from backend.routes.chat import Key, StopBody
from backend.routes.event_stream import follow_turn, show
from backend.routes.headers import TimeZone
from backend.routes.long_lists import LONG_BYTES, listed
from backend.routes.runtime import RuntimeDep
from backend.routes.ui_body import MESSAGE_BODY, MessageBody
from backend.schemas.fields import iso_utc
from backend.schemas.ui_chat import (
    ChatId,
    StopAnswer,
    UiChatRequest,
    UiMessage,
    kept_id,
    read_chat_id,
)
from backend.turns.again import ask_again_and_go_on, decide_and_go_on
from backend.turns.runs import Run
from backend.turns.runtime import Runtime
from backend.turns.stopping import stop_turn
from backend.turns.take import find_or_begin
from backend.web.clients import Client
from backend.web.openapi import (
    HISTORY_ERRORS,
    STOP_ERRORS,
    UI_CHAT_ANSWERS,
    UI_RESUME_ANSWERS,
)
from backend.web.ui_stream import known_calls, metadata, ui_parts

PATH = "/api/ui/chat"
router = APIRouter(prefix=PATH, tags=["ui"], route_class=AnswerRoute)


PathId = Annotated[ChatId, Path()]
Limit = Annotated[int, Query(ge=1, le=100)]


@dataclass(frozen=True, slots=True)
class _Given:
    """A call, and whose it is."""

    runtime: Runtime
    user_id: str
    client: Client
    body: UiChatRequest
    key: str | None
    zone: str | None


type Begin = Callable[[], Awaitable[Run | Answer | Busy]]


@dataclass(frozen=True, slots=True)
class _Meant:
    """The turn that a call means: it runs already, or is begun, taken up or given again."""

    running: Standing | None
    begin: Begin


@router.post("", responses=UI_CHAT_ANSWERS, openapi_extra=MESSAGE_BODY, summary="Send a message")
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
    given = _Given(runtime, user_id, client, body, idempotency_key, time_zone)
    if body.decided:
        await count_call(request, "chat")
        return await _decide(given)
    try:
        meant = await (_asked_again(given) if body.asks_again else _asked(given))
    except NotFound:
        await count_call(request, "chat")
        raise
    if meant.running is not None:
        return follow_turn(runtime, user_id, client, meant.running)
    await count_call(request, "chat")
    return await show(runtime, user_id, client, meant.begin)


async def _asked(given: _Given) -> _Meant:
    """The turn of the message, under the client's names for it, or that which it is said anew in.

    Raises:
        ConversationNotFound: there is no conversation of that number, or it is deleted.
    """
    body, key, message = given.body, given.key, given.body.newest.id
    edited = None
    async with given.runtime.autocommit() as session:
        coming = ask_chat(session, given.user_id, body.id)
        chat = read_chat(body.id, await coming) if is_number(body.id) else None
        name, place = (body.id, body.id) if chat is None else (chat.name, _place(chat))
        if key is None and message is not None:
            key = key_of_names(place, message)
        running = None if key is None else ask_running(session, given.user_id, key)
        chat = read_chat(body.id, await coming)
        number = None if chat is None else chat.conversation_id
        names = name, kept_id(message)
        asked = TurnRequest(
            number, body.text, key, given.zone, *names, approvals=True, project_id=body.project_id
        )
        runs = None if running is None else read_running(asked, await running)
        if runs is None and chat is not None and body.message_id is not None:
            with suppress(MessageNotFound):
                edited = await find_turn(session, chat.conversation_id, body.message_id)
    if edited is not None:
        return _Meant(runs, _again(given, edited, Edit(asked.text, asked.key, asked.hash)))
    find = partial(find_or_begin, given.runtime, given.user_id, asked, given.client, streamed=True)
    return _Meant(runs, find)


def _place(chat: Chat) -> str:
    """What a conversation is called in keys: as the client calls it, else by its number."""
    return str(chat.conversation_id) if chat.name is None else chat.name


async def _asked_again(given: _Given) -> _Meant:
    """The newest turn, or the one that is named, to be answered anew.

    Raises:
        ConversationNotFound: there is no such conversation.
        MessageNotFound: there is no such turn in it.
    """
    body = given.body
    chat = await _chat(given.runtime, given.user_id, body.id)
    async with given.runtime.autocommit() as session:
        if body.message_id is None:
            turn = await newest_turn(session, chat.conversation_id)
        else:
            turn = await find_turn(session, chat.conversation_id, body.message_id)
    if turn is None:
        raise MessageNotFound
    return _Meant(turn if turn.ended is None else None, _again(given, turn, None))


def _again(given: _Given, turn: Standing, edit: Edit | None) -> Begin:
    return partial(
        ask_again_and_go_on,
        *(given.runtime, given.user_id, str(turn.run.message_id), given.client),
        edit=edit,
        zone=given.zone,
        approvals=True,
        streamed=True,
    )


async def _decide(given: _Given) -> Response:
    """The message goes on by what the person has decided, behind what the client has of it."""
    decided, message = given.body.decided, given.body.newest.id or ""
    decisions = [
        Decision(part.approval.id, part.approval.approved, part.approval.reason)
        for part in decided
        if part.approval
    ]
    go_on = partial(
        decide_and_go_on,
        *(given.runtime, given.user_id, message, decisions),
        zone=given.zone,
        streamed=True,
    )
    known = known_calls(message, [part.call_id or "" for part in decided])
    return await show(given.runtime, given.user_id, given.client, go_on, known)


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

    async def find(session: Session) -> int:
        chat = await find_chat(session, user_id, chat_id)
        if chat is None:
            raise ConversationNotFound
        return chat.conversation_id

    return StopAnswer.model_validate(asdict(await stop_turn(runtime, find, body.message_id)))


@router.get("/{chat_id:path}/stop", include_in_schema=False)
async def no_method_of_stop() -> None:
    """405, which the route below would take for the reading of a chat."""
    raise HTTPException(405)


@router.get(
    "/{chat_id:path}",
    response_model=list[UiMessage],
    responses=HISTORY_ERRORS,
    summary="Read a chat as useChat holds it",
)
@rate_limit("history")
async def read_ui_chat(
    request: Request,
    chat_id: PathId,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    limit: Limit = 50,
) -> Response:
    """The newest `limit` messages, fewer where they are long, for `useChat({messages})`."""
    chat = await _chat(runtime, user_id, chat_id)
    async with runtime.autocommit() as session:
        messages = await newest_messages(session, chat.conversation_id, limit)
    shown = (_shown(chat.conversation_id, each).model_dump_json() for each in messages)
    long = sum(len(each.recorded or "") for each in messages) > LONG_BYTES
    return listed(shown, long=long)


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
    parts = ui_parts(message.id, parts_of(message.content, message.calls, message.waiting))
    return UiMessage(id=str(message.id), role="assistant", metadata=told | marks, parts=list(parts))
