"""Short names for what the scripted model says."""

import json
from datetime import UTC, datetime
from itertools import count
from typing import Any

from agents.testing import ScriptedModel, assistant_message, function_call

from backend.journal.turns import OpenedConversation, Turn

_numbers = count(1)

type Step = list[Any]


def says(text: str) -> Step:
    """An answer, which ends the run."""
    return [assistant_message(text)]


def calls(name: str, arguments: dict[str, Any] | str | None = None) -> Step:
    """A call of one tool; `arguments` as text goes out as it stands, JSON or not."""
    return [function_call(name, arguments or {}, call_id=f"call-{next(_numbers)}")]


def together(*steps: Step) -> Step:
    """Several calls in one answer of the model."""
    return [item for step in steps for item in step]


def given(model: ScriptedModel, call: int = -1) -> list[dict[str, Any]]:
    """The input of a model call, the last one unless told."""
    items: Any = model.calls[call].input
    assert isinstance(items, list)
    return items


def outputs(model: ScriptedModel, call: int = -1) -> list[dict[str, Any]]:
    """The tool results in the input of a model call, in order."""
    return [
        json.loads(str(item["output"]))
        for item in given(model, call)
        if item.get("type") == "function_call_output"
    ]


def unsaved_turn() -> Turn:
    """A turn for tools that are looked at, not called."""
    nothing_yet = OpenedConversation(1, 2, None, None, None, None, None, None)
    return Turn(
        "someone", nothing_yet, asked_id=1, message_id=2, created_at=datetime.now(UTC), history=[]
    )
