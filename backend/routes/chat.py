"""One message becomes task changes and a saved answer; and what was said before."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from backend.auth import CurrentUser, SignedInRoute
from backend.database import SessionDep
from backend.openapi import CHAT_ERRORS, CHAT_LINKS, HISTORY_ERRORS, HISTORY_LINKS
from backend.rate_limiter import rate_limit
from backend.schemas import ChatRequest, ChatResponse, IdempotencyKey, MessageResponse
from backend.services import conversations
from backend.services.retries import Answered
from backend.services.turns import TurnRequest
from backend.turn import RuntimeDep, take_turn

router = APIRouter(prefix="/api", tags=["chat"], route_class=SignedInRoute)

Key = Annotated[
    IdempotencyKey | None,
    Header(
        alias="Idempotency-Key",
        description="Names this message, so that sending it again does not do it again; 24 h.",
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
    idempotency_key: Key = None,
) -> ChatResponse:
    """Take one turn: the message and what the assistant does and answers are saved.

    Once the turn has begun the message is kept and what was done is on record, whatever happens
    after; the same message again, after a failure or under the same key, is the same turn.
    """
    asked = TurnRequest(body.conversation_id, body.message, idempotency_key)
    turn = await take_turn(runtime, user_id, asked)
    if isinstance(turn, Answered):
        response.headers["Idempotency-Replayed"] = "true"
    return ChatResponse.model_validate(
        {
            "conversation_id": turn.conversation_id,
            "response": turn.response,
            "tool_calls": turn.calls or None,
        }
    )


@router.get(
    "/conversations/{conversation_id}/messages",
    responses=HISTORY_ERRORS | HISTORY_LINKS,
    summary="Read the newest messages of a conversation, oldest first",
)
@rate_limit("history")
async def list_messages(
    request: Request,
    conversation_id: str,
    user_id: CurrentUser,
    session: SessionDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> list[MessageResponse]:
    """The newest `limit` messages; an id of any shape that is not the caller's is a 404."""
    found = await conversations.list_messages(session, user_id, conversation_id, limit=limit)
    return [MessageResponse.model_validate(message) for message in found]
