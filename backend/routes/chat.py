"""One message becomes task changes and a saved answer."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from backend.auth import CurrentUser
from backend.conversations.messages import conversation_number
from backend.journal.requests import TurnRequest
from backend.rate_limiter import rate_limit
from backend.routes.answering import AnswerRoute, ClientDep
from backend.routes.runtime import RuntimeDep
from backend.schemas.chat import ChatRequest, ChatResponse, IdempotencyKey, TimeZoneName
from backend.schemas.conversations import ChatAnswer, ChatContent
from backend.turns.take import take_turn
from backend.web.openapi import CHAT_ERRORS, CHAT_LINKS

router = APIRouter(prefix="/api", tags=["chat"], route_class=AnswerRoute)

Key = Annotated[
    IdempotencyKey | None,
    Header(
        alias="Idempotency-Key",
        description="Names this message, so that sending it again does not do it again; 24 h.",
    ),
]

TimeZone = Annotated[
    TimeZoneName,
    Header(
        alias="X-Timezone",
        description="The person's time zone by its IANA name, in which today is today.",
    ),
]


@router.post("/chat", responses=CHAT_ERRORS | CHAT_LINKS, summary="Send a message to the assistant")
@rate_limit("chat")
async def chat(
    request: Request,
    response: Response,
    body: ChatRequest,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    client: ClientDep,
    idempotency_key: Key = None,
    time_zone: TimeZone = "UTC",
) -> ChatResponse:
    """Take one turn: the message and what the assistant does and answers are saved.

    Once the turn has begun the message is kept and what was done is on record, whatever happens
    after; the same message again, after a failure or under the same key, is the same answer.
    """
    asked = TurnRequest(body.conversation_id, body.message, idempotency_key, time_zone)
    answer = await take_turn(runtime, user_id, asked, client)
    if answer.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return ChatResponse.model_validate(
        {
            "conversation_id": answer.conversation_id,
            "response": answer.response,
            "tool_calls": answer.calls or None,
        }
    )


@router.post(
    "/conversations/{conversation_id}/chat",
    responses=CHAT_ERRORS,
    summary="Send a message to the assistant in this conversation",
)
@rate_limit("chat")
async def chat_here(
    request: Request,
    response: Response,
    conversation_id: str,
    body: ChatContent,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    client: ClientDep,
    idempotency_key: Key = None,
    time_zone: TimeZone = "UTC",
) -> ChatAnswer:
    """The same turn as that of `POST /api/chat`; what is answered is the assistant's message."""
    number = conversation_number(conversation_id)
    asked = TurnRequest(number, body.content, idempotency_key, time_zone)
    answer = await take_turn(runtime, user_id, asked, client)
    if answer.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return ChatAnswer.model_validate(
        {
            "id": answer.message_id,
            "content": answer.response,
            "tool_calls": answer.calls or None,
            "tools_executed": list(dict.fromkeys(call["tool"] for call in answer.calls)),
            "created_at": answer.created_at,
            "conversation_id": answer.conversation_id,
        }
    )
