"""One message becomes task changes and a saved answer."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Body, Header, Request, Response

from backend.auth import CurrentUser
from backend.conversations.approvals import approvals_shown
from backend.conversations.messages import conversation_number, find_conversation
from backend.database import Session
from backend.journal.requests import TurnRequest
from backend.rate_limiter import count_call
from backend.routes.answering import AnswerRoute, ClientDep, answer_shown
from backend.routes.event_stream import stream_turn, wants_stream
from backend.routes.headers import TimeZone
from backend.routes.runtime import RuntimeDep
from backend.schemas.chat import ChatRequest, ChatResponse, IdempotencyKey
from backend.schemas.conversations import ChatAnswer, ChatContent
from backend.schemas.ui_chat import StopAnswer, StopRequest
from backend.turns.stopping import stop_turn
from backend.turns.take import take_turn
from backend.web.openapi import CHAT_ANSWERS, CHAT_LINKS, STOP_ERRORS

router = APIRouter(prefix="/api", tags=["chat"], route_class=AnswerRoute)

Key = Annotated[
    IdempotencyKey | None,
    Header(
        alias="Idempotency-Key",
        description="Names this message, so that sending it again does not do it again; 24 h.",
    ),
]


StopBody = Annotated[StopRequest, Body(default_factory=StopRequest)]


@router.post(
    "/chat",
    response_model=ChatResponse,
    response_model_exclude_unset=True,
    responses=CHAT_ANSWERS | CHAT_LINKS,
    summary="Send a message to the assistant",
)
async def chat(
    request: Request,
    response: Response,
    body: ChatRequest,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    client: ClientDep,
    idempotency_key: Key = None,
    time_zone: TimeZone = None,
) -> ChatResponse | Response:
    """Take one turn: the message and what the assistant does and answers are saved.

    Once the turn has begun the message is kept and what was done is on record, whatever happens
    after; the same message again, after a failure or under the same key, is the same answer.
    """
    asked = TurnRequest(
        body.conversation_id,
        body.message,
        idempotency_key,
        time_zone,
        approvals=body.approvals,
        project_id=body.project_id,
    )
    if wants_stream(request):
        return await stream_turn(request, runtime, user_id, client, asked)
    await count_call(request, "chat")
    answer = await take_turn(runtime, user_id, asked, client)
    if answer.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    shown = {
        "conversation_id": answer.conversation_id,
        "response": answer.response,
        "tool_calls": answer.calls or None,
    }
    if body.approvals:
        approvals = approvals_shown(answer.approvals)
        shown |= {"message_id": answer.message_id, "approvals": approvals}
    if answer.stopped:
        shown["stopped"] = True
    return ChatResponse.model_validate(shown)


@router.post(
    "/conversations/{conversation_id}/chat",
    response_model=ChatAnswer,
    response_model_exclude_unset=True,
    responses=CHAT_ANSWERS,
    summary="Send a message to the assistant in this conversation",
)
async def chat_here(
    request: Request,
    response: Response,
    conversation_id: str,
    body: ChatContent,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    client: ClientDep,
    idempotency_key: Key = None,
    time_zone: TimeZone = None,
) -> ChatAnswer | Response:
    """The same turn as that of `POST /api/chat`; what is answered is the assistant's message."""
    streamed = wants_stream(request)
    if not streamed:
        await count_call(request, "chat")
    number = conversation_number(conversation_id)
    asked = TurnRequest(number, body.content, idempotency_key, time_zone, approvals=body.approvals)
    if streamed:
        return await stream_turn(request, runtime, user_id, client, asked)
    answer = await take_turn(runtime, user_id, asked, client)
    if answer.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return answer_shown(answer, approvals=body.approvals)


@router.post(
    "/conversations/{conversation_id}/stop",
    responses=STOP_ERRORS,
    summary="Stop the answer that is being given in this conversation",
)
async def stop_here(
    conversation_id: str, user_id: CurrentUser, runtime: RuntimeDep, body: StopBody
) -> StopAnswer:
    """What was said and done by then is kept as the answer. It counts against no limit."""

    async def find(session: Session) -> int:
        return await find_conversation(session, user_id, conversation_id)

    return StopAnswer.model_validate(asdict(await stop_turn(runtime, find, body.message_id)))
