"""Undo by random sequences: what messages changed, taken back in order, is as it was before."""

from random import Random
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.tests.journal.test_undo import told
from backend.tests.support.databases import Sessions
from backend.tests.support.hunting import seeds
from backend.tests.support.scripting import Step, calls
from backend.tests.support.task_calls import add, change, listed

MESSAGES = 6
CALLS_AT_MOST = 4

type Rows = list[dict[str, Any]]


async def rows_of(sessions: Sessions, user_id: str) -> Rows:
    """Every column of the person's tasks that are not deleted."""
    query = text("SELECT * FROM tasks WHERE user_id = :u AND deleted_at IS NULL ORDER BY id")
    async with sessions() as session:
        connection = await session.connection()
        return [row._asdict() for row in await connection.execute(query, {"u": user_id})]


def some_call(random: Random, ids: list[int]) -> Step:
    """A call of a tool on one of the tasks `ids`, or one that adds a task."""
    one = {"task_id": random.choice(ids)} if ids else {}
    fields = {
        "title": f"Title {random.randrange(1000)}",
        "description": random.choice(["", "2 litres"]),
        "due_date": random.choice(["2031-01-31", "2032-02-29T08:00:00Z"]),
        "priority": random.choice(["low", "medium", "high"]),
    }
    some = dict(random.sample(sorted(fields.items()), random.randint(1, len(fields))))
    match random.choice(["add", "change", "complete", "delete", "change"]) if ids else "add":
        case "add":
            return calls("add_task", {"title": "New"} | some)
        case "change":
            return calls("update_task", one | some)
        case "complete":
            return calls("complete_task", one)
        case _:
            return calls("delete_task", one)


async def some_messages(
    random: Random, client: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions, user: str
) -> list[tuple[dict[str, Any], Rows]]:
    """Messages that changed tasks, each with the rows as they were before it."""
    made: list[tuple[dict[str, Any], Rows]] = []
    while len(made) < MESSAGES:
        before = await rows_of(sessions, user)
        ids = [row["id"] for row in before]
        steps = [some_call(random, ids) for _ in range(random.randint(1, CALLS_AT_MOST))]
        message = await told(client, model, *steps)
        if await rows_of(sessions, user) != before:
            made.append((message, before))
    return made


@pytest.mark.parametrize("seed", seeds(4))
async def test_messages_undone_newest_first_leave_each_row_as_it_was_before_them(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions, seed: int
) -> None:
    random = Random(seed)
    for pattern in ("none", "daily", "monthly"):
        await add(alice, "Rent", due_date="2031-01-31", recurrence_pattern=pattern, tags=["a"])
    made = await some_messages(random, alice, model, sessions, alice_id)
    for message, before in reversed(made):
        answer = await alice.post(f"/api/messages/{message['id']}/undo")
        assert answer.status_code == 200, answer.text
        assert await rows_of(sessions, alice_id) == before


@pytest.mark.parametrize("seed", seeds(3, first=1000, many=1200))
async def test_in_any_order_one_is_taken_back_whole_or_refused_and_nothing_moves(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions, seed: int
) -> None:
    random = Random(seed)
    await add(alice, "Rent", due_date="2031-01-31", recurrence_pattern="weekly")
    made = await some_messages(random, alice, model, sessions, alice_id)
    touched = random.choice(await listed(alice) or [await add(alice)])
    await change(alice, touched, title="Touched by hand")
    random.shuffle(made)
    for message, _ in made:
        before = await rows_of(sessions, alice_id)
        answer = await alice.post(f"/api/messages/{message['id']}/undo")
        after = await rows_of(sessions, alice_id)
        if answer.status_code == 200:
            assert after != before
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "TASK_CHANGED")
            assert after == before
        by_hand = [row for row in after if row["id"] == touched["id"]]
        assert [row["title"] for row in by_hand] == ["Touched by hand"]
