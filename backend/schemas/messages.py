"""Messages and their tool calls as answers show them."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from backend.models import (
    Role,
)
from backend.schemas.fields import UtcDatetime


class ToolCallResponse(BaseModel):
    """One tool call, as made and as it ended."""

    tool: str
    args: dict[str, Any]
    result: dict[str, Any]


class MessageResponse(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    role: Role
    content: str
    tool_calls: Annotated[
        list[ToolCallResponse] | None, BeforeValidator(lambda calls: calls or None)
    ]
    said: list[str | None] | None
    """What was said before each call, where viewers were shown it; null where nothing was."""
    created_at: UtcDatetime
    undone_at: UtcDatetime | None
    """When the person took back what this message had changed; null while it stands."""
