"""What the person decides of the calls that wait for them, and what became of it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg

from backend.conversations.approvals import DECLINED
from backend.faults.model import TOOLS
from backend.faults.postgres import Row
from backend.faults.scenario import Scenario
from backend.faults.sendings import Sent
from backend.faults.stage import Stage
from backend.faults.tables import Tables, Turn

_OUTLIVE = """
    UPDATE messages SET ended_at = ended_at - interval '25 hours'
    WHERE id = %s AND status = 'waiting'
"""
_IN_TIME = "SET lock_timeout = '2s'"


def approved(scenario: Scenario, tool: str, sender: int) -> bool:
    """Whether the `sender`th of those that decide at once approves calls of this tool."""
    declined = {TOOLS[verb] for verb in scenario.declines}
    return (tool in declined) is (scenario.disputed and sender % 2 == 1)


async def outlive(stage: Stage, message_id: int | None) -> None:
    """Have the approvals of a message expire, if its row can be had now."""
    with suppress(psycopg.Error):
        async with stage.postgres.connection() as connection:
            await connection.execute(_IN_TIME.encode())
            await connection.execute(_OUTLIVE.encode(), [message_id])


def is_declined(call: Row) -> bool:
    return bool(call["result"].get("error_code") == DECLINED["error_code"])


def declined_tasks(turn: Turn) -> Counter[str]:
    """Of each tool for how many tasks it was declined."""
    declined: Counter[str] = Counter()
    for call in filter(is_declined, turn.calls):
        ids = call["args"].get("task_id")
        declined[call["tool"]] += len(ids) if isinstance(ids, list) else 1
    return declined


def decision_breaches(scenario: Scenario, sent: Sent, turn: Turn, tables: Tables) -> Iterator[str]:
    """What is wrong with a turn that has decided calls: each is on record once, as decided.

    Unless too late, or passed over: then it is declined, though the person would have approved.
    """
    undecided = scenario.outlives or _is_passed_over(sent, turn, tables)
    decided = [each for each in turn.approvals if each["done"]]
    if turn.answer["status"] == "complete" and len(decided) < len(turn.approvals):
        yield "it is complete, and not all that was asked for is done or declined"
    for approval in decided:
        tool, yes = approval["tool"], approval["approved"]
        alike = [e for e in decided if _names(e) == _names(approval)]
        recorded = [call for call in turn.calls if _names(call) == _names(approval)]
        if sum(map(is_declined, recorded)) != sum(not each["approved"] for each in alike):
            yield f"a declined {tool} is not on record as it was decided: {recorded}"
        if len(recorded) != len(alike):
            yield f"{tool} was decided {len(alike)} times and is on record {len(recorded)} times"
        as_meant = scenario.disputed or yes is approved(scenario, tool, 0)
        if not as_meant and not (undecided and not yes):
            yield f"{tool} was {'approved' if yes else 'declined'} by nobody"


def _is_passed_over(sent: Sent, turn: Turn, tables: Tables) -> bool:
    """Whether the person, to whom nobody has confirmed a decision, has gone on with a message.

    The turn has ended in the transaction that began the other.
    """
    answer = turn.answer
    return (
        sent.answered is None
        and answer["status"] == "complete"
        and any(
            later.asked["conversation_id"] == answer["conversation_id"]
            and later.asked["id"] > answer["id"]
            and later.asked["created"] <= answer["ended"]
            for later in tables.turns
        )
    )


def _names(call: Row) -> tuple[str, Any]:
    return call["tool"], call["args"]
