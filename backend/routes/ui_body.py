"""The body of a message as `useChat` posts it."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from backend.errors import ValidationFailed
from backend.schemas.newest_message import without_history
from backend.schemas.ui_chat import UiChatRequest
from backend.web.openapi import inlined
from backend.web.refusals import BodyTooLarge

BODY_MAX = 8 * 1024 * 1024
"""Bytes of a message's body, which by default holds the whole history; only its end is taken."""


async def _read_ui_message(request: Request) -> UiChatRequest:
    """The body, read without making objects of what is not taken from it.

    Raises:
        RequestValidationError: it is not JSON, or not a message of the person.
        BodyTooLarge: the newest message by itself is.
    """
    if "json" not in request.headers.get("content-type", "application/json"):
        raise ValidationFailed
    try:
        taken = await without_history(await request.body())
    except ValueError:
        raise BodyTooLarge from None
    try:
        body = UiChatRequest.model_validate_json(taken)
        _ = body.asks_again or body.decided or body.text
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in faults]
        ) from None
    return body


MESSAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": inlined(UiChatRequest)}},
    }
}
MessageBody = Annotated[UiChatRequest, Depends(_read_ui_message)]
