"""A tool's arguments as a model sends them, parsed for the check and for the record."""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, FailFast, ValidationError

from backend.conversations.tool_calls import strip_unstorable
from backend.errors import ValidationFailed
from backend.models import MESSAGE_MAX, TITLE_MAX
from backend.tasks.several import SEVERAL_MAX


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


WholeNumber = Annotated[int, BeforeValidator(_no_truth_value)]
"""A number, or its digits as a text; true is not 1."""


class _One(BaseModel):
    task_id: WholeNumber


class _Several(BaseModel):
    task_id: Annotated[list[WholeNumber], FailFast()]


def read_ids(given: Mapping[str, Any]) -> list[int]:
    """The ids in `task_id`, one or a list of `SEVERAL_MAX` at the most, each once, in their order.

    Raises:
        ValidationError: it is neither.
        ValidationFailed: they are none, or too many.
    """
    if not isinstance(given.get("task_id"), list):
        return [_One.model_validate(given).task_id]
    ids = list(dict.fromkeys(_Several.model_validate(given).task_id))
    if not 0 < len(ids) <= SEVERAL_MAX:
        raise ValidationFailed(f"task_id: must be one id, or a list of 1 to {SEVERAL_MAX}")
    return ids


_OTHER_NAMES = {"task_ids": "task_id", "recurrence_pattern": "recurrence"}
"""What models also call parameters of ours."""
_NOT_GIVEN = frozenset({"none", "null", "n/a", "undefined"})
"""What small models write for what they leave out, in whatever case."""


def read_arguments(raw: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The arguments the tool knows and the model gave, by their names in `parameters`.

    Not given are null, an empty list, what small models write for it, an argument's own
    description, which is what `parameters` says of it, and a list of nothing else. Capitals are
    taken where the schema has none.
    """
    try:
        sent = json.loads(raw or "{}", parse_constant=_not_a_number)
    except (ValueError, RecursionError):
        raise ValidationFailed("The arguments are not a JSON object.") from None
    if not isinstance(sent, dict):
        raise ValidationFailed("The arguments are not a JSON object.")
    for other, name in _OTHER_NAMES.items():
        if other in sent:
            sent.setdefault(name, sent[other])
    given = {name: value for name, value in sent.items() if name in parameters}
    for name in ("status", "priority", "recurrence", "sort"):
        if isinstance(given.get(name), str):
            given[name] = given[name].strip().lower()
    return {name: value for name, value in given.items() if _is_given(value, parameters[name])}


def _is_given(value: object, description: str) -> bool:
    if isinstance(value, list):
        return any(_is_given(each, description) for each in value)
    if not isinstance(value, str):
        return value is not None
    said = value.strip().strip(".").lower()
    return value != "" and said not in _NOT_GIVEN and said != description.strip(". ").lower()


def _not_a_number(_: str) -> None:
    raise ValueError("not JSON")


LISTED_MAX = SEVERAL_MAX + 1
"""Values of a list that go on record: one more than may be, so that a refused list looks it."""


def recordable(given: dict[str, Any]) -> dict[str, Any]:
    """What of the arguments goes on record: plain values and short lists of them.

    Texts to a message's length, those of a list to a title's.
    """
    return {
        name: [_bounded_value(each, TITLE_MAX) for each in value[:LISTED_MAX]]
        if isinstance(value, list)
        else _bounded_value(value, MESSAGE_MAX)
        for name, value in given.items()
        if _is_plain(value) or (isinstance(value, list) and all(map(_is_plain, value[:LISTED_MAX])))
    }


def _bounded_value(value: Any, limit: int) -> Any:
    """What can be stored of a plain value, as it is read back."""
    return strip_unstorable(value[:limit]) if isinstance(value, str) else value


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, str | bool)
        or (isinstance(value, int) and abs(value) < 2**63)
        or (isinstance(value, float) and math.isfinite(value))
    )


def reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: "
        f"{fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_input=False, include_url=False, include_context=False)
    )
