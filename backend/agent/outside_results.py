"""What goes on record of an outside call: arguments and results as far as they can be kept."""

import json
from typing import Any

from mcp_types import CallToolResult

from backend.agent.context.tokens import at_most
from backend.agent.context.truncate import shown
from backend.conversations.tool_calls import OUTCOME_UNKNOWN, ToolCall, without_unstorable

ARGUMENTS_MAX = 4_000
RESULT_MAX = 8_000
"""Bytes, as JSON, of a call's arguments and of its result, as they are kept and read."""

type Result = dict[str, Any]


def failure(text: str, code: str) -> Result:
    return {"success": False, "error": text, "error_code": code}


BAD_ARGUMENTS = failure("The arguments are not a JSON object, or too long.", "VALIDATION_ERROR")
TOO_MANY = failure("No more calls in this turn.", "VALIDATION_ERROR")
UNKNOWN = failure("It was started; its outcome is not known.", OUTCOME_UNKNOWN)
DOWN = failure("The toolset does not answer. Nothing was done.", "TOOLSET_DOWN")
GONE = failure("There is no such tool any more. Nothing was done.", "VALIDATION_ERROR")
NOBODY_TO_ASK = failure(
    "A person has to approve this first, for which the app in use cannot ask. Nothing was done.",
    "APPROVAL_NEEDED",
)


def is_unknown(call: ToolCall) -> bool:
    return call["result"].get("error_code") == OUTCOME_UNKNOWN


def read_arguments(raw: str) -> dict[str, Any] | None:
    """The arguments as a model sent them, if they can be kept."""
    try:
        sent = without_unstorable(json.loads(raw or "{}"))
        kept = len(json.dumps(sent, allow_nan=False)) <= ARGUMENTS_MAX
    except (ValueError, RecursionError):
        return None
    return sent if kept and isinstance(sent, dict) else None


def read_result(answer: CallToolResult) -> Result:
    """What a server answered, as an object that can be kept: bounded, with `success` in it."""
    content = answer.structured_content
    if not isinstance(content, dict):
        content = {"text": "\n".join(getattr(part, "text", "") for part in answer.content)}
    if set(content) == {"result"} and isinstance(content["result"], dict):
        content = content["result"]
    try:
        whole = without_unstorable(content)
        json.dumps(whole, allow_nan=False)
    except (ValueError, RecursionError):
        whole = {"note": "What the tool answered cannot be kept."}
    success = not answer.is_error and whole.get("success") is not False
    if whole.get("error_code") == OUTCOME_UNKNOWN:  # ours to say
        whole["error_code"] = "TOOL_ERROR"
    bounded: Result = json.loads(shown(whole | {"success": success}, RESULT_MAX, at_most))
    return bounded | {"success": success}
