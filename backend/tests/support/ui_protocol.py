"""The UI message stream of the AI SDK as a schema and rules: what its clients 5 to 7 take alike."""

from collections.abc import Sequence
from typing import Any

import jsonschema_rs

type Parts = list[dict[str, Any]]

_TEXT = {"type": "string"}
_OBJECT = {"type": "object"}
_KINDS: dict[str, dict[str, Any]] = {
    "start": {"messageId": _TEXT, "messageMetadata": _OBJECT},
    "start-step": {},
    "finish-step": {},
    "text-start": {"id": _TEXT},
    "text-delta": {"id": _TEXT, "delta": _TEXT},
    "text-end": {"id": _TEXT},
    "tool-input-available": {"toolCallId": _TEXT, "toolName": _TEXT, "input": _OBJECT},
    "tool-output-available": {"toolCallId": _TEXT, "output": _OBJECT},
    "tool-approval-request": {"approvalId": _TEXT, "toolCallId": _TEXT},
    "tool-output-denied": {"toolCallId": _TEXT},
    "message-metadata": {"messageMetadata": _OBJECT},
    "data-error": {"data": _OBJECT},
    "data-progress": {"data": _OBJECT, "transient": {"const": True}},
    "error": {"errorText": _TEXT},
    "abort": {"reason": _TEXT},
    "finish": {"finishReason": {"enum": ["stop", "tool-calls"]}},
}
SCHEMA = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"type": {"const": kind}, **fields},
            "required": ["type", *fields],
            "additionalProperties": False,
        }
        for kind, fields in _KINDS.items()
    ]
}
"""Of one part. What a client does not need to see is not sent, so nothing else is allowed."""

_VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
ENDS = {"finish", "abort", "error"}


def assert_orderly(parts: Parts, known: Sequence[str] = ()) -> None:
    """That a whole stream keeps the rules by which clients put a message together.

    Of one that goes on, the calls whose inputs are `known` may be answered at once.
    """
    for part in parts:
        _VALIDATOR.validate(part)
    kinds = [part["type"] for part in parts]
    assert kinds[0] == "start"
    assert [kind for kind in kinds if kind in ENDS] == kinds[-1:]
    step, text, texts = False, None, set[str]()
    called, answered, asked = list(known), list[str](), list[str]()
    for part in parts:
        match part["type"]:
            case "start-step":
                assert not step
                step = True
            case "finish-step":
                assert step
                assert text is None
                step = False
            case "text-start":
                assert step
                assert text is None
                assert part["id"] not in texts
                text = part["id"]
                texts.add(text)
            case "text-delta":
                assert part["id"] == text
                assert part["delta"]
            case "text-end":
                assert part["id"] == text
                text = None
            case "tool-input-available":
                assert step
                assert text is None
                called.append(part["toolCallId"])
            case "tool-approval-request":
                asked.append(part["toolCallId"])
                assert asked[-1] == called[-1]
            case "tool-output-available" | "tool-output-denied":
                if part["toolCallId"] not in answered:  # else what it was shown with was not known
                    answered.append(part["toolCallId"])
                assert answered == called[: len(answered)]
    assert not step
    assert text is None
    assert len(set(called)) == len(called)
    assert {*called} - {*answered} <= {*asked, *known}
