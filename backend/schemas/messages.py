"""Messages and their tool calls as answers show them."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
)
from pydantic import StringConstraints as Text

from backend.models import (
    Role,
)
from backend.schemas.fields import MessageText, UtcDatetime, storable

REASON_MAX = 500


class ToolCallResponse(BaseModel):
    """One tool call, as made and as it ended."""

    tool: str
    args: dict[str, Any]
    result: dict[str, Any]


class MeantTask(BaseModel):
    task_id: int
    title: str
    """As it was when the person was asked."""


class ApprovalResponse(BaseModel):
    """One call that waits for the person."""

    id: str
    tool: str
    args: dict[str, Any]
    approved: bool | None
    """What was decided of it while others are pending; null where nothing was."""
    reason: str | None
    tasks: list[MeantTask] | None
    """Those that it would change; null where it is not about tasks that there are."""


class ReplacedAnswer(BaseModel):
    """An answer that stood here before it was asked for again; what it changed was undone."""

    message: str
    """What the person had said."""
    content: str
    tool_calls: list[ToolCallResponse] | None
    replaced_at: UtcDatetime


type OrNull[T] = Annotated[T | None, BeforeValidator(lambda given: given or None)]


class DecisionRequest(BaseModel):
    """The person's word on one call."""

    id: Annotated[str, Text(min_length=1, max_length=200), AfterValidator(storable)]
    approved: StrictBool
    reason: Annotated[str, Text(max_length=REASON_MAX), AfterValidator(storable)] | None = None


class DecisionsRequest(BaseModel):
    """What the person decides; the turn goes on when nothing is pending any more."""

    decisions: Annotated[list[DecisionRequest], Field(min_length=1, max_length=100)]


class AgainRequest(BaseModel):
    approvals: bool = False
    """Whether the client can ask the person to approve a call."""


class EditRequest(AgainRequest):
    """What the person says instead."""

    content: MessageText


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
    approvals: OrNull[list[ApprovalResponse]]
    """The calls that wait for the person; null where none does."""
    replaced: OrNull[list[ReplacedAnswer]]
    """What stood here before the person asked again, oldest first; null where nothing did."""
    stopped_at: UtcDatetime | None
    """When the person stopped it; its content is what had been said by then."""


class UndoneResponse(MessageResponse):
    """A message whose changes were taken back."""

    not_undone: OrNull[list[ToolCallResponse]]
    """The calls of outside tools, whose effects stay; null where there are none."""
