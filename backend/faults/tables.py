"""All rows of one person, as the checker reads them."""

import json
from dataclasses import dataclass, field

from backend.faults.postgres import Postgres, Row

_MESSAGES = """
    SELECT id, conversation_id, role, content, tool_calls_json, status, attempt, reply_to,
        idempotency_key, stopped_at IS NOT NULL AS stopped, approvals_json,
        extract(epoch FROM ended_at)::float AS ended,
        extract(epoch FROM created_at)::float AS created,
        coalesce(lease_until, created_at) < clock_timestamp() AS lapsed
    FROM messages WHERE user_id = %s ORDER BY conversation_id, created_at, id
"""
_TASKS = """
    SELECT id, title, completed, deleted_at IS NOT NULL AS deleted, previous_id
    FROM tasks WHERE user_id = %s ORDER BY id
"""
_CONVERSATIONS = "SELECT id, message_count FROM conversations WHERE user_id = %s"


@dataclass
class Turn:
    """A person's row and the assistant's that answers it."""

    asked: Row
    answer: Row
    calls: list[Row]
    approvals: list[Row]

    def changes_by(self, *tools: str) -> list[Row]:
        """The calls of these tools that did something; one about several tasks is one for each."""
        done = (
            call | {"result": result}
            for call in self.calls
            if call["tool"] in tools
            for result in call["result"].get("results", [call["result"]])
        )
        return [call for call in done if call["result"].get("success") is True]


@dataclass
class Tables:
    """All rows of one person."""

    messages: list[Row]
    tasks: list[Row]
    conversations: list[Row]
    turns: list[Turn] = field(default_factory=list)

    def __post_init__(self) -> None:
        asked = {row["id"]: row for row in self.messages if row["role"] == "user"}
        for row in self.messages:
            if row["role"] == "assistant" and row["reply_to"] in asked:
                calls = json.loads(row["tool_calls_json"] or "[]")
                approvals = json.loads(row["approvals_json"] or '{"calls": []}')["calls"]
                self.turns.append(Turn(asked[row["reply_to"]], row, calls, approvals))

    @property
    def under_way(self) -> list[Row]:
        """The rows of runs that are alive, by their lease."""
        return [m for m in self.messages if m["status"] == "running" and not m["lapsed"]]


async def read_tables(postgres: Postgres, user_id: str) -> Tables:
    return Tables(
        await postgres.ask(_MESSAGES, user_id),
        await postgres.ask(_TASKS, user_id),
        await postgres.ask(_CONVERSATIONS, user_id),
    )


def shown(calls: list[Row]) -> list[Row]:
    """Calls as a client sees them, without what is kept to undo them."""
    return [{name: call[name] for name in ("tool", "args", "result")} for call in calls]
