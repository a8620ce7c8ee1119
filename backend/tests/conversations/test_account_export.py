"""All that is kept of a person as one download: whole, theirs alone, read as it is sent."""

from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.routes import account
from backend.tests.conversations.test_history import conversation_of, message_in
from backend.tests.support.databases import Sessions
from backend.tests.support.scripting import calls, says
from backend.tests.support.task_calls import add, listed
from backend.tests.test_chat import chat, messages_of


async def exported(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/api/account/export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == 'attachment; filename="account.json"'
    whole: dict[str, Any] = answer.json()
    return whole


async def test_everything_that_is_shown_is_in_it_and_nothing_of_anyone_else(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    project = (await alice.post("/api/projects", json={"name": "Kitchen"})).json()
    await alice.post("/api/tasks", json={"title": "At home"}, headers={"X-Timezone": "Asia/Tokyo"})
    await alice.post("/api/calendar")
    added = {"title": "Buy milk", "project": "kitchen", "steps": ["Find the shop"]}
    model.extend([calls("add_task", added), says("Added."), says("Yours.")])
    turn = await chat(alice, "Add milk")
    await chat(bob, "Mine?")
    await add(bob, "Not hers")
    deleted = await add(alice, "Gone")
    await alice.delete(f"/api/tasks/{deleted['id']}")
    whole = await exported(alice)
    assert whole["tasks"] == await listed(alice)
    assert whole["tasks"][0]["project_id"] == project["id"]
    assert [step["title"] for step in whole["tasks"][0]["steps"]] == ["Find the shop"]
    assert whole["projects"] == [project]
    (conversation,) = whole["conversations"]
    assert conversation["messages"] == await messages_of(alice, turn["conversation_id"])
    assert [day["turns"] for day in whole["usage"]] == [1]
    assert whole["time_zone"] == "Asia/Tokyo"
    assert whole["calendar_feed_created_at"] is not None
    told = (await alice.get(f"/api/conversations/{turn['conversation_id']}")).json()
    del told["next"], told["usage"]
    assert conversation == told


async def test_someone_without_anything_has_an_empty_whole(alice: httpx.AsyncClient) -> None:
    assert await exported(alice) == {
        "tasks": [],
        "usage": [],
        "conversations": [],
        "projects": [],
        "time_zone": None,
        "calendar_feed_created_at": None,
    }


async def test_each_of_many_conversations_is_in_it_once_those_put_away_too(
    alice: httpx.AsyncClient,
    alice_id: str,
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(account, "PAGE", 3)
    ids = [await conversation_of(sessions, alice_id) for _ in range(10)]
    for id_ in ids:
        await message_in(sessions, id_, alice_id, "user", f"Said in {id_}")
    await alice.post(f"/api/conversations/{ids[4]}/archive")
    whole = await exported(alice)
    assert sorted(each["id"] for each in whole["conversations"]) == ids
    assert [m["content"] for each in whole["conversations"] for m in each["messages"]] == [
        f"Said in {each['id']}" for each in whole["conversations"]
    ]
    assert whole["conversations"][-1]["id"] == ids[4]


async def test_without_a_session_there_is_none(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/account/export")).status_code == 401
