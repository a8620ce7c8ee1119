"""A request made into what its provider takes: whose turn it is, and what has to come back."""

from typing import Any

from backend.agent.wire.exchange import Exchanges
from backend.settings.providers import Asking

type Message = dict[str, Any]

_NO_ANSWER = "(No answer was given.)"
_BLANK = " "
"""In the place of reasoning that is not kept, where there has to be some."""
_NO_SIGNATURE = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""What Gemini 3 takes, by its documentation, for a call that another model has made."""


def fit_messages(
    messages: list[Message], model: str, asking: Asking, run: Exchanges
) -> list[Message]:
    """Chat messages as the provider takes them; those that came are left as they are."""
    fitting = [dict(message) for message in messages]
    _close_calls(fitting)
    for message in fitting:
        if message["role"] == "assistant" and asking.reasoning_back != "never":
            _put_back(message, run, "gemini-3" in model, asking.reasoning_back == "always")
    if asking.roles == "no_system":
        fitting = _without_system(fitting)
    return merged(fitting) if asking.roles in ("alternate", "no_system") else fitting


def _close_calls(messages: list[Message]) -> None:
    """Put an answer between a result and the next message, where a turn has failed before one."""
    for at in range(len(messages) - 1, 0, -1):
        if messages[at]["role"] == "user" and messages[at - 1]["role"] == "tool":
            messages.insert(at, {"role": "assistant", "content": _NO_ANSWER})


def _put_back(message: Message, run: Exchanges, signed: bool, always: bool) -> None:
    calls = [dict(call) for call in message.get("tool_calls") or ()]
    for call in calls:
        for name, value in run.wanted(call["id"]).items():
            (call if name == "extra_content" else message)[name] = value
        if signed:
            call.setdefault("extra_content", _NO_SIGNATURE)
    if calls:
        message["tool_calls"] = calls
    if always:
        message.setdefault("reasoning_content", _BLANK)


def merged(messages: list[Message]) -> list[Message]:
    """Two texts of one side in a row as one."""
    one: list[Message] = []
    for message in messages:
        before = one[-1] if one else {}
        if _joins(before, message):
            both = f"{before['content']}\n\n{message['content']}"
            one[-1] = {**before, **message, "content": both}
        else:
            one.append(message)
    return one


def _joins(before: Message, message: Message) -> bool:
    texts = isinstance(before.get("content"), str) and isinstance(message.get("content"), str)
    return texts and before.get("role") == message.get("role") in ("user", "assistant")


def _without_system(messages: list[Message]) -> list[Message]:
    return [
        {**message, "role": "user"} if message["role"] in ("system", "developer") else message
        for message in messages
    ]
