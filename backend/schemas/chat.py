"""Bodies and headers of the chat.

Unknown fields are ignored, and no body says who is calling.
"""

import re
from contextlib import suppress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import StringConstraints as Text

from backend.models import (
    KEY_MAX,
)
from backend.schemas.fields import MessageText
from backend.schemas.messages import ApprovalResponse, OrNull, ToolCallResponse

_ID_DIGITS = re.compile(r"[0-9]{1,30}")


def _printable(key: str) -> str:
    """A header's text, which HTTP hands over as Latin-1 though clients write UTF-8.

    Raises:
        ValueError: it holds what is not printable.
    """
    with suppress(UnicodeError):
        key = key.encode("latin-1").decode()
    if not key.isprintable():
        raise ValueError("must be printable text")
    return key


def _id(value: object) -> object:
    """A conversation's id: a whole number or its digits, which the client keeps as a text."""
    if isinstance(value, str) and _ID_DIGITS.fullmatch(value):
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError("must be a whole number")


IdempotencyKey = Annotated[str, AfterValidator(_printable), Text(min_length=1, max_length=KEY_MAX)]

ProjectId = Annotated[
    int | None, Field(description="To which a new conversation belongs."), BeforeValidator(_id)
]


class ChatRequest(BaseModel):
    """One message; with no id it opens a new conversation."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"conversation_id": None, "message": "Add buy groceries"}]}
    )

    conversation_id: Annotated[
        int | None, Field(description="A number, or its digits as a text."), BeforeValidator(_id)
    ] = None
    message: MessageText
    approvals: bool = False
    """Whether the client can ask the person to approve a call."""
    project_id: ProjectId = None


class ChatResponse(BaseModel):
    conversation_id: int
    response: str
    tool_calls: list[ToolCallResponse] | None
    """In the order the calls were made; null where none was."""
    message_id: int | None = None
    """The answer's id; only for a client that can ask for approval, like the next."""
    approvals: OrNull[list[ApprovalResponse]] = None
    """The calls that wait for the person, after whose word the turn goes on; null if none does."""
    stopped: bool = False
    """Whether the person stopped it; only there where that is so."""
