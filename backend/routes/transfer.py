"""Tasks as a file: out, and in from our own forms and from other to-do apps."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from backend.auth import CurrentUser, SignedInRoute
from backend.cursors import NEWEST
from backend.database import Session, SessionDep, Sessions, SessionsDep, open_session
from backend.errors import ValidationFailed
from backend.models import utc_now
from backend.rate_limiter import rate_limit
from backend.routes.headers import TimeZone
from backend.schemas.fields import FAULTS_MAX, Title
from backend.schemas.transfer import ImportResponse
from backend.tasks.listing import list_tasks
from backend.tasks.projects import list_projects
from backend.tasks.stored import StoredTask
from backend.tasks.transfer.drafts import Reading, Unreadable
from backend.tasks.transfer.own import COLUMNS, as_cells, as_object
from backend.tasks.transfer.read import Form, read_file
from backend.tasks.transfer.store import add_drafts, check_room, missing_projects, project_names
from backend.tasks.transfer.tables import written
from backend.time_zones import zone_of
from backend.web.openapi import TASK_ERRORS, TRANSFER_ANSWERS

PATH = "/api/transfer/tasks"
BODY_MAX = 4 * 1024 * 1024
"""Bytes of a file; 5,000 tasks with long descriptions have less."""
PAGE = 200

router = APIRouter(prefix=PATH, tags=["transfer"], route_class=SignedInRoute)


class OwnForm(StrEnum):
    """The forms that go out."""

    CSV = "csv"
    JSON = "json"


_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string"}}
            for kind in ("text/csv", "application/json", "application/octet-stream")
        },
    }
}
type _Named = dict[int, str]


@router.get(
    "",
    response_class=StreamingResponse,
    responses=TRANSFER_ANSWERS,
    summary="Download your tasks",
)
@rate_limit("tasks")
async def export_tasks(
    request: Request,
    user_id: CurrentUser,
    sessions: SessionsDep,
    form: Annotated[OwnForm, Query(alias="format")] = OwnForm.CSV,
) -> StreamingResponse:
    """All that are not deleted, newest first, read as they are sent.

    In CSV a text that a spreadsheet could take for a formula has an apostrophe before it.
    """
    async with open_session(sessions) as session:
        named = {each.id: each.name for each in await list_projects(session, user_id)}
    as_text = _as_csv if form is OwnForm.CSV else _as_json
    return StreamingResponse(
        as_text(sessions, user_id, named),
        media_type="text/csv" if form is OwnForm.CSV else "application/json",
        headers={"Content-Disposition": f'attachment; filename="tasks.{form}"'},
    )


async def _as_csv(sessions: Sessions, user_id: str, named: _Named) -> AsyncIterator[str]:
    yield written([COLUMNS])
    async for page in _pages(sessions, user_id):
        yield written(as_cells(task, _project(task, named)) for task in page)


async def _as_json(sessions: Sessions, user_id: str, named: _Named) -> AsyncIterator[str]:
    between = '{"tasks":['
    async for page in _pages(sessions, user_id):
        for task in page:
            yield between + json.dumps(as_object(task, _project(task, named)), ensure_ascii=False)
            between = ","
    yield ("" if between == "," else between) + "]}"


def _project(task: StoredTask, named: _Named) -> str | None:
    return None if task.project_id is None else named.get(task.project_id)


async def _pages(sessions: Sessions, user_id: str) -> AsyncIterator[list[StoredTask]]:
    """Each in a session of its own: no connection is held while it is sent."""
    before = NEWEST
    while True:
        async with open_session(sessions) as session:
            page = await list_tasks(session, user_id, limit=PAGE, before=before)
        yield page.tasks
        if page.next is None:
            return
        before = page.next


@router.post("", responses=TASK_ERRORS, openapi_extra=_FILE, summary="Take in a file of tasks")
@rate_limit("tasks")
async def import_tasks(
    request: Request,
    user_id: CurrentUser,
    session: SessionDep,
    form: Annotated[Form, Query(alias="format", description="Whose file it is.")] = Form.AUTO,
    dry_run: Annotated[bool, Query(description="Only say what would come of it.")] = True,
    project: Annotated[
        Title | None, Query(description="For tasks whose file names no project.")
    ] = None,
    time_zone: TimeZone = None,
) -> ImportResponse:
    """All of its tasks, or none: with `dry_run=false` one line that is wrong refuses the file.

    Nothing that is there is changed, and a file that is taken twice is there twice. What has no
    place here is named in `left_out`. There is no undo of it.
    """
    file = await request.body()
    try:
        found, reading = await asyncio.to_thread(
            read_file, file, form, zone=zone_of(time_zone), now=utc_now(), project=project
        )
    except Unreadable as error:
        raise ValidationFailed(details=[_detail("file", str(error), "unreadable")]) from None
    if reading.faults and not dry_run:
        raise ValidationFailed(details=_details(reading))
    await check_room(session, user_id, len(reading.drafts))
    new = await _projects_to_make(session, user_id, reading)
    if not dry_run:
        await add_drafts(session, user_id, reading.drafts)
        await session.commit()
    return ImportResponse(
        form=found,
        dry_run=dry_run,
        tasks=len(reading.drafts),
        projects=new,
        faults=[asdict(each) for each in reading.faults],
        fault_count=reading.fault_count,
        left_out=[asdict(each) for each in reading.left_out.values()],
    )


async def _projects_to_make(session: Session, user_id: str, reading: Reading) -> list[str]:
    return await missing_projects(session, user_id, project_names(reading.drafts))


def _details(reading: Reading) -> list[dict[str, str]]:
    return [
        _detail(f"line {fault.line}: {fault.field}", fault.reason, "line")
        for fault in reading.faults[:FAULTS_MAX]
    ]


def _detail(field: str, message: str, kind: str) -> dict[str, str]:
    return {"field": field, "message": message, "type": kind}
