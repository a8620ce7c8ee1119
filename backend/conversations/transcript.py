"""A conversation as a person reads it in a Markdown file.

What was said stands in fenced blocks, each with a fence longer than any in its text, and all
other text of people and models has its punctuation escaped. So no message can end its block,
begin a heading that looks like another's words, or bring HTML or an image into the page.
"""

import re
from datetime import datetime

from backend.conversations.listing import StoredConversation
from backend.conversations.messages import StoredMessage
from backend.conversations.tool_calls import ToolCall
from backend.models import Role
from backend.schemas.fields import iso_utc

_SPEAKERS = {Role.USER: "You", Role.ASSISTANT: "Assistant"}
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def heading(conversation: StoredConversation, provider: str, model: str) -> str:
    """The title, the times, and what answers in it now."""
    title = _inline(conversation.title or f"Conversation {conversation.id}")
    told = f"{_inline(provider)}, {_inline(model)}"
    return (
        f"# {title}\n\n"
        f"- Begun: {_time(conversation.created_at)}\n"
        f"- Last active: {_time(conversation.updated_at)}\n"
        f"- Answered by: {told}\n"
    )


def entry(message: StoredMessage) -> str:
    """One message: who and when, what was said, what the tools did."""
    lines = [
        f"\n## {_SPEAKERS[Role(message.role)]}, {_time(message.created_at)}\n",
        _fenced(message.content),
    ]
    if message.tool_calls:
        lines.append("\nDone by tools:\n")
        for call in message.tool_calls:
            if said := call.get("said"):
                lines.append(f"- Said: {_inline(said)}")
            lines.append(f"- {_call_in_markdown(call)}")
    if message.undone_at is not None:
        lines.append(f"\nTaken back: {_time(message.undone_at)}")
    return "\n".join(lines) + "\n"


def ending(count: int) -> str:
    """The last line, without which a file is not whole."""
    return f"\n---\n\nEnd of the conversation: {count} message{'' if count == 1 else 's'}.\n"


def _call_in_markdown(call: ToolCall) -> str:
    result = call["result"]
    said = result.get("message") or result.get("error") or "no result"
    return f"{_inline(call['tool'])}: {_inline(str(said))}"


def _fenced(text: str) -> str:
    """`text` as it stands, line by line, in a block that nothing in it can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _inline(text: str) -> str:
    """`text` on one line, with nothing in it that Markdown has a meaning for."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def _time(instant: datetime) -> str:
    return f"{iso_utc(instant)}"
