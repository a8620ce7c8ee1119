"""A tool's arguments as a model sends them, parsed for the check and for the record."""

import json
import math
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from backend.errors import ValidationFailed
from backend.models import MESSAGE_MAX


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


WholeNumber = Annotated[int, BeforeValidator(_no_truth_value)]
"""A number, or its digits as a text; true is not 1."""


def read_arguments(raw: str, parameters: frozenset[str]) -> dict[str, Any]:
    """The arguments the tool knows and the model gave; null and an empty text are not given.

    Small models write "" for what they leave out, and capitals where the schema has none.
    """
    try:
        sent = json.loads(raw or "{}", parse_constant=_not_a_number)
    except (ValueError, RecursionError):
        raise ValidationFailed("The arguments are not a JSON object.") from None
    if not isinstance(sent, dict):
        raise ValidationFailed("The arguments are not a JSON object.")
    given = {name: value for name, value in sent.items() if name in parameters}
    for name in ("status", "priority"):
        if isinstance(given.get(name), str):
            given[name] = given[name].strip().lower()
    return {name: value for name, value in given.items() if value not in (None, "")}


def _not_a_number(_: str) -> None:
    raise ValueError("not JSON")


def recordable(given: dict[str, Any]) -> dict[str, Any]:
    """What of the arguments goes on record: plain values, texts to a message's length."""
    return {
        name: value[:MESSAGE_MAX] if isinstance(value, str) else value
        for name, value in given.items()
        if isinstance(value, str | bool)
        or (isinstance(value, int) and abs(value) < 2**63)
        or (isinstance(value, float) and math.isfinite(value))
    }


def reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: "
        f"{fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_input=False, include_url=False, include_context=False)
    )
