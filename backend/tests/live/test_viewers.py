"""Between a stream and its viewer: other origins, packing, limits, one who takes nothing."""

import asyncio
import select
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests.live.conftest import Replicas
from backend.tests.live.test_stop import newest_conversation, stop
from backend.tests.live.test_streams import body
from backend.tests.support import better_auth
from backend.tests.support.fixtures import Run
from backend.tests.support.live import kinds, said, streaming
from backend.tests.support.provider_wire import Answer, FunctionCall, Hang
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.scripting import says
from backend.tests.support.servers import serving
from backend.tests.support.speaking import Speech
from backend.tests.support.wire import request

pytestmark = pytest.mark.waits

ADD = Answer(calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))
UI = "http://localhost:3000"


async def test_a_page_of_another_origin_that_takes_gzip_is_told_as_it_comes(
    replicas: Replicas, model: ScriptedModel
) -> None:
    speech = Speech()
    model.extend([speech.step])
    page = {"Origin": UI, "Accept-Encoding": "gzip, br"}
    sent = streaming(replicas.one, "POST", "/api/ui/chat", json=body("hello"), headers=page)
    async with sent as events:
        assert events.response.headers["access-control-allow-origin"] == UI
        assert "content-encoding" not in events.response.headers
        speech.say("One ", "two")
        assert (await events.until("text-delta"))["delta"].startswith("One")
        speech.end()
        await events.rest()
    assert said(events.seen) == ["One two"]


async def test_an_order_to_stop_counts_against_no_limit(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    model.extend([says("Hello.")])
    one = dict.fromkeys(("rate_limit_chat", "rate_limit_tasks", "rate_limit_history"), "1/minute")
    async with run(alice, **one) as narrow:
        async with streaming(narrow, "POST", "/api/ui/chat", json=body("hello")) as events:
            await events.rest()
        number = await newest_conversation(narrow)
        for _ in range(5):
            assert (await stop(narrow))["message_id"] is None
            answer = await narrow.post(f"/api/conversations/{number}/stop")
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers


async def test_what_a_stopped_turn_has_cost_is_booked_as_far_as_it_is_known(
    shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    async with (
        ScriptedProvider(ADD, Hang()) as provider,
        serving(shared_database_url, provider.base_url) as server,
        server.client(token) as client,
        streaming(client, "POST", "/api/ui/chat", json=body("add milk")) as events,
    ):
        await events.until("tool-output-available")
        await provider.arrival()
        assert (await stop(client))["stopped"]
        await events.rest()
        assert kinds(events.seen)[-1] == "abort"
    spent = "SELECT input_tokens, output_tokens FROM messages WHERE id = %s"
    number = int(events.seen[0]["messageId"])
    assert await better_auth.execute(shared_database_url, spent, number) == [(10, 5)]


async def test_a_viewer_that_takes_nothing_is_let_go_and_can_resume(
    shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    async with (
        ScriptedProvider(Answer("Hello.")) as provider,
        serving(shared_database_url, provider.base_url, REQUEST_SECONDS="1") as server,
        server.client(token) as client,
    ):
        async with streaming(client, "POST", "/api/ui/chat", json=body("hello")) as events:
            await events.rest()
        # more than lies between the two
        much = "UPDATE messages SET content = repeat('é', 8000000) WHERE id = %s"
        await better_auth.execute(shared_database_url, much, int(events.seen[0]["messageId"]))
        with socket.socket() as viewer:
            viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            viewer.setblocking(False)
            loop = asyncio.get_running_loop()
            address = urlsplit(server.address)
            await loop.sock_connect(viewer, (address.hostname, address.port))
            ask = request("GET /api/ui/chat/c1/stream HTTP/1.1", f"Authorization: Bearer {token}")
            await loop.sock_sendall(viewer, ask)
            assert await loop.run_in_executor(None, _is_closed, viewer)
        again = await client.get("/api/ui/chat/c1/stream")
        assert again.text.count("é") == 8_000_000
        assert again.text.endswith("data: [DONE]\n\n")


def _is_closed(client: socket.socket) -> bool:
    """Whether the other end resets the connection in time."""
    poll = select.poll()
    poll.register(client, select.POLLHUP | select.POLLERR)
    return bool(poll.poll(25_000))
