"""Request and response bodies of conversations, made of the fields in `backend.schemas`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic import StringConstraints as Text

from backend.models import MODEL_MAX, PROVIDER_MAX
from backend.schemas.fields import MessageText, Title, UtcDatetime, storable
from backend.schemas.messages import ApprovalResponse, MessageResponse, OrNull, ToolCallResponse

ProviderName = Annotated[
    str,
    Text(strip_whitespace=True, min_length=1, max_length=PROVIDER_MAX),
    AfterValidator(storable),
]
ModelName = Annotated[
    str, Text(strip_whitespace=True, min_length=1, max_length=MODEL_MAX), AfterValidator(storable)
]
ToolsetName = Annotated[str, Text(min_length=1, max_length=20), AfterValidator(storable)]
CHOSEN_MAX = 20
"""Toolsets of one conversation."""


class ConversationSettings(BaseModel):
    """What a person may set of a conversation; only what is sent changes, and null clears it."""

    title: Title | None = None
    provider: ProviderName | None = None
    model: ModelName | None = None
    project_id: int | None = None
    toolsets: Annotated[list[ToolsetName], Field(max_length=CHOSEN_MAX)] | None = None


class ConversationResponse(BaseModel):
    """A conversation as its owner sees it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str | None
    provider: str
    model: str
    """What answers here: the person's choice, else the default of the settings."""
    message_count: int
    created_at: UtcDatetime
    updated_at: UtcDatetime
    archived_at: UtcDatetime | None
    project_id: int | None
    toolsets: list[str]
    """Whose tools the assistant may use here: the person's choice, else those of the settings."""
    origin: str | None = None
    """The client outside, over MCP, whose changes it holds; null where people chat."""


class ConversationList(BaseModel):
    conversations: list[ConversationResponse]
    next: str | None
    """The cursor of the following page; null on the last."""


class ConversationUsage(BaseModel):
    """What a conversation has cost so far, names and summaries of it among that."""

    model_config = ConfigDict(from_attributes=True)

    answers: int
    """Of how many answers: all, or the newest 1,000."""
    input_tokens: int | None
    cached_tokens: int | None
    """Of the input, those the provider had kept from an earlier request."""
    output_tokens: int | None
    """As the provider counted them; null where it has counted none."""
    cost_usd: float | None
    """Of what had a known price when it was booked; null where nothing had."""


class ConversationDetail(ConversationResponse):
    """A conversation with its newest messages, oldest of them first."""

    usage: ConversationUsage

    messages: list[MessageResponse]
    next: str | None
    """The cursor of the page of older messages; null where these go back to the first."""


class ChatContent(BaseModel):
    """One message to the assistant."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"content": "Add buy groceries"}]})

    content: MessageText
    approvals: bool = False
    """Whether the client can ask the person to approve a call."""


class ChatAnswer(BaseModel):
    """The message with which the assistant answered."""

    id: int
    role: Literal["assistant"] = "assistant"
    content: str
    tool_calls: list[ToolCallResponse] | None
    """In the order the calls were made; null where none was."""
    tools_executed: list[str]
    """The tools that were called, each once, in the order of their first calls."""
    created_at: UtcDatetime
    conversation_id: int
    approvals: OrNull[list[ApprovalResponse]] = None
    """The calls that wait for the person; only for a client that can ask for approval."""
    stopped: bool = False
    """Whether the person stopped it; only there where that is so."""
