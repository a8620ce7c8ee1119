"""What can go wrong, as the client sees it.

    AppError
    ├── InvalidSession            401  INVALID_SESSION
    ├── NotFound                  404
    │   ├── ConversationNotFound       CONVERSATION_NOT_FOUND
    │   ├── TaskNotFound               TASK_NOT_FOUND
    │   └── MessageNotFound            MESSAGE_NOT_FOUND
    ├── Conflict                  409
    │   ├── TurnInProgress             TURN_IN_PROGRESS
    │   ├── AlreadyUndone              ALREADY_UNDONE
    │   ├── NothingToUndo              NOTHING_TO_UNDO
    │   └── TaskChanged                TASK_CHANGED
    ├── ValidationFailed          422  VALIDATION_ERROR
    ├── RateLimited               429  RATE_LIMIT_EXCEEDED
    ├── RequestRefused                 four kinds, in `backend.refusals`
    ├── AIServiceUnavailable      503  AI_SERVICE_UNAVAILABLE
    ├── DatabaseUnavailable       503  SERVICE_UNAVAILABLE
    └── Stopping                  503  SERVICE_UNAVAILABLE

A service raises one; `install_error_handlers` renders it, and every error of the
framework, in the one envelope of the contract. Nothing else builds an error body.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import errors as pg_errors
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

logger = logging.getLogger(__name__)


class AppError(Exception):
    """An expected failure: `status`, a stable `code`, a sentence for a person.

    `details` and `headers` go out with the answer, so neither may hold a provider's text,
    a key, SQL or a path.
    """

    status = 500
    code = "INTERNAL_SERVER_ERROR"
    message = "Something went wrong on our side. Please try again."

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or self.message
        self.details = details
        self.headers = dict(headers or {})
        super().__init__(self.message)


class InvalidSession(AppError):
    """No session token, or one that is unknown, malformed or expired."""

    status, code = 401, "INVALID_SESSION"
    message = "Please sign in again."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"})


class NotFound(AppError):
    """Not there, deleted, or someone else's: three cases, one answer."""

    status, code = 404, "NOT_FOUND"
    message = "Not found"


class ConversationNotFound(NotFound):
    code = "CONVERSATION_NOT_FOUND"
    message = "Conversation not found"


class TaskNotFound(NotFound):
    code = "TASK_NOT_FOUND"
    message = "Task not found"


class MessageNotFound(NotFound):
    code = "MESSAGE_NOT_FOUND"
    message = "Message not found"


class Conflict(AppError):
    """What is asked for does not go with how things stand."""

    status, code = 409, "CONFLICT"
    message = "This cannot be done as things stand."


class TurnInProgress(Conflict):
    """The turn is still being run; under a key, past the time a second request waits."""

    code = "TURN_IN_PROGRESS"
    message = "This message is still being worked on. Please try again in a moment."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "5"})


class AlreadyUndone(Conflict):
    """The person has taken back what this turn changed."""

    code = "ALREADY_UNDONE"
    message = "This has been undone already."


class NothingToUndo(Conflict):
    """The message changed nothing, or was written before changes were kept to be undone."""

    code = "NOTHING_TO_UNDO"
    message = "There is nothing to undo here."


class TaskChanged(Conflict):
    """Tasks were changed since; `tasks` are their ids and titles."""

    code = "TASK_CHANGED"
    message = "This cannot be undone, because a task was changed since."

    def __init__(self, tasks: Sequence[tuple[int, str]] = ()) -> None:
        named = [{"task_id": task_id, "title": title} for task_id, title in tasks]
        super().__init__(details={"tasks": named})


class ValidationFailed(AppError):
    """Input that breaks a rule; `details` lists `{field, message, type}`."""

    status, code = 422, "VALIDATION_ERROR"
    message = "The request is not valid."


class RateLimited(AppError):
    """Too many calls; `retry_after` is in whole seconds, 1 or more."""

    status, code = 429, "RATE_LIMIT_EXCEEDED"
    message = "Too many requests. Please wait a moment and try again."

    def __init__(self, retry_after: int) -> None:
        super().__init__(headers={"Retry-After": str(max(1, retry_after))})


class AIServiceUnavailable(AppError):
    """The model gave no answer: slow past the limit, down, refusing, misconfigured, no key.

    `retry_after` is the provider's own advice in seconds, where it gave one.
    """

    status, code = 503, "AI_SERVICE_UNAVAILABLE"
    message = "The assistant is not available right now. Please try again in a moment."

    def __init__(self, *, details: Any = None, retry_after: int | None = None) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(max(1, retry_after))}
        super().__init__(details=details, headers=headers)


class DatabaseUnavailable(AppError):
    """Postgres is away, restarting, or has no connection free."""

    status, code = 503, "SERVICE_UNAVAILABLE"
    message = "The service is not available right now. Please try again in a moment."

    def __init__(self, *, details: Any = None) -> None:
        super().__init__(details=details, headers={"Retry-After": "1"})


class Stopping(AppError):
    """The process was told to stop: it ends what it has begun and wants nothing new."""

    status, code = 503, "SERVICE_UNAVAILABLE"
    message = "The service is stopping."


def envelope(code: str, message: str, details: Any = None) -> dict[str, Any]:
    """The one error body; `detail` repeats it for the client in service."""
    return {
        "error": {"code": code, "message": message, "details": details},
        "detail": {"code": code, "message": message},
    }


def error_response(error: AppError) -> JSONResponse:
    return JSONResponse(
        envelope(error.code, error.message, error.details),
        status_code=error.status,
        headers=error.headers,
    )


def validation_details(error: RequestValidationError) -> list[dict[str, str]]:
    """`{field, message, type}` for each fault; never the input itself, which may not encode."""
    return [
        {
            "field": _field(fault),
            "message": fault["msg"].removeprefix("Value error, "),
            "type": fault["type"],
        }
        for fault in error.errors()
    ]


def _field(fault: dict[str, Any]) -> str:
    path = [str(part) for part in fault["loc"] if part != "body"]
    # where the body is no JSON the framework names the place in it
    return "body" if not path or fault["type"] == "json_invalid" else ".".join(path)


def is_outage(error: Exception) -> bool:
    """Whether the database was away, as against a statement of ours that is wrong."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return True
    return isinstance(error.orig, pg_errors.OperationalError)


def as_app_error(error: Exception) -> AppError:
    """The answer for any exception; one that nobody foresaw is logged whole and says nothing."""
    match error:
        case AppError():
            return error
        case RequestValidationError():
            return ValidationFailed(details=validation_details(error))
        case HTTPException():
            return _framework_error(error)
    if is_outage(error):
        logger.warning("database unavailable", exc_info=error)
        return DatabaseUnavailable()
    logger.error("unhandled error", exc_info=error)
    return AppError()


def _framework_error(error: HTTPException) -> AppError:
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.BAD_REQUEST:  # the framework's word for a body it cannot decode
        return ValidationFailed()
    answer = AppError(status.phrase, headers=error.headers)
    answer.status = status.value
    answer.code = status.name
    return answer


def install_error_handlers(app: FastAPI) -> None:
    """Render every `AppError`, validation fault and routing error in the envelope.

    What is none of these never reaches Starlette's outermost handler, which would answer
    without CORS headers: `backend.middleware` catches it inside.
    """

    async def handle(_: Request, error: Exception) -> JSONResponse:
        return error_response(as_app_error(error))

    for kind in (AppError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)
