"""What the OpenAPI document says of answers: the errors of the contract, and where they lead."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.routing import compile_path

from backend.chat_errors import AIServiceUnavailable
from backend.errors import (
    AlreadyDecided,
    AlreadyUndone,
    AppError,
    BeingErased,
    ConversationNotFound,
    DatabaseUnavailable,
    FeedNotFound,
    InvalidSession,
    MessageChanged,
    MessageNotFound,
    NothingToUndo,
    NotPending,
    OutsideChanged,
    ProjectNotFound,
    RateLimited,
    StepNotFound,
    TaskChanged,
    TaskNotFound,
    TurnInProgress,
    ValidationFailed,
)
from backend.web.envelope import as_app_error, envelope, error_response
from backend.web.refusals import BodyTooLarge, HeadTooLarge, MalformedRequest, RequestTooSlow

Responses = dict[int | str, dict[str, Any]]


class ErrorBody(BaseModel):
    """The documented envelope: a stable code, a sentence for a person, and particulars."""

    code: str
    message: str
    details: Any = None


class ErrorDetail(BaseModel):
    """The code and the sentence once more, where the client in service looks for them."""

    code: str
    message: str


class ErrorEnvelope(BaseModel):
    """Every error of every route."""

    error: ErrorBody
    detail: ErrorDetail


_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    409: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}},
    429: {
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."},
        "RateLimit": {"schema": {"type": "string"}, "description": "How many calls are left."},
        "RateLimit-Policy": {"schema": {"type": "string"}, "description": "How many there are."},
    },
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Where it is known."}},
}

_DETAILS: dict[type[AppError], Any] = {
    ValidationFailed: [
        {"field": "title", "message": "Field required", "type": "missing"},
    ],
    OutsideChanged: {
        "not_undone": [{"tool": "sim_run_dla_simulation", "args": {}, "result": {"success": True}}]
    },
    TaskChanged: {"tasks": [{"task_id": 42, "title": "Buy milk"}]},
    AIServiceUnavailable: {
        "conversation_id": 1,
        "message_id": 2,
        "tool_calls": None,
        "reason": "timeout",
        "retryable": True,
    },
}


ANY_REQUEST = (MalformedRequest, RequestTooSlow, BodyTooLarge, HeadTooLarge)
"""What a request may meet before anything in it is judged."""
LIMITED = (ValidationFailed, RateLimited, DatabaseUnavailable, AppError, *ANY_REQUEST)
"""What every limited route may answer."""
SIGNED_IN = (InvalidSession, BeingErased, *LIMITED)
"""What every signed-in, limited route may answer."""


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a body that a route reads by itself: each part where it is meant.

    A reference to `$defs` would be looked for at the top of the whole document.
    """
    schema = model.model_json_schema()
    parts: dict[str, Any] = schema.pop("$defs", {})

    def whole(value: Any) -> Any:
        match value:
            case {"$ref": str(name), **more}:
                return whole(parts[name.rpartition("/")[2]] | more)
            case dict():
                return {key: whole(inner) for key, inner in value.items()}
            case list():
                return [whole(inner) for inner in value]
        return value

    inner: dict[str, Any] = whole(schema)
    return inner


def error_answers(*kinds: type[AppError]) -> Responses:
    """`responses=` of a route that answers with errors of `kinds`."""
    answers: Responses = {}
    for kind in kinds:
        answer = answers.setdefault(
            kind.status, {"model": ErrorEnvelope, "description": "", "content": _content()}
        )
        answer["description"] = (answer["description"] + f" {kind.code}").strip()
        answer["content"]["application/json"]["examples"][kind.code] = {
            "value": envelope(kind.code, kind.message, _DETAILS.get(kind))
        }
        if kind.status in _HEADERS:
            answer["headers"] = _HEADERS[kind.status]
    return answers


def _content() -> dict[str, Any]:
    return {"application/json": {"examples": {}}}


TASK_ERRORS = error_answers(*SIGNED_IN)
ONE_TASK_ERRORS = error_answers(*SIGNED_IN, TaskNotFound)
ONE_PROJECT_ERRORS = error_answers(*SIGNED_IN, ProjectNotFound)
STEP_ERRORS = error_answers(*SIGNED_IN, TaskNotFound, StepNotFound)
FEED_ERRORS = error_answers(FeedNotFound, *LIMITED)
CHAT_ERRORS = error_answers(
    *SIGNED_IN,
    ConversationNotFound,
    TurnInProgress,
    AlreadyUndone,
    AIServiceUnavailable,
)
CONVERSATION_ERRORS = error_answers(*SIGNED_IN)
HISTORY_ERRORS = error_answers(*SIGNED_IN, ConversationNotFound)
EXPORT_ANSWERS: Responses = HISTORY_ERRORS | {
    200: {"description": "The file", "content": {"application/json": {}, "text/markdown": {}}}
}
ACCOUNT_ANSWERS: Responses = error_answers(*SIGNED_IN) | {
    200: {"description": "The file", "content": {"application/json": {}}}
}
ERASURE_ANSWERS: Responses = error_answers(*SIGNED_IN) | {
    202: {"description": "It goes on"},
    204: {"description": "Nothing is left"},
}
TRANSFER_ANSWERS: Responses = TASK_ERRORS | {
    200: {"description": "The file", "content": {"text/csv": {}, "application/json": {}}}
}
UNDO_ERRORS = error_answers(
    *SIGNED_IN, MessageNotFound, TurnInProgress, AlreadyUndone, NothingToUndo, TaskChanged
)
DECISION_ERRORS = error_answers(
    *SIGNED_IN,
    MessageNotFound,
    TurnInProgress,
    NotPending,
    AlreadyDecided,
    AlreadyUndone,
    AIServiceUnavailable,
)
AGAIN_ERRORS = error_answers(
    *SIGNED_IN,
    MessageNotFound,
    TurnInProgress,
    MessageChanged,
    NothingToUndo,
    OutsideChanged,
    TaskChanged,
    AIServiceUnavailable,
)
_STREAM: Responses = {
    200: {
        "description": "The AI SDK's UI message stream",
        "content": {"text/event-stream": {}},
    }
}
CHAT_ANSWERS: Responses = CHAT_ERRORS | {
    200: {
        "description": "In one piece, or the AI SDK's UI message stream where that is accepted",
        "content": {"text/event-stream": {}},
    }
}
UI_CHAT_ANSWERS: Responses = _STREAM | error_answers(
    *SIGNED_IN, ConversationNotFound, TurnInProgress, AlreadyUndone, MessageChanged
)
UI_RESUME_ANSWERS: Responses = (
    _STREAM | {204: {"description": "Nothing to follow"}} | error_answers(*SIGNED_IN)
)
STOP_ERRORS = error_answers(*SIGNED_IN, ConversationNotFound, MessageNotFound)
USAGE_ERRORS = error_answers(*SIGNED_IN)
HEALTH_ERRORS = error_answers(*ANY_REQUEST)
READY_ERRORS = error_answers(DatabaseUnavailable, *ANY_REQUEST)


def _links(status: int, parameter: str, expression: str, *operations: str) -> Responses:
    """Where an answer leads: `expression` finds in it the `parameter` that `operations` take."""
    target = {"parameters": {parameter: expression}}
    return {status: {"links": {name: {"operationId": name, **target} for name in operations}}}


TASK_LINKS = _links(
    201, "task_id", "$response.body#/id", "read_task", "update_task", "delete_task", "toggle_task"
)
PROJECT_LINKS = _links(
    201, "project_id", "$response.body#/id", "read_project", "rename_project", "delete_project"
)
CHAT_LINKS = _links(200, "conversation_id", "$response.body#/conversation_id", "list_messages")
CONVERSATION_LINKS = _links(
    201,
    "conversation_id",
    "$response.body#/id",
    "read_conversation",
    "change_conversation",
    "archive_conversation",
    "unarchive_conversation",
    "export_conversation",
    "list_messages",
    "chat_here",
    "delete_conversation",
)
HISTORY_LINKS = _links(200, "message_id", "$response.body#/1/id", "undo_message")


def install_allow_header(app: FastAPI) -> None:
    """Let a 405 name every method of its path, where the framework names one route's."""
    allowed: list[tuple[re.Pattern[str], str]] = []

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        if not allowed:
            allowed.extend(await asyncio.to_thread(_allowed_methods, app))
        answer = error_response(as_app_error(error))
        found = (methods for pattern, methods in allowed if pattern.match(request.url.path))
        # the framework's own, of a path that the document does not list, are in any order
        others = ", ".join(sorted(answer.headers.get("Allow", "").split(", ")))
        if methods := next(found, others):
            answer.headers["Allow"] = methods
        return answer

    app.add_exception_handler(405, refuse)


def _allowed_methods(app: FastAPI) -> Iterator[tuple[re.Pattern[str], str]]:
    """The methods that the document lists for each path; paths without parameters come first."""
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    for template in sorted(paths, key=lambda template: "{" in template):
        methods = [method.upper() for method in paths[template]]
        looked_at = not template.startswith("/api/") or template.endswith(".ics")
        more = ["HEAD"] if looked_at else []
        yield compile_path(template)[0], ", ".join(methods + more)
