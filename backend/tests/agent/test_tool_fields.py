"""Tags, recurrence, what is cleared, and the filters of the list, as a model asks for them."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests.support.scripting import calls, says, together
from backend.tests.support.task_calls import add, listed
from backend.tests.test_chat import chat
from backend.tests.test_tools import use


async def test_a_task_is_added_with_tags_a_recurrence_and_a_priority(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    given = {"title": "Water", "tags": [" Home", "home", "Garden"], "recurrence": "Weekly"}
    result = await use(alice, model, "add_task", given | {"priority": "low"})
    assert (result["tags"], result["recurrence"]) == (["home", "garden"], "weekly")
    (task,) = await listed(alice)
    assert (task["tags"], task["recurrence_pattern"]) == (["home", "garden"], "weekly")
    assert task["priority"] == "low"
    assert "tags" not in await use(alice, model, "add_task", {"title": "Plain", "tags": []})


async def test_update_sets_and_clears_each_field_and_keeps_the_rest(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    whole = {
        "description": "some",
        "priority": "high",
        "due_date": "2031-05-01",
        "tags": ["a"],
        "recurrence_pattern": "daily",
        "steps": [{"title": "one"}],
        "project_id": (await alice.post("/api/projects", json={"name": "P"})).json()["id"],
    }
    plain: dict[str, Any] = {
        "description": "",
        "priority": "medium",
        "due_date": None,
        "tags": [],
        "recurrence": "none",
        "project": None,
        "steps": [],
    }
    rest = {"recurrence": "recurrence_pattern", "project": "project_id"}
    for name, empty in plain.items():
        task = await add(alice, **whole)
        result = await use(alice, model, "update_task", {"task_id": task["id"], "clear": [name]})
        assert result["success"] is True
        now = (await alice.get(f"/api/tasks/{task['id']}")).json()
        field = rest.get(name, name)
        assert now == task | {field: empty, "updated_at": now["updated_at"]}
    task = await add(alice, **whole)
    for clear in (["due_date", "tags"], "due date, tags"):
        given = {"task_id": task["id"], "recurrence": "monthly", "clear": clear}
        result = await use(alice, model, "update_task", given)
        assert (result["due_date"], "tags" in result) == (None, False)
        assert result["recurrence"] == "monthly"


async def test_tags_are_replaced_added_and_taken_away_of_each_its_own(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    one = (await add(alice, "One", tags=["a", "b"]))["id"]
    two = (await add(alice, "Two", tags=["c"]))["id"]

    async def tags(given: Any) -> dict[int, list[str]]:
        await use(alice, model, "update_task", {"task_id": [one, two], "tags": given})
        return {task["id"]: task["tags"] for task in await listed(alice)}

    assert await tags(["+X", "- a"]) == {one: ["b", "x"], two: ["c", "x"]}
    assert await tags(["new", "-x"]) == {one: ["new", "-x"], two: ["new", "-x"]}
    assert await tags("home") == {one: ["home"], two: ["home"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"tags": ["x" * 51]},
        {"tags": [f"{n}" for n in range(21)]},
        {"tags": [f"+{n}" for n in range(20)]},
        {"tags": ["+" + "x" * 51]},
        {"tags": ["\u200b"]},
        {"tags": [1]},
        {"recurrence": "yearly"},
        {"recurrence": ["daily"]},
        {"clear": ["title"]},
        {"clear": [1]},
        {"clear": ["due_date"], "due_date": "2031-05-01"},
        {"priority": "urgent"},
    ],
)
async def test_wrong_fields_change_nothing(
    alice: httpx.AsyncClient, model: ScriptedModel, wrong: dict[str, Any]
) -> None:
    task = await add(alice, tags=["kept"])
    tools: list[tuple[str, dict[str, Any]]] = [("update_task", {"task_id": task["id"]})]
    if "clear" not in wrong and "+" not in str(wrong):
        tools.append(("add_task", {"title": "New"}))
    for tool, given in tools:
        result = await use(alice, model, tool, given | wrong)
        assert (result["success"], result["error_code"]) == (False, "VALIDATION_ERROR")
    assert await listed(alice) == [task]


async def test_the_list_is_filtered_by_day_where_the_person_is_sorted_and_paged(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    zone = "Pacific/Kiritimati"
    model.extend([says("Hello.")])
    answer = await alice.post("/api/chat", json={"message": "hi"}, headers={"X-Timezone": zone})
    assert answer.status_code == 200
    today = datetime.now(ZoneInfo(zone)).date()
    days = {"late": -1, "now": 0, "soon": 6, "later": 7}
    for title, after in days.items():
        await add(alice, title, due_date=f"{today + timedelta(after)}", tags=[title[:1]])
    await add(alice, "never", priority="high")
    done = await add(alice, "done", due_date=f"{today - timedelta(3)}")
    await alice.patch(f"/api/tasks/{done['id']}/complete")
    await add(bob, "hers", due_date=f"{today}", priority="high", tags=["l"])

    wanted: list[tuple[dict[str, str], str]] = [
        ({"due": "today"}, "now"),
        ({"due": "Overdue"}, "late"),
        ({"due": "overdue", "status": "all"}, "done late"),
        ({"due": "this week", "sort": "due"}, "now soon"),
        ({"due": "no date"}, "never"),
        ({"due": f"{today + timedelta(7)}"}, "later"),
        ({"due": f"before {today}", "sort": "due"}, "done late"),
        ({"due": f"by {today}", "sort": "due"}, "done late now"),
        ({"tag": "L"}, "later late"),
        ({"priority": "High"}, "never"),
        ({"tag": "l", "due": "today"}, ""),
    ]
    model.extend([together(*(calls("list_tasks", given) for given, _ in wanted)), says("So.")])
    turn = await chat(alice, "list")
    for (given, titles), call in zip(wanted, turn["tool_calls"], strict=True):
        found = " ".join(task["title"] for task in call["result"]["tasks"])
        assert found == titles, given
    first = await use(alice, model, "list_tasks", {"sort": "due", "limit": 4})
    rest = {"sort": "due", "limit": 4, "after": first["next_after"]}
    second = await use(alice, model, "list_tasks", rest)
    shown = [task["title"] for page in (first, second) for task in page["tasks"]]
    assert shown == ["done", "late", "now", "soon", "later", "never"]
    assert "next_after" not in second
    assert second["message"] == "Found 6 tasks; these are the next 2."


async def test_a_list_goes_on_behind_no_strangers_task_and_takes_no_wrong_filter(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    theirs = (await add(bob))["id"]
    wrong = [{"after": theirs}, {"after": 2**70}, {"after": True}, {"due": "soonish"}]
    wrong += [{"due": "before"}, {"due": "before 0001-01-01"}, {"sort": "title"}, {"priority": "x"}]
    model.extend([together(*(calls("list_tasks", given) for given in wrong)), says("No.")])
    turn = await chat(alice, "list")
    codes = [call["result"].get("error_code") for call in turn["tool_calls"]]
    assert codes == ["VALIDATION_ERROR"] * len(wrong)
