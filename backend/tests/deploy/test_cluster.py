"""Two replicas behind the proxy that is shipped, with PgBouncer and Redis: what a deployment is."""

import asyncio
import os
from collections.abc import AsyncIterator

import httpx
import pytest

from backend.tests.support import better_auth
from backend.tests.support.cluster import Cluster, missing_programs, running_cluster
from backend.tests.support.provider_wire import Answer, FunctionCall, Hang
from backend.tests.support.scripted_provider import ScriptedProvider, answer_by_rule
from backend.tests.test_chat import chat, messages_of

pytestmark = [pytest.mark.long, pytest.mark.e2e]


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider(then=answer_by_rule) as provider:
        yield provider


@pytest.fixture
async def cluster(shared_database_url: str, provider: ScriptedProvider) -> AsyncIterator[Cluster]:
    """Skips the test where a program is missing; CI has to have them."""
    url, limit = provider.base_url, "30/minute"
    if missing := missing_programs():
        assert os.environ.get("CI") != "true", "CI must have them all"
        pytest.skip(f"not installed: {', '.join(missing)}")
    async with running_cluster(shared_database_url, url, RATE_LIMIT_TASKS=limit) as cluster:
        yield cluster


@pytest.fixture
async def token(shared_database_url: str) -> str:
    return (await better_auth.sign_up(shared_database_url, "alice"))[1]


async def test_behind_the_proxy_replicas_are_one_service_and_a_stop_is_seen_by_nobody(
    cluster: Cluster, provider: ScriptedProvider, token: str
) -> None:
    """One start of all that there is, and one thing after another in it."""
    async with cluster.client(token) as client:
        await _take_turns(cluster, client, token)
        await _stream(client, provider)
        await _count_once(client)
        await _stop_one_under_load(cluster, client)


async def _take_turns(cluster: Cluster, client: httpx.AsyncClient, token: str) -> None:
    """Turns at whichever replica, and each of both shows them all."""
    turn = await chat(client, "Hello")
    conversation_id = turn["conversation_id"]
    for number in range(4):
        await chat(client, f"Hello {number}", conversation_id=conversation_id)
    for replica in cluster.replicas:
        async with replica.client(token) as direct:
            assert len(await messages_of(direct, conversation_id)) == 10


async def _stream(client: httpx.AsyncClient, provider: ScriptedProvider) -> None:
    """What a tool did is seen while the model still thinks: nothing collects the stream."""
    release = asyncio.Event()
    add = Answer(calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))
    provider.add(add, Hang(Answer("Added."), release))
    wants = {"Accept": "text/event-stream"}
    body = {"message": "some milk, please"}
    async with client.stream("POST", "/api/chat", json=body, headers=wants) as answer:
        lines = answer.aiter_lines()
        async for line in lines:
            if "tool-output-available" in line:
                break
        release.set()
        rest = [line async for line in lines if line]
    assert rest[-1] == "data: [DONE]"


async def _count_once(client: httpx.AsyncClient) -> None:
    """Thirty calls a minute are thirty over both replicas."""
    answers = await asyncio.gather(*(client.get("/api/tasks") for _ in range(40)))
    assert sorted(answer.status_code for answer in answers) == [200] * 30 + [429] * 10


async def _stop_one_under_load(cluster: Cluster, client: httpx.AsyncClient) -> None:
    """A deployment stops a replica, and nobody who is served meanwhile sees it."""
    stopped = asyncio.create_task(cluster.replicas[0].stop())
    for _ in range(10):
        answers = await asyncio.gather(
            *(client.post("/api/chat", json={"message": "Hi"}) for _ in range(4))
        )
        assert [answer.status_code for answer in answers] == [200] * 4
    assert await stopped == 0
