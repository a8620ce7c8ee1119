"""The lease of a live turn is renewed whatever else hangs, and its end says what is so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel
from fastapi import FastAPI
from psycopg import AsyncConnection

from backend.faults.waiting import until
from backend.tests.support import better_auth
from backend.tests.support.databases import MakeDatabase
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.scripting import Step, calls, says
from backend.tests.support.tcp_proxy import TcpProxy, Trouble, tcp_proxy
from backend.tests.test_chat import messages_of
from backend.tests.turns.test_outages import own_database

pytestmark = pytest.mark.waits

ADD = calls("add_task", {"title": "Milk"})


@dataclass
class Stage:
    """An app whose way to its database leads through a proxy, and somebody signed in."""

    url: str
    proxy: TcpProxy
    app: FastAPI
    alice: httpx.AsyncClient

    async def lease(self, message_id: int | None = None) -> datetime:
        """The newest lease, or that of a message."""
        found = "SELECT max(lease_until) FROM messages WHERE id = coalesce(%s, id)"
        ((lease,),) = await better_auth.execute(self.url, found, message_id)
        assert isinstance(lease, datetime)
        return lease

    async def renewed(self, times: int = 1) -> None:
        for _ in range(times):
            await until(partial(self._later_than, await self.lease()), limit=5)

    async def _later_than(self, lease: datetime) -> bool:
        return await self.lease() > lease

    async def answer(self, message: str = "Add milk") -> httpx.Response:
        return await self.alice.post("/api/chat", json={"message": message})


@pytest.fixture
async def on(
    make_database: MakeDatabase,
    migrated_template: str,
    model: ScriptedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    monkeypatch.setattr("backend.turns.leases.RENEW_EVERY", 0.2)
    monkeypatch.setattr("backend.turns.leases.ANSWER_LIMIT", 0.5)
    url, token = await own_database(make_database, migrated_template)
    async with (
        tcp_proxy(url) as proxy,
        running(make_settings(proxy.url, rate_limit_tasks="100/minute"), model) as app,
        client_of(app, token) as alice,
    ):
        yield Stage(url, proxy, app, alice)


class Thinking:
    """A model that thinks until it is told to go on."""

    def __init__(self, said: Step) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self._said = said

    @property
    def step(self) -> ModelStep:
        return ModelStep.respond(self._think)

    async def _think(self, _: object) -> ModelStep:
        self.begun.set()
        await self.go_on.wait()
        return ModelStep(output=self._said)


@asynccontextmanager
async def locked(url: str, what: str) -> AsyncIterator[None]:
    """Rows that a stranger has locked for the block."""
    async with await AsyncConnection.connect(url) as stranger:
        await stranger.execute(what.encode())
        yield


@pytest.mark.parametrize("what", ["pool", "lease", "row", "task"])
async def test_a_lease_is_renewed_whatever_hangs(
    on: Stage, model: ScriptedModel, what: str
) -> None:
    """All pooled connections, its own one, the row of another turn, requests that fill the pool."""
    thinking, other = Thinking(says("Done.")), Thinking(says("Done too."))
    model.extend([other.step, thinking.step])
    first = asyncio.create_task(on.answer("one"))
    await other.begun.wait()
    second = asyncio.create_task(on.answer("two"))
    await thinking.begun.wait()
    async with AsyncExitStack() as stack:
        links = list(on.proxy.links)
        if what == "pool":
            for link in links:
                link.freeze()
                stack.callback(link.thaw)
        elif what == "lease":
            await on.renewed()
            for link in set(on.proxy.links) - set(links):
                link.black_hole()
        elif what == "row":
            row = "SELECT id FROM messages WHERE role = 'assistant' ORDER BY id LIMIT 1 FOR UPDATE"
            await stack.enter_async_context(locked(on.url, row))
        else:
            task = (await on.alice.post("/api/tasks", json={"title": "Milk"})).json()["id"]
            row = "SELECT id FROM tasks FOR UPDATE"
            await stack.enter_async_context(locked(on.url, row))
            for _ in range(12):
                asking = on.alice.patch(f"/api/tasks/{task}/complete")
                stack.callback(asyncio.create_task(asking).cancel)
        await on.renewed(times=3)
    for each in (thinking, other):
        each.go_on.set()
    answers = await asyncio.gather(first, second)
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_an_answer_whose_commit_lost_its_word_is_an_answer(
    on: Stage, model: ScriptedModel
) -> None:
    """The database is then away for more than a second."""
    model.extend([ADD, says("Added it.")])
    lost = on.proxy.on(b"Added it.", Trouble.LOSE_ANSWER)
    sent = asyncio.create_task(on.answer())
    await lost.wait()
    on.proxy.freeze()
    asyncio.get_running_loop().call_later(1.5, on.proxy.thaw)
    answer = await sent
    assert (answer.status_code, answer.json()["response"]) == (200, "Added it.")
    # it has ended when that was written first, before the pause
    ended = "SELECT clock_timestamp() - max(ended_at) > interval '0.1 s' FROM messages"
    assert await better_auth.execute(on.url, ended) == [(True,)]


async def test_an_answer_that_was_saved_unheard_is_given_to_who_was_told_otherwise(
    on: Stage, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database stays away until the client has been told so."""
    monkeypatch.setattr("backend.turns.closing.OUTAGE_PAUSES", ())
    model.extend([ADD, says("Added it.")])
    on.proxy.on(b"Added it.", Trouble.LOSE_ANSWER)
    refused = await on.answer()
    assert refused.status_code == 503
    error = refused.json()["error"]
    assert error["details"]["retryable"]
    assert error["message"].startswith("I could not finish. Done so far: added task")
    again = await on.answer()
    assert again.json()["response"] == "Added it."
    assert again.json()["conversation_id"] == error["details"]["conversation_id"]
    assert (await on.alice.get("/api/tasks")).json()["total"] == 1


async def test_a_stop_that_comes_with_the_answer_leaves_it_an_answer(
    on: Stage, model: ScriptedModel
) -> None:
    model.extend([ADD, says("Added it.")])
    finishing = on.proxy.on(b"Added it.", Trouble.FREEZE)
    sent = asyncio.create_task(on.answer())
    await finishing.wait()
    for run in on.app.state.runtime.runs.held().values():
        run.cut_off()
    on.proxy.thaw()
    answer = await sent
    assert (answer.status_code, answer.json()["response"]) == (200, "Added it.")


async def test_a_call_whose_commit_lost_its_word_is_told_and_not_done_again(
    on: Stage, model: ScriptedModel
) -> None:
    model.extend([ADD])
    on.proxy.on(b'"Milk"', Trouble.LOSE_ANSWER)
    refused = await on.answer()
    assert refused.status_code == 503
    model.extend([ADD, says("It is there.")])
    again = await on.answer()
    assert again.json()["response"] == "It is there."
    assert (await on.alice.get("/api/tasks")).json()["total"] == 1
    said = await messages_of(on.alice, again.json()["conversation_id"])
    assert [len(message["tool_calls"] or ()) for message in said] == [0, 1]
