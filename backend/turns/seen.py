"""A run as it is told: a span from its start to its end, how it ended, and what it took."""

import asyncio
from typing import Self

from backend.chat_errors import ChatError
from backend.journal.turns import Turn
from backend.telemetry import spans
from backend.telemetry.figures import (
    APPROVALS,
    OUTSIDE_SECONDS,
    OWN_SECONDS,
    TAKEN_UP,
    TURN_SECONDS,
    TURNS,
    Labels,
)


class SeenRun:
    """The run of `turn`, inside its block, which an error leaves where there is no answer."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._asked_before = len(turn.approvals)
        self._span = spans.span(
            "invoke_agent todo-assistant",
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": "todo-assistant",
                "gen_ai.conversation.id": str(turn.conversation_id),
                "todo.message.id": turn.message_id,
                "todo.turn.attempt": turn.attempt,
            },
        )

    def __enter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        self._span.__enter__()
        if self._turn.attempt > 1:
            TAKEN_UP.add()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *rest: object
    ) -> None:
        turn, seconds = self._turn, asyncio.get_running_loop().time() - self._began
        ended = _ended(turn, error)
        TURNS.add(1, ended)
        outcome = {"outcome": ended["outcome"]}
        TURN_SECONDS.record(seconds, outcome)
        OUTSIDE_SECONDS.record(turn.spending.waited, outcome)
        OWN_SECONDS.record(max(0.0, seconds - turn.spending.waited), outcome)
        if asked := len(turn.approvals) - self._asked_before:
            APPROVALS.add(asked, {"decision": "asked"})
        self._span.note({f"todo.turn.{name}": value for name, value in ended.items()})
        self._span.note(_who(turn))
        self._span.__exit__(kind, error, *rest)


def _ended(turn: Turn, error: BaseException | None) -> Labels:
    """How it ended, and why where it failed: one word each, of few."""
    if isinstance(error, ChatError):
        return {"outcome": "failed", "reason": str(error.details["reason"])}
    if error is not None:
        return {"outcome": "failed", "reason": "internal"}
    if turn.stopped:
        return {"outcome": "stopped", "reason": ""}
    return {"outcome": "waiting" if turn.asks else "answered", "reason": ""}


def _who(turn: Turn) -> spans.Attributes:
    """Who answered, and the tokens that it took."""
    told = {
        "gen_ai.provider.name": turn.provider,
        "gen_ai.request.model": turn.model,
        "gen_ai.usage.input_tokens": turn.spending.input,
        "gen_ai.usage.output_tokens": turn.spending.output,
    }
    return {name: value for name, value in told.items() if value is not None}
