"""Stored messages into the model's input. Pure: no clock, no database.

A call and its result always go in together, under an id made from where they stand: the
provider's own ids mean nothing to another provider, nor to the same one a month later.
"""

import json
from collections.abc import Iterator, Sequence

from agents import TResponseInputItem

from backend.models import Role
from backend.services.conversations import StoredMessage
from backend.services.record import ToolCall
from backend.services.turns import Turn

UNDONE = "(The person has undone these changes.)"


def build_input(turn: Turn, context: str, text: str) -> list[TResponseInputItem]:
    """The input of a run: whole turns of the history, `context`, the new message.

    What comes before the history's first message of the person is the rest of a turn that was
    cut, and is left out. Behind the message stand the calls of earlier attempts at this turn,
    as if this run had made them, so the model goes on from there.
    """
    items = [item for message in _whole_turns(turn.history) for item in _items(message)]
    items.append({"role": "user", "content": context})
    items.append({"role": "user", "content": text})
    items += _calls(turn.message_id, turn.calls)
    return items


def _whole_turns(history: Sequence[StoredMessage]) -> Sequence[StoredMessage]:
    for position, message in enumerate(history):
        if message.role == Role.USER:
            return history[position:]
    return []


def _items(message: StoredMessage) -> Iterator[TResponseInputItem]:
    if message.role == Role.USER:
        yield {"role": "user", "content": message.content}
        return
    yield from _calls(message.id, message.tool_calls)
    said = [message.content, UNDONE if message.undone_at else ""]
    if content := "\n".join(filter(None, said)):
        yield {"role": "assistant", "content": content}


def _calls(message_id: int, calls: Sequence[ToolCall]) -> Iterator[TResponseInputItem]:
    for position, call in enumerate(calls):
        call_id = f"call_{message_id}_{position}"
        yield {
            "type": "function_call",
            "call_id": call_id,
            "name": call["tool"],
            "arguments": json.dumps(call["args"], ensure_ascii=False),
        }
        yield {
            "type": "function_call_output",
            "call_id": call_id,
            "output": json.dumps(call["result"], ensure_ascii=False),
        }
