"""Projects: whose they are, what is in them, and what is left when one is deleted."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.tests.support.databases import Sessions
from backend.tests.support.scripting import calls, given, outputs, says
from backend.tests.support.task_calls import add, change, listed, toggle
from backend.tests.test_chat import chat, messages_of

PROJECTS = "/api/projects"
NOT_FOUND = (404, "PROJECT_NOT_FOUND")


async def project(client: httpx.AsyncClient, name: str = "Kitchen") -> Any:
    answer = await client.post(PROJECTS, json={"name": name})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"{PROJECTS}/{answer.json()['id']}"
    return answer.json()


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_project_is_made_named_anew_listed_and_deleted(alice: httpx.AsyncClient) -> None:
    first, second = await project(alice, "  Kitchen "), await project(alice, "Garden")
    assert (first["name"], second["name"]) == ("Kitchen", "Garden")
    renamed = await alice.patch(f"{PROJECTS}/{first['id']}", json={"name": "Küche"})
    assert renamed.json() == first | {"name": "Küche", "updated_at": renamed.json()["updated_at"]}
    there = (await alice.get(PROJECTS)).json()
    assert there == {"projects": [renamed.json(), second], "total": 2}
    assert (await alice.delete(f"{PROJECTS}/{second['id']}")).status_code == 204
    assert (await alice.get(PROJECTS)).json()["total"] == 1
    assert refused(await alice.get(f"{PROJECTS}/{second['id']}")) == NOT_FOUND


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "\u200b", "\u3164\u2800", None, 5, "a\x00b"])
async def test_a_name_that_is_none_is_invalid(name: object, alice: httpx.AsyncClient) -> None:
    made = await project(alice)
    for answer in (
        await alice.post(PROJECTS, json={"name": name}),
        await alice.patch(f"{PROJECTS}/{made['id']}", json={"name": name}),
    ):
        assert refused(answer) == (422, "VALIDATION_ERROR")


async def test_a_person_has_at_most_five_hundred(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    many = (
        "INSERT INTO projects (user_id, name) "
        "SELECT :owner, 'p' || n FROM generate_series(1, 499) AS n"
    )
    async with sessions.begin() as session:
        await (await session.connection()).execute(text(many), {"owner": alice_id})
    last = await project(alice)
    refusal = await alice.post(PROJECTS, json={"name": "One more"})
    assert refused(refusal) == (422, "VALIDATION_ERROR")
    await project(bob)
    await alice.delete(f"{PROJECTS}/{last['id']}")
    await project(alice)
    assert (await alice.get(PROJECTS)).json()["total"] == 500


async def test_someone_elses_project_is_not_found_on_any_way(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    theirs = (await project(alice))["id"]
    task = await add(bob)
    conversation = (await bob.post("/api/conversations", json={})).json()["id"]
    for number in (theirs, theirs + 10**6, 2**63, -1):
        for answer in (
            await bob.get(f"{PROJECTS}/{number}"),
            await bob.patch(f"{PROJECTS}/{number}", json={"name": "Mine"}),
            await bob.delete(f"{PROJECTS}/{number}"),
            await bob.post("/api/tasks", json={"title": "x", "project_id": number}),
            await bob.put(f"/api/tasks/{task['id']}", json={"project_id": number}),
            await bob.post("/api/conversations", json={"project_id": number}),
            await bob.patch(f"/api/conversations/{conversation}", json={"project_id": number}),
        ):
            assert refused(answer) == NOT_FOUND
    chatted = await bob.post("/api/chat", json={"message": "hello", "project_id": theirs})
    assert refused(chatted) == NOT_FOUND
    assert (await bob.get("/api/conversations")).json()["conversations"][1:] == []
    assert await listed(bob) == [task]
    assert await listed(bob, project_id=str(theirs)) == []
    assert (await alice.get(f"{PROJECTS}/{theirs}")).json()["name"] == "Kitchen"


async def test_a_task_is_put_into_a_project_and_taken_out_and_keeps_it_when_it_comes_round(
    alice: httpx.AsyncClient,
) -> None:
    kitchen = (await project(alice))["id"]
    task = await add(alice, project_id=kitchen, recurrence_pattern="daily")
    assert task["project_id"] == kitchen
    await toggle(alice, task)
    assert {each["project_id"] for each in await listed(alice)} == {kitchen}
    assert (await change(alice, task, title="Other"))["project_id"] == kitchen
    assert (await change(alice, task, project_id=None))["project_id"] is None
    assert len(await listed(alice, project_id=str(kitchen))) == 1


async def test_a_deleted_project_keeps_its_tasks_and_conversations_without_it(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    kitchen = (await project(alice))["id"]
    task = await add(alice, project_id=kitchen)
    model.extend([says("Hello.")])
    turn = await chat(alice, "hello", project_id=kitchen)
    path = f"/api/conversations/{turn['conversation_id']}"
    assert (await alice.get(path)).json()["project_id"] == kitchen
    await alice.delete(f"{PROJECTS}/{kitchen}")
    assert (await listed(alice)) == [task | {"project_id": None}]
    assert (await alice.get(path)).json()["project_id"] is None


async def test_a_task_that_goes_into_a_project_while_it_is_deleted_is_not_left_in_it(
    alice: httpx.AsyncClient,
) -> None:
    for _ in range(5):
        kitchen = (await project(alice))["id"]
        answers = await asyncio.gather(
            *(alice.post("/api/tasks", json={"title": "x", "project_id": kitchen}) for _ in "abc"),
            alice.delete(f"{PROJECTS}/{kitchen}"),
        )
        assert {answer.status_code for answer in answers[:3]} <= {201, 404}
        assert await listed(alice, project_id=str(kitchen)) == []


async def test_lists_are_narrowed_and_ordered_as_the_query_says(alice: httpx.AsyncClient) -> None:
    kitchen = (await project(alice))["id"]
    tomorrow = "2999-01-02T10:00:00Z"
    made = {
        "a": await add(alice, "a", project_id=kitchen, priority="high", tags=["Home", "x"]),
        "b": await add(alice, "b", due_date="2020-01-01", tags=["home"]),
        "c": await add(alice, "c", due_date=tomorrow, project_id=kitchen),
        "d": await add(alice, "d", due_date="2020-01-01T09:00:00Z", priority="low"),
    }
    done = await add(alice, "e", due_date="2019-01-01")
    await toggle(alice, done)

    async def titles(**query: str) -> str:
        return "".join(task["title"] for task in await listed(alice, **query))

    assert await titles(project_id=str(kitchen)) == "ca"
    assert await titles(tag="HOME") == "ba"
    assert await titles(priority="high") == "a"
    assert await titles(due="overdue") == "db"
    assert await titles(due="none") == "a"
    assert await titles(due="2020-01-01") == "edb"
    assert await titles(sort="due") == "ebdca"
    assert await titles(sort="due", completed="false", tag="home") == "ba"
    assert await titles(due="", priority="", project_id="", tag="") == "edcba"
    assert await titles(due="today") == await titles(due="week") == ""
    assert len(made) == 4
    for query in ("due=soon", "sort=x", "priority=urgent", "project_id=x", f"tag={'x' * 51}"):
        assert (await alice.get(f"/api/tasks?{query}")).status_code == 422


async def test_today_and_the_week_are_those_of_the_person(alice: httpx.AsyncClient) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        headers = {"X-Timezone": zone}
        answer = await alice.post("/api/chat", json={"message": "x"}, headers=headers)
        assert answer.status_code in (200, 503)
        today = datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
        for days in (-1, 0, 6, 7):
            await add(alice, f"{zone} {days}", due_date=f"{today + timedelta(days)}")
        for due, expected in (("today", [0]), ("week", [0, 6])):
            found = await listed(alice, due=due, sort="due")
            named = [task["title"] for task in found if task["title"].startswith(zone)]
            assert named == [f"{zone} {days}" for days in expected]


async def test_pages_of_what_is_due_first_are_the_whole_list(alice: httpx.AsyncClient) -> None:
    for number in range(7):
        due = f"2030-01-0{number % 3 + 1}" if number % 3 else None
        await add(alice, f"{number}", due_date=due)
    whole = [task["id"] for task in await listed(alice, sort="due")]
    path, found = "/api/tasks?sort=due&limit=2", []
    while path:
        answer = await alice.get(path)
        found += [task["id"] for task in answer.json()["tasks"]]
        path = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert found == whole
    cursor = (await alice.get("/api/tasks?sort=due&limit=2")).json()["next"]
    assert (await alice.get(f"/api/tasks?limit=2&before={cursor}")).status_code == 422


async def test_in_a_projects_conversation_its_tasks_are_shown_and_new_ones_go_there(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    kitchen = (await project(alice, 'Kit"chen'))["id"]
    inside = await add(alice, "inside", project_id=kitchen)
    await add(alice, "outside")
    model.extend([calls("add_task", {"title": "new"}), says("Added.")])
    turn = await chat(alice, "add new", project_id=kitchen)
    context = given(model, 0)[0]["content"]
    assert f'the project [{kitchen}, "Kit\\"chen"]' in context
    assert "inside" in context
    assert "outside" not in context
    assert "Open tasks (1," in context
    assert turn["tool_calls"][0]["result"]["project_id"] == kitchen
    model.extend([says("Two.")])
    await chat(alice, "how many?", conversation_id=turn["conversation_id"])
    assert "Open tasks (2," in given(model)[-2]["content"]
    elsewhere = {"project_id": None}
    await alice.patch(f"/api/conversations/{turn['conversation_id']}", json=elsewhere)
    model.extend([says("Three.")])
    await chat(alice, "and now?", conversation_id=turn["conversation_id"])
    assert "Open tasks (3," in given(model)[-2]["content"]
    assert "project" not in given(model)[-2]["content"]
    assert inside["project_id"] == kitchen


async def test_a_chat_of_the_ai_sdk_begins_in_the_project_that_it_names(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    kitchen = (await project(alice))["id"]

    async def begin(client: httpx.AsyncClient, project_id: object) -> httpx.Response:
        message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "add new"}]}
        body = {"id": "c1", "message": message, "project_id": project_id}
        return await client.post("/api/ui/chat", json=body)

    assert refused(await begin(bob, kitchen)) == NOT_FOUND
    assert refused(await begin(alice, "none")) == (422, "VALIDATION_ERROR")
    model.extend([calls("add_task", {"title": "new"}), says("Added.")])
    assert (await begin(alice, kitchen)).status_code == 200
    [conversation] = (await alice.get("/api/conversations")).json()["conversations"]
    assert conversation["project_id"] == kitchen
    assert [each["title"] for each in await listed(alice, project_id=str(kitchen))] == ["new"]


async def test_a_project_deleted_while_a_conversation_in_it_is_answered_takes_no_task(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    kitchen = (await project(alice))["id"]

    async def deleting(*_: Any, **__: Any) -> None:
        await alice.delete(f"{PROJECTS}/{kitchen}")

    model.extend([calls("list_tasks"), calls("add_task", {"title": "new"}), says("Added.")])
    original = model.get_response

    async def respond(*args: Any, **kwargs: Any) -> Any:
        if len(model.calls) == 1:
            await deleting()
        return await original(*args, **kwargs)

    model.get_response = respond  # type: ignore[method-assign]
    turn = await chat(alice, "add new", project_id=kitchen)
    assert turn["tool_calls"][1]["result"]["success"] is True
    assert [task["project_id"] for task in await listed(alice)] == [None]


async def test_a_tool_takes_a_project_by_name_or_id_and_asks_about_any_other(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    kitchen = (await project(alice, "Straße"))["id"]
    theirs = await project(bob, "Theirs")
    await project(alice, "twice")
    await project(alice, "Twice")
    asked = ["STRASSE", str(kitchen), f"#{kitchen}", "Theirs", str(theirs["id"]), "twice", "Nope"]
    model.extend([calls("add_task", {"title": name, "project": name}) for name in asked])
    model.extend([says("Done.")])
    turn = await chat(alice, "add them")
    results = [call["result"] for call in turn["tool_calls"]]
    assert [result["success"] for result in results] == [True] * 3 + [False] * 4
    assert {result["project_id"] for result in results[:3]} == {kitchen}
    for result in (*results[3:5], results[6]):
        assert result["error_code"] == "VALIDATION_ERROR"
        assert "There is no such project" in result["error"]
    assert "Several projects" in results[5]["error"]
    assert (await alice.get(PROJECTS)).json()["total"] == 3
    model.extend([calls("list_tasks", {"project": "strasse"}), says("These.")])
    await chat(alice, "list")
    assert outputs(model)[-1]["count"] == 3


async def test_a_message_that_is_asked_again_gives_back_project_and_steps_first(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    kitchen, garden = (await project(alice))["id"], (await project(alice, "Garden"))["id"]
    task = await add(alice, project_id=kitchen, steps=[{"title": "Buy paint"}])
    change = {"task_id": task["id"], "project": "garden", "steps": ["[x] Buy paint", "Tape"]}
    model.extend([calls("update_task", change), says("Moved."), says("What do you mean?")])
    turn = await chat(alice, "move it")
    moved = (await listed(alice))[0]
    assert (moved["project_id"], len(moved["steps"])) == (garden, 2)
    message = (await messages_of(alice, turn["conversation_id"]))[-1]
    again = await alice.post(f"/api/messages/{message['id']}/regenerate")
    assert (again.status_code, again.json()["content"]) == (200, "What do you mean?")
    assert await listed(alice) == [task]


async def test_undo_puts_a_task_back_into_its_project_unless_that_is_gone(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    kitchen, garden = (await project(alice))["id"], (await project(alice, "Garden"))["id"]
    task = await add(alice, project_id=kitchen)
    for gone in (False, True):
        moved = {"task_id": task["id"], "project": str(garden)}
        model.extend([calls("update_task", moved), says("Moved.")])
        turn = await chat(alice, "move it")
        assert (await listed(alice))[0]["project_id"] == garden
        if gone:
            await alice.delete(f"{PROJECTS}/{kitchen}")
        message = (await messages_of(alice, turn["conversation_id"]))[-1]
        assert (await alice.post(f"/api/messages/{message['id']}/undo")).status_code == 200
        assert (await listed(alice))[0]["project_id"] == (None if gone else kitchen)
