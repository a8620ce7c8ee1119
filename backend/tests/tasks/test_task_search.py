"""Finding tasks: the search of the API, and the lists that the assistant is given."""

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.database import Sessions
from backend.models import utc_now
from backend.tasks import rules as tasks
from backend.tasks.fields import TaskCreate
from backend.tasks.open_tasks import OpenTasks, open_tasks
from backend.tests.conversations.test_conversations_search import SAME
from backend.tests.support.databases import statements_sent
from backend.tests.support.scripting import calls, says
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


@pytest.mark.parametrize(("said", "wanted", "found"), SAME)
async def test_a_search_finds_what_a_reader_takes_for_the_same(
    said: str, wanted: str, found: bool, alice: httpx.AsyncClient
) -> None:
    in_title = await add(alice, f"x{said}")
    in_description = await add(alice, description=f"({said})")
    tasks_found = await listed(alice, "/search", q=wanted)
    assert [task["id"] for task in tasks_found] == [in_description["id"], in_title["id"]]
    assert await listed(alice, "/search", q=f"{wanted}z") == []


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("milk oat", True),
        ("oat  \u3000 MILK", True),
        ("two milk", True),
        ("ilk litre", True),
        ("milk tea", False),
        ("100% m_lk", False),
        ("100% milk", True),
        ("\u200b", True),
    ],
)
async def test_all_words_are_found_in_any_order_in_title_and_description_together(
    q: str, found: bool, alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await add(alice, "Buy oat milk 100%", description="two litres")
    expected = [task["id"]] if found else []
    assert [each["id"] for each in await listed(alice, "/search", q=q)] == expected
    model.extend([calls("list_tasks", {"search": q}), says("These.")])
    turn = (await alice.post("/api/chat", json={"message": "go"})).json()
    (call,) = turn["tool_calls"]
    assert [each["task_id"] for each in call["result"]["tasks"]] == expected


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
        shown, total, *_ = await open_tasks(session, alice_id, 2, utc_now())
        assert [task.title for task in shown] == ["task 2", "task 1"]
        assert f"{shown[0].due:%d %H:%M %Z}" == "31 23:00 UTC"
        assert total == 3
        assert await open_tasks(session, "nobody", 2, utc_now()) == OpenTasks([], 0, 0, None)


async def test_what_each_turn_asks_is_one_statement(alice_id: str, own_sessions: Sessions) -> None:
    with statements_sent() as statements:
        async with own_sessions() as session:
            await tasks.add_task(session, alice_id, TaskCreate(title="Buy milk"))
            for zone in (None, "Asia/Tokyo"):
                await open_tasks(session, alice_id, 30, utc_now(), zone)
    assert [statement.split()[0] for statement in statements] == ["INSERT", "SELECT", "WITH"]
