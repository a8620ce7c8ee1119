"""Finding tasks: the search of the API, and the lists that the assistant is given."""

import httpx
import pytest

from backend.database import Sessions
from backend.models import utc_now
from backend.tasks import rules as tasks
from backend.tasks.fields import TaskCreate
from backend.tests.support.databases import statements_sent
from backend.tests.support.task_calls import add, listed, toggle


@pytest.mark.parametrize("q", ["MILK", "milk", "  Milk ", "litre", "LITRE", "ÄPFEL", "äpfel", ""])
async def test_search_looks_in_title_and_description_in_any_case(
    q: str, alice: httpx.AsyncClient
) -> None:
    await add(alice, "Buy Milk and Äpfel", description="one Litre")
    assert len(await listed(alice, "/search", q=q)) == 1
    assert await listed(alice, "/search", q=f"{q}x") == []


@pytest.mark.parametrize("sign", ["%", "_", "\\", "/", "'", '"', "*", "\\%", "100%"])
async def test_search_takes_every_sign_as_it_stands(sign: str, alice: httpx.AsyncClient) -> None:
    await add(alice, "Plain 1000 text")
    in_title = await add(alice, f"a{sign}b")
    in_description = await add(alice, description=f"a{sign}b")
    found = await listed(alice, "/search", q=sign)
    assert [task["id"] for task in found] == [in_description["id"], in_title["id"]]


async def test_a_search_is_bounded(alice: httpx.AsyncClient) -> None:
    await add(alice, "x" * 200)
    assert len(await listed(alice, "/search", q="x" * 200)) == 1
    for query in ("q=" + "x" * 201, "q=a%00b", "completed=perhaps"):
        answer = await alice.get(f"/api/tasks/search?{query}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR")


async def test_open_tasks_are_the_newest_and_how_many_there_are(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, alice_id: str, own_sessions: Sessions
) -> None:
    made = [await add(alice, f"task {n}", due_date="2026-02-01T01:00+02:00") for n in range(5)]
    await toggle(alice, made[4])
    await alice.delete(f"/api/tasks/{made[3]['id']}")
    await add(bob)
    async with own_sessions() as session:
        shown, total, _ = await tasks.open_tasks(session, alice_id, 2, utc_now())
        assert [task.title for task in shown] == ["task 2", "task 1"]
        assert f"{shown[0].due_date:%d %H:%M %Z}" == "31 23:00 UTC"
        assert total == 3
        assert await tasks.open_tasks(session, "nobody", 2, utc_now()) == ([], 0, 0)


async def test_counting_agrees_with_listing(
    alice: httpx.AsyncClient, alice_id: str, own_sessions: Sessions
) -> None:
    for title in ("Buy milk", "Buy tea", "Call mom"):
        task = await add(alice, title)
    await toggle(alice, task)
    async with own_sessions() as session:
        assert await tasks.count_tasks(session, alice_id) == 3
        assert await tasks.count_tasks(session, alice_id, completed=True) == 1
        assert await tasks.count_tasks(session, alice_id, search="buy", completed=False) == 2
        assert len(await tasks.list_tasks(session, alice_id, search="buy", limit=1)) == 1


async def test_what_each_turn_asks_is_one_statement(alice_id: str, own_sessions: Sessions) -> None:
    with statements_sent() as statements:
        async with own_sessions() as session:
            await tasks.add_task(session, alice_id, TaskCreate(title="Buy milk"))
            await tasks.open_tasks(session, alice_id, 30, utc_now())
    assert [statement.split()[0] for statement in statements] == ["INSERT", "SELECT"]
