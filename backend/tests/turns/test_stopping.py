"""An orderly stop: nothing new is taken, what is in flight ends or is closed, exit code 0."""

import asyncio
import signal

import httpx
import pytest
from psycopg import AsyncConnection

from backend.tests.support import better_auth
from backend.tests.support.databases import someone_waits_for
from backend.tests.support.provider_wire import Answer, FunctionCall, Hang
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.servers import serving
from backend.tests.test_chat import messages_of

pytestmark = [pytest.mark.long, pytest.mark.waits]

ADD = Answer(calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))


async def test_a_run_in_flight_finishes_and_nothing_new_is_taken(
    shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    release = asyncio.Event()
    async with (
        ScriptedProvider(ADD, Hang(Answer("Added."), release)) as provider,
        serving(shared_database_url, provider.base_url) as server,
        server.client(token) as client,
    ):
        sent = asyncio.create_task(client.post("/api/chat", json={"message": "add milk"}))
        for _ in range(2):
            await provider.arrival()
        assert (await client.get("/ready")).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        while True:
            try:
                async with server.client() as probe:
                    assert (await probe.get("/ready")).status_code in (200, 503)
            except httpx.TransportError:
                break  # no new connection is taken any more
        release.set()
        assert (await sent).json()["response"] == "Added."
        assert await server.process.wait() == 0


async def test_what_does_not_finish_in_time_is_closed_as_failed_with_its_record(
    shared_database_url: str, alice_id: str, alice: httpx.AsyncClient
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    async with (
        ScriptedProvider(ADD, Hang()) as provider,
        serving(shared_database_url, provider.base_url, SHUTDOWN_SECONDS="1") as server,
        server.client(token) as client,
    ):
        sent = asyncio.create_task(client.post("/api/chat", json={"message": "add milk"}))
        for _ in range(2):
            await provider.arrival()
        assert await server.stop() == 0
        refused = await sent
        assert refused.status_code == 503
        (call,) = refused.json()["error"]["details"]["tool_calls"]
        assert call["result"]["title"] == "Buy milk"
        ids = "SELECT conversation_id, status FROM messages WHERE user_id = %s AND role = %s"
        rows = await better_auth.execute(shared_database_url, ids, alice_id, "assistant")
        ((conversation_id, status),) = rows
        assert status == "failed"
        messages = await messages_of(alice, conversation_id)
        assert messages[1]["content"].startswith("I could not finish. Done so far: added task")


async def test_a_request_that_a_stop_cuts_short_is_told_so(
    shared_database_url: str, alice_id: str, alice: httpx.AsyncClient
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    task = (await alice.post("/api/tasks", json={"title": "Milk"})).json()["id"]
    async with (
        serving(shared_database_url, "http://127.0.0.1:9", SHUTDOWN_SECONDS="1") as server,
        server.client(token) as client,
        await AsyncConnection.connect(shared_database_url) as stranger,
    ):
        await stranger.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task,))
        sent = asyncio.create_task(client.patch(f"/api/tasks/{task}/complete"))
        await someone_waits_for(shared_database_url, stranger.info.backend_pid)
        assert await server.stop() == 0
        refused = await sent
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "SERVICE_UNAVAILABLE"


async def test_readiness_says_no_from_the_order_to_stop(
    app: object, client: httpx.AsyncClient
) -> None:
    app.state.stopping = True  # type: ignore[attr-defined]
    answer = await client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert (await client.get("/health")).status_code == 200
