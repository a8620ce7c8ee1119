"""Any replica takes the next turn, and the death of one loses nothing that was done."""

import asyncio

import httpx
import pytest

from backend.tests.support import better_auth
from backend.tests.support.provider_wire import Answer, FunctionCall, Hang
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.servers import serving
from backend.tests.test_chat import chat, messages_of

pytestmark = pytest.mark.long


async def test_two_processes_take_turns_and_one_is_killed(
    shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    add = Answer(calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))
    never = Hang(Answer("Too late."))
    script = (Answer("One."), Answer("Two."), add, never, Answer("Four."))
    async with (
        ScriptedProvider(*script) as provider,
        serving(shared_database_url, provider.base_url) as one,
        serving(shared_database_url, provider.base_url) as two,
        one.client(token) as at_one,
        two.client(token) as at_two,
    ):
        conversation_id = (await chat(at_one, "first"))["conversation_id"]
        await chat(at_two, "second", conversation_id=conversation_id)
        for _ in range(2):
            await provider.arrival()
        third = asyncio.create_task(chat(at_one, "add milk", conversation_id=conversation_id))
        for _ in range(2):
            await provider.arrival()
        await one.kill()
        await asyncio.wait([third])
        assert third.exception() is not None
        (task,) = (await at_two.get("/api/tasks")).json()["tasks"]
        assert task["title"] == "Buy milk"
        fourth = await chat(at_two, "what now?", conversation_id=conversation_id)
        assert fourth["response"] == "Four."
        contents = [m["content"] for m in await messages_of(at_two, conversation_id)]
        assert contents == ["first", "One.", "second", "Two.", "add milk", "what now?", "Four."]


async def test_a_client_that_leaves_changes_nothing(
    shared_database_url: str, alice_id: str, alice: httpx.AsyncClient
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    release = asyncio.Event()
    add = Answer(calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))
    async with (
        ScriptedProvider(Answer("One."), add, Hang(Answer("Added."), release)) as provider,
        serving(shared_database_url, provider.base_url) as server,
        server.client(token) as client,
    ):
        conversation_id = (await chat(client, "first"))["conversation_id"]
        async with server.client(token) as leaving:
            body = {"message": "add milk", "conversation_id": conversation_id}
            sent = asyncio.create_task(leaving.post("/api/chat", json=body))
            for _ in range(3):
                await provider.arrival()
            sent.cancel()
            await asyncio.wait([sent])
        release.set()
        assert await server.stop() == 0
    contents = [m["content"] for m in await messages_of(alice, conversation_id)]
    assert contents == ["first", "One.", "add milk", "Added."]
