"""Request and response bodies, and the field types they share.

A request's text is stored as it is checked here: what Postgres cannot hold (NUL, lone
surrogates) is refused, unknown fields are ignored, and no body says who is calling.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import StringConstraints as Text

from backend.models import (
    DESCRIPTION_MAX,
    KEY_MAX,
    MESSAGE_MAX,
    TAG_MAX,
    TAGS_MAX,
    TITLE_MAX,
    Priority,
    Recurrence,
    Role,
)

SEARCH_MAX = 200
_DIGITS = re.compile(r"[0-9]{1,30}")
_DATE_FIRST = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def as_utc(value: datetime) -> datetime:
    """The same instant in UTC; a time without a zone is taken as UTC.

    Raises:
        ValueError: in UTC the year is before 1 or after 9999.
    """
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9999 in UTC") from None


def iso_utc(value: datetime | None) -> str | None:
    """ISO 8601 in UTC, ending in `Z`."""
    return as_utc(value).isoformat().replace("+00:00", "Z") if value else None


def storable(value: str) -> str:
    """`value`, if a Postgres text can hold it.

    Raises:
        ValueError: it holds NUL or a lone surrogate.
    """
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not hold NUL or broken Unicode")
    return value


def _null_means(default: object, kind: Any = Any) -> BeforeValidator:
    """Read null as `default`; the document says that the field takes `kind` or null."""
    return BeforeValidator(
        lambda value: default if value is None else value, json_schema_input_type=kind | None
    )


def _date_text(value: object) -> object:
    """A date's text for pydantic's parser, which alone would take `"1700000000"` for a time."""
    if isinstance(value, str):
        value = value.strip()
        if value and not _DATE_FIRST.match(value):
            raise ValueError("must be a date such as 2026-01-31, or a date and a time")
        return value or None
    if value is None or isinstance(value, datetime):
        return value
    raise ValueError("must be a text")


def _clean_tags(tags: list[str]) -> list[str]:
    trimmed = (storable(tag).strip().lower() for tag in tags)
    cleaned = list(dict.fromkeys(tag for tag in trimmed if tag))
    if len(cleaned) > TAGS_MAX:
        raise ValueError(f"must be at most {TAGS_MAX} tags")
    if any(len(tag) > TAG_MAX for tag in cleaned):
        raise ValueError(f"must be tags of at most {TAG_MAX} characters")
    return cleaned


def _stored_as(known: type[StrEnum], default: StrEnum) -> BeforeValidator:
    """Read a stored word in any case; the UI crashes on one it does not know."""
    return BeforeValidator(lambda value: known.__members__.get(str(value).upper(), default))


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
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError("must be a whole number")


UtcDatetime = Annotated[datetime, AfterValidator(as_utc)]
"""An instant that leaves as ISO 8601 ending in `Z`, whatever zone it was read in."""
Title = Annotated[
    str,
    Text(strip_whitespace=True, min_length=1, max_length=TITLE_MAX),
    AfterValidator(storable),
]
MessageText = Annotated[
    str,
    Text(strip_whitespace=True, min_length=1, max_length=MESSAGE_MAX),
    AfterValidator(storable),
]
_DescriptionText = Annotated[str, Text(max_length=DESCRIPTION_MAX)]
Description = Annotated[
    _DescriptionText, AfterValidator(storable), _null_means("", _DescriptionText)
]
DueDate = Annotated[UtcDatetime | None, BeforeValidator(_date_text)]
"""A time with a zone, without one (UTC), or a date alone (midnight UTC); "" is null."""
Tags = Annotated[list[str], AfterValidator(_clean_tags), _null_means([], list[str])]
SearchText = Annotated[
    str, Text(strip_whitespace=True, max_length=SEARCH_MAX), AfterValidator(storable)
]
CompletedFilter = Annotated[
    bool | None, BeforeValidator(lambda value: None if value == "" else value)
]


@cache
def _zones() -> frozenset[str]:
    """The names of the IANA database, without those that mean this machine or none."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def _zone(name: str) -> str:
    name = name.strip() or "UTC"
    if name not in _zones():
        raise ValueError("must be the name of a time zone such as Europe/Berlin")
    return name


TimeZoneName = Annotated[str, AfterValidator(_zone)]
"""A name of the IANA database; "" is UTC."""
IdempotencyKey = Annotated[str, AfterValidator(_printable), Text(min_length=1, max_length=KEY_MAX)]


class TaskFields(BaseModel):
    """What a person may set besides the title; null puts a field back to its default."""

    description: Description = ""
    priority: Annotated[Priority, _null_means(Priority.MEDIUM, Priority)] = Priority.MEDIUM
    due_date: DueDate = None
    tags: Tags = Field(
        default=[],
        description=f"Trimmed and lower-cased, empty ones and doubles dropped; then at most "
        f"{TAGS_MAX} of {TAG_MAX} characters.",
    )
    recurrence_pattern: Annotated[Recurrence, _null_means(Recurrence.NONE, Recurrence)] = (
        Recurrence.NONE
    )


class TaskCreate(TaskFields):
    """A new task; only the title is needed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Pay rent", "due_date": "2026-12-01"}]}
    )

    title: Title


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class TaskUpdate(TaskFields):
    """Only the fields sent change; a title cannot be null."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    title: Title = ""


class TaskResponse(BaseModel):
    """A task as the client sees it; rows of the earlier backend are read leniently."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    user_id: str
    title: str
    description: Annotated[str, _null_means("")]
    completed: bool
    priority: Annotated[Priority, _stored_as(Priority, Priority.MEDIUM)]
    due_date: UtcDatetime | None
    tags: Annotated[list[str], _null_means([])]
    recurrence_pattern: Annotated[Recurrence, _stored_as(Recurrence, Recurrence.NONE)]
    created_at: UtcDatetime
    updated_at: UtcDatetime


class TaskList(BaseModel):
    tasks: list[TaskResponse]
    total: int


class ChatRequest(BaseModel):
    """One message; with no id it opens a new conversation."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"conversation_id": None, "message": "Add buy groceries"}]}
    )

    conversation_id: Annotated[
        int | None, Field(description="A number, or its digits as a text."), BeforeValidator(_id)
    ] = None
    message: MessageText


class ToolCallResponse(BaseModel):
    """One tool call, as made and as it ended."""

    tool: str
    args: dict[str, Any]
    result: dict[str, Any]


class ChatResponse(BaseModel):
    conversation_id: int
    response: str
    tool_calls: list[ToolCallResponse] | None
    """In the order the calls were made; null where none was."""


class MessageResponse(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    role: Role
    content: str
    tool_calls: Annotated[
        list[ToolCallResponse] | None, BeforeValidator(lambda calls: calls or None)
    ]
    created_at: UtcDatetime
    undone_at: UtcDatetime | None
    """When the person took back what this message had changed; null while it stands."""
