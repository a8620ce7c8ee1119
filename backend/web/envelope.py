"""The one shape of every error, the framework's own included. Nothing else builds an error body."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from backend.errors import AppError, DatabaseUnavailable, ValidationFailed, is_outage
from backend.schemas.fields import FAULTS_MAX

logger = logging.getLogger(__name__)


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


def is_invalid(error: Exception) -> bool:
    """Whether it is the framework's word for input that breaks a rule, or cannot be decoded."""
    undecodable = isinstance(error, HTTPException) and error.status_code == HTTPStatus.BAD_REQUEST
    return undecodable or isinstance(error, RequestValidationError)


def validation_details(error: RequestValidationError) -> list[dict[str, str]]:
    """`{field, message, type}` of the first `FAULTS_MAX`; never the input, which may not encode."""
    return [
        {
            "field": _field(fault),
            "message": fault["msg"].removeprefix("Value error, "),
            "type": fault["type"],
        }
        for fault in error.errors()[:FAULTS_MAX]
    ]


def _field(fault: dict[str, Any]) -> str:
    path = [str(part) for part in fault["loc"] if part not in ("body", "header")]
    # where the body is no JSON the framework names the place in it
    return "body" if not path or fault["type"] == "json_invalid" else ".".join(path)


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
    without CORS headers: `backend.web.middleware` catches it inside.
    """

    async def handle(_: Request, error: Exception) -> JSONResponse:
        return error_response(as_app_error(error))

    for kind in (AppError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)
