"""The feed for a person's own calendar: made and revoked here, read by whoever has its address."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status

from backend.auth import CurrentUser, SignedInRoute
from backend.database import SessionDep
from backend.errors import FeedNotFound
from backend.rate_limiter import count_call_of, count_guess, rate_limit
from backend.schemas.calendar import FeedMade, FeedState
from backend.tasks import feeds
from backend.tasks.calendar import Form, write_calendar
from backend.web.openapi import FEED_ERRORS, TASK_ERRORS

router = APIRouter(prefix="/api/calendar", tags=["calendar"], route_class=SignedInRoute)
public = APIRouter(prefix="/api/calendar", tags=["calendar"])

_TYPE = "text/calendar; charset=utf-8"
_ANSWERS = FEED_ERRORS | {
    200: {"description": "The calendar", "content": {"text/calendar": {}}},
    304: {"description": "Nothing has changed"},
}


@router.get("", responses=TASK_ERRORS, summary="Look whether there is a feed")
@rate_limit("tasks")
async def read_feed(request: Request, user_id: CurrentUser, session: SessionDep) -> FeedState:
    return FeedState(created_at=await feeds.feed_made_at(session, user_id))


@router.post(
    "", responses=TASK_ERRORS, status_code=status.HTTP_201_CREATED, summary="Make the feed"
)
@rate_limit("tasks")
async def make_feed(request: Request, user_id: CurrentUser, session: SessionDep) -> FeedMade:
    """Its address is told this once; one that was made before is good no more."""
    secret, created_at = await feeds.make_feed(session, user_id)
    await session.commit()
    path = f"{request.url.path}/{secret}.ics"
    url = f"{request.url.scheme}://{request.url.netloc}{path}"
    return FeedMade(url=url, path=path, created_at=created_at)


@router.delete(
    "",
    responses=TASK_ERRORS,
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke the feed",
)
@rate_limit("tasks")
async def revoke_feed(request: Request, user_id: CurrentUser, session: SessionDep) -> None:
    await feeds.drop_feed(session, user_id)
    await session.commit()


@public.head("/{secret}.ics", include_in_schema=False)
@public.get("/{secret}.ics", responses=_ANSWERS, summary="Read the feed", response_class=Response)
async def read_calendar(
    request: Request,
    secret: str,
    session: SessionDep,
    form: Annotated[Form, Query(description="As events, or as to-dos.")] = Form.EVENTS,
) -> Response:
    """Open tasks that are due at some time, with alarms; written beside the event loop."""
    try:
        feed = await feeds.find_feed(session, secret)
    except FeedNotFound:
        await count_guess(request)
        raise
    await count_call_of(request, "history", feed.user_id)
    etag = f'"{form}-{feed.state}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "X-Robots-Tag": "noindex"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    due = await feeds.due_tasks(session, feed.user_id)
    written = await asyncio.to_thread(write_calendar, due, form)
    return Response(written, media_type=_TYPE, headers=headers)
