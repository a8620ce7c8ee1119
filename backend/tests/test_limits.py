"""Limits per verified user: one bucket an endpoint, whatever the path, the address, the token."""

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests import better_auth
from backend.tests.conftest import Run
from backend.tests.scripting import says


def assert_limited(answer: httpx.Response) -> None:
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def test_chat_takes_ten_messages_a_minute_and_others_are_not_held(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello.")] * 11)
    for _ in range(10):
        assert (await alice.post("/api/chat", json={"message": "hi"})).status_code == 200
    assert_limited(await alice.post("/api/chat", json={"message": "hi"}))
    assert (await bob.post("/api/chat", json={"message": "hi"})).status_code == 200
    assert (await alice.get("/api/tasks")).status_code == 200


async def test_the_ids_of_the_history_share_one_bucket(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    for number in range(30):
        assert (await alice.get(f"/api/conversations/{number}/messages")).status_code == 404
    assert_limited(await alice.get("/api/conversations/31/messages"))
    assert (await bob.get("/api/conversations/31/messages")).status_code == 404


async def test_the_task_routes_share_one_bucket(alice: httpx.AsyncClient, run: Run) -> None:
    async with run(alice, rate_limit_tasks="3/minute") as client:
        assert (await client.get("/api/tasks")).status_code == 200
        assert (await client.get("/api/tasks/1")).status_code == 404
        assert (await client.post("/api/tasks", json={"title": "Milk"})).status_code == 201
        assert_limited(await client.get("/api/tasks/search"))


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
async def test_a_spoofed_address_changes_nothing(
    alice: httpx.AsyncClient, run: Run, header: str
) -> None:
    async with run(alice, rate_limit_history="2/minute") as client:
        path = "/api/conversations/1/messages"
        for number in range(2):
            spoofed = {header: f"10.0.0.{number}"}
            assert (await client.get(path, headers=spoofed)).status_code == 404
        assert_limited(await client.get(path, headers={header: "10.0.0.9"}))


async def test_a_second_session_of_the_same_person_is_the_same_bucket(
    alice: httpx.AsyncClient, alice_id: str, run: Run, shared_database_url: str
) -> None:
    async with run(alice, rate_limit_history="1/minute") as client:
        path = "/api/conversations/1/messages"
        assert (await client.get(path)).status_code == 404
        token = await better_auth.sign_in(shared_database_url, alice_id)
        other = {"Authorization": f"Bearer {token}"}
        assert_limited(await client.get(path, headers=other))


async def test_refused_calls_are_not_counted(client: httpx.AsyncClient, app: object) -> None:
    for _ in range(40):
        assert (await client.get("/api/conversations/1/messages")).status_code == 401
