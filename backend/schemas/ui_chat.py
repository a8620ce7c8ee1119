"""What the AI SDK's clients send and are given, as far as it is taken or told.

Only the newest message counts. Whatever else a client sends is ignored, in whatever form it comes:
roles and histories are not believed, and clients of other versions send other fields.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    OnErrorOmit,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError, core_schema

from backend.models import CLIENT_ID_MAX, Role
from backend.schemas.chat import ProjectId
from backend.schemas.fields import MessageText, storable


def kept_id(given: str | None) -> str | None:
    """A client's id of a message, if it is one that is kept."""
    if not given or len(given) > CLIENT_ID_MAX:
        return None
    try:
        return storable(given)
    except ValueError:
        return None


def read_chat_id(value: str) -> str:
    """`value`, if it can be a chat's id in a path.

    Raises:
        ValueError: it is empty, too long, `.` or `..`, or holds a slash or a control character.
    """
    if not 0 < len(value) <= CLIENT_ID_MAX:
        raise ValueError(f"must have 1 to {CLIENT_ID_MAX} characters")
    if value in (".", "..") or "/" in value or re.search(r"[\x00-\x1f\x7f-\x9f]", value):
        raise ValueError("must not be . or .., or hold a slash or a control character")
    return storable(value)


ChatId = Annotated[
    str,
    AfterValidator(read_chat_id),
    Field(
        description="The client's own id of the chat, or digits: a conversation's number.",
        json_schema_extra={"minLength": 1, "maxLength": CLIENT_ID_MAX},
    ),
]
_Ignored = GetPydanticSchema(
    lambda kind, handler: core_schema.with_default_schema(
        handler(kind), default=None, on_error="default"
    )
)
"""A value of another type is none."""
_Text = Annotated[str | None, _Ignored]


class Approval(BaseModel):
    """What the person has said to a call that waits for it."""

    id: str
    approved: bool
    reason: _Text = None


class SentPart(BaseModel):
    """A part of a message; all but text and the answers to approvals is passed over."""

    model_config = ConfigDict(populate_by_name=True)

    type: str
    call_id: _Text = Field(default=None, alias="toolCallId")
    text: _Text = None
    state: _Text = None
    approval: Annotated[Approval | None, _Ignored] = None


class SentMessage(BaseModel):
    id: _Text = None
    role: str
    parts: list[OnErrorOmit[SentPart]] = []
    content: _Text = None
    """Where clients of version 4 have their text."""


class UiChatRequest(BaseModel):
    """A message as `useChat` posts it, alone or behind all that came before it."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "c1",
                    "message": {
                        "id": "m1",
                        "role": "user",
                        "parts": [{"type": "text", "text": "Add buy groceries"}],
                    },
                }
            ]
        },
    )

    id: ChatId
    message: SentMessage | None = None
    messages: list[Annotated[SentMessage | None, _Ignored]] = []
    trigger: Annotated[str, _Ignored] | None = None
    message_id: _Text = Field(default=None, alias="messageId")
    project_id: ProjectId = None

    @property
    def newest(self) -> SentMessage:
        """The message that is sent.

        Raises:
            ValidationError: there is none.
        """
        newest = self.message or (self.messages[-1] if self.messages else None)
        if newest is None:
            raise _fault(("messages",), "there must be a message with a role and parts")
        return newest

    @property
    def decided(self) -> list[SentPart]:
        """The calls of the newest message that the person has decided, if it is the assistant's."""
        newest = self.newest
        if newest.role != Role.ASSISTANT:
            return []
        responded = (part for part in newest.parts if part.state == "approval-responded")
        return [part for part in responded if part.approval]

    @property
    def asks_again(self) -> bool:
        return self.trigger == "regenerate-message"

    @property
    def text(self) -> str:
        """What the person says in the newest message, trimmed.

        Raises:
            ValidationError: it is not the person's, or there is no text that can be taken.
        """
        newest = self.newest
        if newest.role != Role.USER:
            raise _fault(("messages",), "the newest message must be the person's")
        said = "\n".join(part.text for part in newest.parts if part.type == "text" and part.text)
        said = said or newest.content or ""
        if not said.strip() and any(part.type == "file" for part in newest.parts):
            raise _fault(("messages",), "files are not taken; write what is to be done")
        return _TEXT.validate_python(said)


_TEXT: TypeAdapter[str] = TypeAdapter(MessageText)


def _fault(place: tuple[str, ...], message: str) -> ValidationError:
    error = PydanticCustomError("message", "{message}", {"message": message})
    return ValidationError.from_exception_data(
        "request", [{"type": error, "loc": place, "input": None}]
    )


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class UiMessage(BaseModel):
    """A message as `useChat` holds it."""

    id: str
    role: Literal["user", "assistant"]
    metadata: dict[str, Any]
    parts: list[dict[str, Any]]


class StopRequest(BaseModel):
    """Which turn to stop: by its answer's id, or by the client's id of the person's message."""

    model_config = ConfigDict(populate_by_name=True)

    message_id: Annotated[str | None, BeforeValidator(_as_text)] = Field(
        default=None, validation_alias=AliasChoices("messageId", "message_id")
    )


class StopAnswer(BaseModel):
    """How the turn stands that was to be stopped."""

    stopped: bool
    """Whether it has ended because of that."""
    message_id: int | None
    """The assistant's message; null where there is none at all."""
    status: str | None
    """`running` where the order is given and the end not seen yet, else how it has ended."""
