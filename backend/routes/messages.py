"""What a person may do with one message: take back what it changed, approve, ask again."""

from typing import Annotated

from fastapi import APIRouter, Body, Request

from backend.auth import CurrentUser, SignedInRoute
from backend.conversations.tool_calls import as_shown, changes_outside
from backend.database import SessionDep
from backend.journal.again import Edit
from backend.journal.approvals import Decision
from backend.rate_limiter import rate_limit
from backend.routes.answering import AnswerRoute, ClientDep, answer_shown
from backend.routes.headers import TimeZone
from backend.routes.runtime import RuntimeDep
from backend.schemas.conversations import ChatAnswer
from backend.schemas.messages import (
    AgainRequest,
    DecisionsRequest,
    EditRequest,
    MessageResponse,
    UndoneResponse,
)
from backend.turns.again import ask_again_and_go_on, decide_and_go_on
from backend.turns.take import wait_for
from backend.turns.undoing import undo_turn
from backend.web.openapi import AGAIN_ERRORS, DECISION_ERRORS, UNDO_ERRORS

router = APIRouter(prefix="/api/messages", tags=["chat"], route_class=SignedInRoute)
going_on = APIRouter(route_class=AnswerRoute)


@router.post(
    "/{message_id}/undo",
    responses=UNDO_ERRORS,
    summary="Take back what a message of the assistant changed",
)
@rate_limit("tasks")
async def undo_message(
    request: Request, message_id: str, user_id: CurrentUser, session: SessionDep
) -> UndoneResponse:
    """All of it, and once, or nothing: only where no task was changed since. The marked message.

    What outside tools have done stays as it is, and is told.
    """
    message = await undo_turn(session, user_id, message_id)
    await session.commit()
    marked = MessageResponse.model_validate(message).model_dump()
    outside = as_shown(changes_outside(message.tool_calls))
    return UndoneResponse.model_validate(marked | {"not_undone": outside})


Again = Annotated[AgainRequest, Body(default_factory=AgainRequest)]


@going_on.post(
    "/{message_id}/approvals",
    response_model_exclude_unset=True,
    responses=DECISION_ERRORS,
    summary="Decide which calls a message may make",
)
@rate_limit("chat")
async def decide(
    request: Request,
    message_id: str,
    body: DecisionsRequest,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    client: ClientDep,
    time_zone: TimeZone = None,
) -> ChatAnswer:
    """The answer, once all are decided and the turn has gone on; the same decision gives the same.

    What was approved is done as it stands on record, once.
    """
    decisions = [Decision(each.id, each.approved, each.reason) for each in body.decisions]
    begun = await decide_and_go_on(runtime, user_id, message_id, decisions, time_zone)
    return answer_shown(await wait_for(runtime, begun, client), approvals=True)


@going_on.post(
    "/{message_id}/regenerate",
    response_model_exclude_unset=True,
    responses=AGAIN_ERRORS,
    summary="Have the newest message answered anew",
)
@rate_limit("chat")
async def regenerate(
    request: Request,
    message_id: str,
    body: Again,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    client: ClientDep,
    time_zone: TimeZone = None,
) -> ChatAnswer:
    """One that failed or was stopped goes on; what an answered one has changed is taken back."""
    begun = await ask_again_and_go_on(
        runtime, user_id, message_id, client, zone=time_zone, approvals=body.approvals
    )
    return answer_shown(await wait_for(runtime, begun, client), approvals=body.approvals)


@going_on.post(
    "/{message_id}/edit",
    response_model_exclude_unset=True,
    responses=AGAIN_ERRORS,
    summary="Say something else instead of the newest message",
)
@rate_limit("chat")
async def edit(
    request: Request,
    message_id: str,
    body: EditRequest,
    user_id: CurrentUser,
    runtime: RuntimeDep,
    client: ClientDep,
    time_zone: TimeZone = None,
) -> ChatAnswer:
    """The person's message, or its answer, is named; what it had changed is taken back."""
    begun = await ask_again_and_go_on(
        runtime,
        user_id,
        message_id,
        client,
        edit=Edit(body.content),
        zone=time_zone,
        approvals=body.approvals,
    )
    return answer_shown(await wait_for(runtime, begun, client), approvals=body.approvals)


router.include_router(going_on)
