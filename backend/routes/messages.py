"""Taking back what one message of the assistant changed."""

from fastapi import APIRouter, Request

from backend.auth import CurrentUser, SignedInRoute
from backend.database import SessionDep
from backend.rate_limiter import rate_limit
from backend.schemas.messages import MessageResponse
from backend.turns.undoing import undo_turn
from backend.web.openapi import UNDO_ERRORS

router = APIRouter(prefix="/api/messages", tags=["chat"], route_class=SignedInRoute)


@router.post(
    "/{message_id}/undo",
    responses=UNDO_ERRORS,
    summary="Take back what a message of the assistant changed",
)
@rate_limit("tasks")
async def undo_message(
    request: Request, message_id: str, user_id: CurrentUser, session: SessionDep
) -> MessageResponse:
    """All of it, and once, or nothing: only where no task was changed since. The marked message."""
    message = await undo_turn(session, user_id, message_id)
    await session.commit()
    return MessageResponse.model_validate(message)
