"""Stored messages as turns of a model's input, and how many of the newest are kept. No I/O.

A call and its result always go in together, under an id made from where they stand: the
provider's own ids mean nothing to another provider, nor to the same one a month later.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agents import TResponseInputItem

from backend.agent.context.budget import Budget
from backend.agent.context.tokens import items_at_most
from backend.agent.context.truncate import compact, shown
from backend.agent.wire.exchange import KEPT, nine
from backend.conversations.messages import StoredMessage
from backend.conversations.tool_calls import ToolCall, changes_outside
from backend.fair_turns import all_in_turns
from backend.models import Role

type Items = list[TResponseInputItem]

UNDONE = "(The person has undone these changes.)"
STAYS = "(What was done outside of this app stays as it is.)"
_CALLS = 1_000
"""More calls than a message has."""
STEP = 0.6
"""What is kept of a full history when it is cut, so that the next cut is some turns away."""


@dataclass(frozen=True, slots=True)
class PastTurn:
    """A message of the person and all up to the next one."""

    messages: Sequence[StoredMessage]
    items: Items
    bytes: int
    """A bound on the tokens of the items."""


async def past_turns(history: Sequence[StoredMessage], budget: Budget) -> list[PastTurn]:
    """The turns in `history`, oldest first.

    What comes before the first message of the person is the rest of a turn that was cut, and a
    role that is neither side's is another backend's own affair: both are left out.
    """
    turns: list[list[StoredMessage]] = []
    for message in history:
        if message.role == Role.USER:
            turns.append([message])
        elif turns and message.role == Role.ASSISTANT:
            turns[-1].append(message)
    return await all_in_turns(past_turn(messages, budget) for messages in turns)


async def count_ahead(turns: Sequence[PastTurn], budget: Budget) -> None:
    """Count what `first_kept` will want to know, which is remembered, without holding up others."""
    if _are_counted(turns, budget):
        await all_in_turns(budget.tokenizer.count_items(turn.items) for turn in turns)


def _are_counted(turns: Sequence[PastTurn], budget: Budget) -> bool:
    """Whether their bytes alone leave open how many of them fit."""
    return sum(turn.bytes for turn in turns) > STEP * budget.history_at_least


def undone_word(message: StoredMessage) -> str:
    """What a model is told of what the person has taken back; empty where they have not."""
    if message.undone_at is None:
        return ""
    return f"{UNDONE} {STAYS}" if changes_outside(message.tool_calls) else UNDONE


def past_turn(messages: Sequence[StoredMessage], budget: Budget) -> PastTurn:
    items = [item for message in messages for item in _items(message, budget)]
    return PastTurn(messages, items, items_at_most(items))


def _items(message: StoredMessage, budget: Budget) -> Iterator[TResponseInputItem]:
    if message.role == Role.USER:
        yield {"role": "user", "content": message.content}
        return
    yield from call_items(message.id, message.tool_calls, budget)
    said = [message.content, undone_word(message)]
    if content := "\n".join(filter(None, said)):
        yield {"role": "assistant", "content": content}


def call_items(
    message_id: int, calls: Sequence[ToolCall], budget: Budget | None = None
) -> Iterator[TResponseInputItem]:
    """The recorded calls of a message, each with its result, which a budget cuts if long."""
    for position, call in enumerate(calls):
        call_id = nine(message_id * _CALLS + position)
        asked: dict[str, Any] = {
            "type": "function_call",
            "call_id": call_id,
            "name": call["tool"],
            "arguments": json.dumps(call["args"], ensure_ascii=False),
        }
        if reasoning := call.get("reasoning"):
            asked["provider_data"] = {KEPT: reasoning}
        yield cast(TResponseInputItem, asked)
        result = compact(call["tool"], call["result"])
        yield {
            "type": "function_call_output",
            "call_id": call_id,
            "output": shown(result, budget.result, budget.tokenizer.count)
            if budget
            else json.dumps(result, ensure_ascii=False),
        }


def first_kept(turns: Sequence[PastTurn], messages: int, budget: Budget) -> int:
    """The first of `turns` that is kept: of `messages` and the budget's history, whole turns.

    The cut moves in steps. It is where it would be if every turn had been added to what was
    kept before it, and each time the bounds were passed, all but `STEP` of them been given
    up. So turns that are added later leave it where it is, or move it by another step.
    """
    counts = [len(turn.messages) for turn in turns]
    sizes = [turn.bytes for turn in turns]
    if sum(counts) <= messages and sum(sizes) <= budget.history_at_least:
        return 0
    if _are_counted(turns, budget):
        sizes = [budget.tokenizer.count_items(turn.items) for turn in turns]
    return _walk(counts, sizes, messages, budget.history)


def _walk(counts: Sequence[int], sizes: Sequence[int], messages: int, tokens: int) -> int:
    start = count = size = 0
    for end in range(len(counts)):
        count += counts[end]
        size += sizes[end]
        over = count > messages or size > tokens
        while over and start <= end and _too_many(count, size, messages, tokens, start == end):
            count -= counts[start]
            size -= sizes[start]
            start += 1
    return start


def _too_many(count: int, size: int, messages: int, tokens: int, newest: bool) -> bool:
    """Whether a cut has to go on; the newest turn alone may take up everything."""
    share = 1.0 if newest else STEP
    return count > share * messages or size > share * tokens
