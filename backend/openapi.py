"""The error answers of the contract, as the OpenAPI document shows them."""

from typing import Any

from pydantic import BaseModel

from backend.envelope import envelope
from backend.errors import (
    AIServiceUnavailable,
    AlreadyUndone,
    AppError,
    ConversationNotFound,
    DatabaseUnavailable,
    InvalidSession,
    MessageNotFound,
    NothingToUndo,
    RateLimited,
    TaskChanged,
    TaskNotFound,
    TurnInProgress,
    ValidationFailed,
)

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
    TaskChanged: {"tasks": [{"task_id": 42, "title": "Buy milk"}]},
    AIServiceUnavailable: {
        "conversation_id": 1,
        "message_id": 2,
        "tool_calls": None,
        "reason": "timeout",
        "retryable": True,
    },
}


SIGNED_IN = (InvalidSession, ValidationFailed, RateLimited, DatabaseUnavailable, AppError)
"""What every signed-in, limited route may answer."""


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
UNDO_ERRORS = error_answers(
    *SIGNED_IN, MessageNotFound, TurnInProgress, AlreadyUndone, NothingToUndo, TaskChanged
)
USAGE_ERRORS = error_answers(*SIGNED_IN)
READY_ERRORS = error_answers(DatabaseUnavailable)
