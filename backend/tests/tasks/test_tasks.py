"""The tasks API, each call with its second user, and the services behind it."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from backend.models import Task
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.task_calls import (
    NOT_FOUND,
    ONE_TASK,
    add,
    call_one,
    change,
    listed,
    toggle,
)

one_task = pytest.mark.parametrize(("method", "rest"), ONE_TASK)
EVERY_CALL = (
    ("GET", "/api/tasks"),
    ("POST", "/api/tasks"),
    ("GET", "/api/tasks/search"),
    *((method, f"/api/tasks/1{rest}") for method, rest in ONE_TASK),
)


async def test_a_task_comes_back_as_it_was_sent(alice: httpx.AsyncClient, alice_id: str) -> None:
    sent: dict[str, Any] = {
        "title": "Pay rent",
        "description": "to the landlord",
        "priority": "high",
        "due_date": "2026-02-01T09:30:00Z",
        "tags": ["home", "money"],
        "recurrence_pattern": "monthly",
    }
    task = await add(alice, **sent)
    assert list(task) == [
        "id",
        "user_id",
        "title",
        "description",
        "completed",
        "priority",
        "due_date",
        "tags",
        "project_id",
        "steps",
        "recurrence_pattern",
        "created_at",
        "updated_at",
    ]
    assert task.items() >= (sent | {"user_id": alice_id, "completed": False}).items()
    assert task["created_at"] == task["updated_at"]
    assert task["created_at"].endswith("Z")
    assert (await alice.get(f"/api/tasks/{task['id']}")).json() == task


async def test_a_title_alone_makes_a_plain_open_task(alice: httpx.AsyncClient) -> None:
    expected = {
        "description": "",
        "completed": False,
        "priority": "medium",
        "due_date": None,
        "tags": [],
        "recurrence_pattern": "none",
    }
    assert (await add(alice)).items() >= expected.items()


async def test_tasks_are_listed_newest_first(alice: httpx.AsyncClient) -> None:
    assert await listed(alice) == []
    made = [await add(alice, title) for title in ("first", "second", "third")]
    await change(alice, made[0], description="changed last")
    assert [task["title"] for task in await listed(alice)] == ["third", "second", "first"]


async def test_the_list_is_narrowed_to_what_is_done_or_is_not(alice: httpx.AsyncClient) -> None:
    done, still_open = await add(alice, "done"), await add(alice, "open")
    await toggle(alice, done)
    for path in ("", "/search"):
        assert [task["id"] for task in await listed(alice, path, completed="true")] == [done["id"]]
        still = await listed(alice, path, completed="false")
        assert [task["id"] for task in still] == [still_open["id"]]
        assert len(await listed(alice, path, completed="")) == 2


async def test_a_list_and_a_search_hold_ones_own_tasks_only(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    await add(alice, "Buy milk")
    assert await listed(bob) == []
    assert await listed(bob, "/search", q="milk") == []


@one_task
async def test_someone_elses_task_is_not_found(
    method: str, rest: str, alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    task = await add(alice)
    answer = await call_one(bob, method, task["id"], rest)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert await listed(alice) == [task]


@one_task
async def test_a_deleted_task_is_not_found_and_its_row_is_kept(
    method: str, rest: str, alice: httpx.AsyncClient, sessions: Sessions
) -> None:
    task = await add(alice)
    deleted = await alice.delete(f"/api/tasks/{task['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    answer = await call_one(alice, method, task["id"], rest)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert await listed(alice) == await listed(alice, "/search") == []
    async with sessions() as session:
        row = await session.get_one(Task, task["id"])
    assert row.deleted_at is not None
    assert row.title == task["title"]


@one_task
@pytest.mark.parametrize("task_id", [0, -1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**40])
async def test_an_id_that_no_task_has_is_not_found(
    method: str, rest: str, task_id: int, alice: httpx.AsyncClient
) -> None:
    answer = await call_one(alice, method, task_id, rest)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


@one_task
@pytest.mark.parametrize("task_id", ["x", "1.5", "1e3", "undefined", "%00", "%ff", "9" * 5000])
async def test_an_id_that_is_not_a_number_is_not_valid(
    method: str, rest: str, task_id: str, alice: httpx.AsyncClient
) -> None:
    answer = await call_one(alice, method, task_id, rest)
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"] == "path.task_id"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "Buy oat milk"),
        ("description", "two litres"),
        ("priority", "low"),
        ("due_date", "2026-03-01T00:00:00Z"),
        ("tags", ["shop"]),
        ("recurrence_pattern", "weekly"),
    ],
)
async def test_only_the_field_sent_changes(
    field: str, value: object, alice: httpx.AsyncClient
) -> None:
    before = await add(
        alice,
        description="one litre",
        priority="high",
        due_date="2026-02-01",
        tags=["home"],
        recurrence_pattern="daily",
    )
    after = await change(alice, before, **{field: value})
    assert after["updated_at"] > before["updated_at"]
    assert after == before | {field: value, "updated_at": after["updated_at"]}
    assert await listed(alice) == [after]


async def test_sending_nothing_changes_nothing(alice: httpx.AsyncClient) -> None:
    task = await add(alice, priority="high")
    assert await change(alice, task) == task


async def test_null_puts_a_field_back_to_its_default(alice: httpx.AsyncClient) -> None:
    task = await add(
        alice,
        description="one litre",
        priority="high",
        due_date="2026-02-01",
        tags=["home"],
        recurrence_pattern="daily",
    )
    task = await change(alice, task, due_date=None)
    assert (task["due_date"], task["description"]) == (None, "one litre")
    task = await change(alice, task, description=None, tags=None)
    task = await change(alice, task, priority=None, recurrence_pattern=None)
    plain = {"description": "", "priority": "medium", "tags": [], "recurrence_pattern": "none"}
    assert task.items() >= plain.items()
    assert (await alice.put(f"/api/tasks/{task['id']}", json={"title": None})).status_code == 422


async def test_a_body_cannot_say_whose_a_task_is_nor_that_it_is_done(
    alice: httpx.AsyncClient, alice_id: str, bob_id: str
) -> None:
    forged: dict[str, Any] = {
        "user_id": bob_id,
        "id": 1,
        "completed": True,
        "deleted_at": "2026-01-01",
    }
    task = await add(alice, **forged)
    changed = await change(alice, task, title="Buy tea", **forged)
    for answer in (task, changed):
        assert (answer["user_id"], answer["completed"]) == (alice_id, False)
        assert answer["id"] == task["id"]


async def test_completing_again_reopens(alice: httpx.AsyncClient, sessions: Sessions) -> None:
    task = await add(alice)
    for completed in (True, False, True):
        answer = await toggle(alice, task)
        assert answer["completed"] is completed
        async with sessions() as session:
            row = await session.get_one(Task, task["id"])
        assert (row.completed_at is not None) is completed


@pytest.mark.parametrize(("method", "path"), EVERY_CALL)
async def test_nobody_signed_in_is_401_before_the_body_is_read(
    method: str, path: str, client: httpx.AsyncClient
) -> None:
    answer = await client.request(method, path, content=b"{not json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "INVALID_SESSION")


async def test_every_call_counts_against_one_limit(alice: httpx.AsyncClient, run: Run) -> None:
    async with run(alice, rate_limit_tasks=f"{len(EVERY_CALL)}/minute") as limited:
        for method, path in EVERY_CALL:
            assert (await limited.request(method, path, json={"title": "x"})).status_code != 429
        for method, path in EVERY_CALL:
            answer = await limited.request(method, path, json={"title": "x"})
            assert answer.status_code == 429
            assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/api/tasks/", "/api/tasks/1/", "/api/tasks/search/"])
async def test_no_path_is_redirected(path: str, alice: httpx.AsyncClient) -> None:
    assert (await alice.get(path)).status_code == 404


async def test_a_row_of_the_earlier_backend_in_capitals_is_read(
    alice: httpx.AsyncClient, sessions: Sessions
) -> None:
    task = await add(alice)
    async with sessions.begin() as session:
        capitals = "UPDATE tasks SET priority = 'HIGH', recurrence_pattern = 'DAILY' WHERE id = :id"
        await (await session.connection()).execute(text(capitals), {"id": task["id"]})
    answer = await toggle(alice, task)
    assert (answer["priority"], answer["recurrence_pattern"]) == ("high", "daily")
    assert [task["completed"] for task in await listed(alice)] == [False, True]
