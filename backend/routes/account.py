"""All that is kept of a person: as one download, or deleted for good."""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict

from fastapi import APIRouter, Request, Response, status
from fastapi.responses import StreamingResponse

from backend.auth import CurrentUser, SignedInRoute
from backend.conversations.listing import StoredConversation, list_conversations
from backend.cursors import NEWEST
from backend.database import Sessions, SessionsDep, open_session
from backend.errors import ERASING_RETRY_S
from backend.journal import usage
from backend.rate_limiter import rate_limit
from backend.routes.export import as_json
from backend.routes.provider_choice import shown
from backend.routes.runtime import RuntimeDep
from backend.routes.tasks import shown_task
from backend.schemas.fields import iso_utc
from backend.schemas.projects import ProjectResponse
from backend.tasks import feeds, projects
from backend.tasks.listing import list_tasks
from backend.tasks.people import last_zone
from backend.tasks.stored import StoredTask
from backend.turns.runtime import Runtime
from backend.upkeep.rounds import Upkeep
from backend.web.openapi import ACCOUNT_ANSWERS, ERASURE_ANSWERS

router = APIRouter(prefix="/api/account", tags=["account"], route_class=SignedInRoute)

PAGE = 100
"""Tasks or conversations that are listed, and held, at a time."""
EVERY_DAY = 36_500
ERASED_WITHIN_S = 20.0
"""Seconds that a deletion is waited for; it goes on after them, in this process or another."""


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses=ACCOUNT_ANSWERS,
    summary="Download all that is kept of you",
)
@rate_limit("history")
async def export_account(
    request: Request, user_id: CurrentUser, sessions: SessionsDep, runtime: RuntimeDep
) -> StreamingResponse:
    """All there is; one that breaks off is no whole JSON."""
    return StreamingResponse(
        _pieces(sessions, user_id, runtime),
        media_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="account.json"'},
    )


@router.delete(
    "",
    response_class=Response,
    responses=ERASURE_ANSWERS,
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete all that is kept of you",
)
@rate_limit("history")
async def delete_account(request: Request, user_id: CurrentUser) -> Response:
    """For good; nothing brings it back. Until it is done nothing new of yours is taken.

    202 says that it is not done yet, and goes on; asked for again, it is waited for again. What
    the day has cost counts on until midnight UTC. Who you are is Better Auth's to delete.
    """
    upkeep: Upkeep = request.app.state.upkeep
    if await upkeep.erase(user_id, ERASED_WITHIN_S):
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    later = {"Retry-After": str(ERASING_RETRY_S)}
    return Response(status_code=status.HTTP_202_ACCEPTED, headers=later)


async def _pieces(sessions: Sessions, user_id: str, runtime: Runtime) -> AsyncIterator[str]:
    """One object, read as it is sent: no connection is held while a piece goes out."""
    yield '{"tasks":['
    between = ""
    async for task in _tasks_to_export(sessions, user_id):
        yield between + shown_task(task, None).model_dump_json()
        between = ","
    async with open_session(sessions) as session:
        days = await usage.list_usage(session, user_id, EVERY_DAY)
    yield f'],"usage":{json.dumps([asdict(day) for day in days], default=str)},"conversations":['
    between = ""
    async for conversation in _conversations(sessions, user_id):
        yield between
        async for piece in as_json(sessions, shown(runtime, conversation)):
            yield piece
        between = ","
    async with open_session(sessions) as session:
        kept = await projects.list_projects(session, user_id)
        zone = await last_zone(session, user_id)
        feed_made_at = await feeds.feed_made_at(session, user_id)
    rest = {
        "projects": [ProjectResponse.model_validate(each).model_dump(mode="json") for each in kept],
        "time_zone": zone,
        "calendar_feed_created_at": iso_utc(feed_made_at),
    }
    yield f"],{json.dumps(rest)[1:]}"


async def _tasks_to_export(sessions: Sessions, user_id: str) -> AsyncIterator[StoredTask]:
    """Those that are not deleted, newest first, each page in a session of its own."""
    before = NEWEST
    while True:
        async with open_session(sessions) as session:
            page = await list_tasks(session, user_id, limit=PAGE, before=before)
        for task in page.tasks:
            yield task
        if page.next is None:
            return
        before = page.next


async def _conversations(sessions: Sessions, user_id: str) -> AsyncIterator[StoredConversation]:
    """Those in use, then those put away, each page in a session of its own."""
    for archived in (False, True):
        before = NEWEST
        while True:
            async with open_session(sessions) as session:
                page = await list_conversations(
                    session, user_id, limit=PAGE, before=before, archived=archived
                )
            for conversation in page.conversations:
                yield conversation
            if page.next is None:
                break
            before = page.next
