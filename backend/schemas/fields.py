"""The types of fields, shared by the bodies, the task rules and the tools.

A text is stored as it is checked here: what Postgres cannot hold (NUL, lone surrogates) is
refused.
"""

import re
from datetime import UTC, date, datetime
from itertools import islice
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
)
from pydantic import StringConstraints as Text
from pydantic_core import PydanticCustomError

from backend.models import (
    DESCRIPTION_MAX,
    MESSAGE_MAX,
    TAG_MAX,
    TAGS_MAX,
    TITLE_MAX,
)
from backend.visible import visible

SEARCH_MAX = 200
FAULTS_MAX = 20
"""Faults of a request that its answer names; there may be one for every byte."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


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


def null_means(default: object, kind: Any = Any) -> BeforeValidator:
    """Read null as `default`; the document says that the field takes `kind` or null."""
    return BeforeValidator(
        lambda value: default if value is None else value, json_schema_input_type=kind | None
    )


def _due_date(value: object, _: object) -> date | None:
    """A date from a text that is one, a time in UTC from any other; `""` is none.

    pydantic's parser alone would take `"1700000000"` for a time, and a date for its midnight.
    """
    if value is None or type(value) is date:
        return value
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        if _DATE.fullmatch(value):
            return date.fromisoformat(value)
        if not _DATE.match(value):
            raise ValueError("must be a date such as 2026-01-31, or a date and a time")
    elif not isinstance(value, datetime):
        raise ValueError("must be a text")
    try:
        return _INSTANT_FIELD.validate_python(value)
    except ValidationError as error:
        (fault,) = error.errors()
        raise PydanticCustomError("datetime", "{reason}", {"reason": fault["msg"]}) from None


def _cut_at_faults(value: object) -> object:
    """A list of texts up to the last fault that an answer names, so that no more are looked for."""
    if not isinstance(value, list):
        return value
    faults = (place for place, item in enumerate(value) if not isinstance(item, str))
    last = next(islice(faults, FAULTS_MAX - 1, None), len(value))
    return value[: last + 1]


def _clean_tags(tags: list[str]) -> list[str]:
    trimmed = (storable(tag).strip().lower() for tag in tags)
    cleaned = list(dict.fromkeys(tag for tag in trimmed if tag))
    if len(cleaned) > TAGS_MAX:
        raise ValueError(f"must be at most {TAGS_MAX} tags")
    if any(len(tag) > TAG_MAX for tag in cleaned):
        raise ValueError(f"must be tags of at most {TAG_MAX} characters")
    return [visible(tag) for tag in cleaned]


UtcDatetime = Annotated[datetime, AfterValidator(as_utc)]
"""An instant that leaves as ISO 8601 ending in `Z`, whatever zone it was read in."""
_INSTANT_FIELD: TypeAdapter[datetime] = TypeAdapter(UtcDatetime)
Title = Annotated[
    str,
    Text(strip_whitespace=True, min_length=1, max_length=TITLE_MAX),
    AfterValidator(storable),
    AfterValidator(visible),
]
MessageText = Annotated[
    str,
    Text(strip_whitespace=True, min_length=1, max_length=MESSAGE_MAX),
    AfterValidator(storable),
    AfterValidator(visible),
]
_DescriptionText = Annotated[str, Text(max_length=DESCRIPTION_MAX)]
Description = Annotated[
    _DescriptionText, AfterValidator(storable), null_means("", _DescriptionText)
]
DueDate = Annotated[
    date | None,
    WrapValidator(_due_date),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
]
"""A date alone is a `date`; a time, with a zone or in UTC, is a `datetime` in UTC; "" is null."""
Tags = Annotated[
    list[str],
    AfterValidator(_clean_tags),
    BeforeValidator(_cut_at_faults),
    null_means([], list[str]),
]
SearchText = Annotated[
    str, Text(strip_whitespace=True, max_length=SEARCH_MAX), AfterValidator(storable)
]
CompletedFilter = Annotated[
    bool | None, BeforeValidator(lambda value: None if value == "" else value)
]
