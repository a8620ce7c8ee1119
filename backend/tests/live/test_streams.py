"""A turn as a stream: what is sent, that it is what is kept, and that it always ends."""

import asyncio
import re
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel, function_call

from backend.tests.live.conftest import Replicas
from backend.tests.support.databases import statements_sent
from backend.tests.support.live import Events, kinds, said, streaming, user
from backend.tests.support.scripting import calls, says
from backend.tests.support.speaking import Speech
from backend.turns.live import STREAMED_TICK

pytestmark = pytest.mark.waits

OF_THE_ROUNDS = re.compile("UPDATE messages|erasures")
"""What an app sends by itself, be there a stream or none: leases, and its upkeep."""


def body(text: str, chat: str = "c1", message_id: str = "m1", **more: object) -> dict[str, Any]:
    return {"id": chat, "messages": [user(text, message_id)], "trigger": "submit-message"} | more


async def post(client: httpx.AsyncClient, text: str, **more: Any) -> Events:
    """The whole stream of a message."""
    async with streaming(client, "POST", "/api/ui/chat", json=body(text, **more)) as events:
        await events.rest()
        return events


async def resumed(client: httpx.AsyncClient, chat: str = "c1") -> Events:
    async with streaming(client, "GET", f"/api/ui/chat/{chat}/stream") as events:
        await events.rest()
        return events


async def history(client: httpx.AsyncClient, chat: str = "c1") -> list[dict[str, Any]]:
    answer = await client.get(f"/api/ui/chat/{chat}")
    assert answer.status_code == 200, answer.text
    messages: list[dict[str, Any]] = answer.json()
    return messages


def texts(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in message["parts"] if part["type"] == "text"]


async def test_a_turn_is_streamed_and_kept_as_it_was_seen(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    look = Speech(function_call("add_task", {"title": "Buy milk"}, call_id="a"))
    look.say("Let me ", "add it.")
    look.end()
    model.extend([look.step, says("I have added milk.")])
    events = await post(alice, "add milk")
    assert events.done
    assert kinds(events.seen) == [
        *("start", "start-step", "text-start", "text-delta", "text-end"),
        *("tool-input-available", "tool-output-available", "finish-step"),
        *("start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"),
    ]
    assert said(events.seen) == ["Let me add it.", "I have added milk."]
    asked, answered = await history(alice)
    assert asked["id"] == "m1"
    assert answered["id"] == events.seen[0]["messageId"]
    assert texts(answered) == said(events.seen)
    again = await resumed(alice)
    assert kinds(again.seen) == kinds(events.seen)
    assert said(again.seen) == said(events.seen)
    (call,) = [part for part in answered["parts"] if part["type"] == "tool-add_task"]
    assert call["output"]["title"] == "Buy milk"


async def test_text_comes_as_it_is_said_and_every_replica_shows_the_whole(
    replicas: Replicas, model: ScriptedModel
) -> None:
    speech = Speech()
    model.extend([speech.step])
    async with streaming(replicas.one, "POST", "/api/ui/chat", json=body("hello")) as events:
        speech.say("One ")
        assert (await events.until("text-delta"))["delta"] == "One"
        speech.say("two ")
        assert (await events.until("text-delta"))["delta"] == " two"
        async with streaming(replicas.two, "GET", "/api/ui/chat/c1/stream") as elsewhere:
            assert (await elsewhere.until("text-delta"))["delta"] == "One two"
            speech.say("three")
            speech.end()
            for each in (events, elsewhere):
                await each.rest()
                assert said(each.seen) == ["One two three"]
                assert kinds(each.seen)[-1] == "finish"
                assert each.done
    assert texts((await history(replicas.two))[-1]) == ["One two three"]
    assert (await replicas.bob.get("/api/ui/chat/c1/stream")).status_code == 204
    assert (await replicas.bob.get("/api/ui/chat/c1")).status_code == 404


async def test_a_client_that_leaves_ends_no_run_and_comes_back_to_the_whole(
    replicas: Replicas, model: ScriptedModel
) -> None:
    speech = Speech()
    model.extend([speech.step])
    async with streaming(replicas.one, "POST", "/api/ui/chat", json=body("hello")) as events:
        speech.say("One ")
        await events.until("text-delta")
    speech.say("two")
    speech.end()
    again = await resumed(replicas.one)
    assert said(again.seen) == ["One two"]
    assert kinds(again.seen)[-1] == "finish"


async def test_the_same_message_again_joins_its_stream_before_any_limit_is_counted(
    replicas: Replicas, model: ScriptedModel
) -> None:
    speech = Speech()
    model.extend([speech.step])
    async with streaming(replicas.one, "POST", "/api/ui/chat", json=body("hello")) as events:
        speech.say("One ")
        await events.until("text-delta")
        for _ in range(2):
            for client in replicas[:2]:
                sent = client.stream("POST", "/api/ui/chat", json=body("hello"))
                async with sent as joined:
                    assert joined.status_code == 200
                    assert "ratelimit" not in joined.headers
                    assert await Events(joined).until("text-delta")
        speech.end()
        await events.rest()
    assert len(model.calls) == 1
    replayed = await post(replicas.two, "hello")
    assert replayed.response.headers["idempotency-replayed"] == "true"
    assert said(replayed.seen) == ["One"]


async def test_another_text_under_the_same_id_is_refused(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello.")])
    await post(alice, "hello")
    answer = await alice.post("/api/ui/chat", json=body("something else"))
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "MESSAGE_CHANGED"


async def test_a_failure_ends_in_the_sentence_of_the_record_and_the_envelopes_error(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    torn = Speech()
    torn.say("And now I ")
    torn.fail(ValueError("the provider's text"))
    model.extend([calls("add_task", {"title": "Buy milk"}), torn.step])
    events = await post(alice, "add milk")
    assert kinds(events.seen)[-4:] == ["finish-step", "message-metadata", "data-error", "error"]
    assert events.done
    sentence = said(events.seen)[-1]
    assert sentence.startswith("I could not finish. Done so far: added task")
    assert events.seen[-2]["data"]["code"] == "AI_SERVICE_UNAVAILABLE"
    assert events.seen[-1]["errorText"] == events.seen[-2]["data"]["message"] == sentence
    again = await resumed(alice)
    assert said(again.seen) == [sentence]
    assert kinds(again.seen)[-1] == "error"
    assert texts((await history(alice))[-1]) == [sentence]


@pytest.mark.parametrize("text", ["<think>hm</think>", '{"tool": "add_task"}', "add_task(1)"])
async def test_text_that_may_be_markup_is_held_until_it_is_whole(
    replicas: Replicas, model: ScriptedModel, text: str
) -> None:
    speech = Speech()
    model.extend([speech.step])
    async with streaming(replicas.one, "POST", "/api/ui/chat", json=body("hello")) as events:
        speech.say(*text)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await events.until("text-delta")


async def test_errors_before_the_first_byte_are_the_envelope(
    client: httpx.AsyncClient, alice: httpx.AsyncClient
) -> None:
    assert (await client.post("/api/ui/chat", json=body("hello"))).status_code == 401
    for bad in ("a/b", ".", "..", "a" * 256, "", "a\x00", "\x1f"):
        answer = await alice.post("/api/ui/chat", json=body("hello", chat=bad))
        assert answer.status_code == 422, bad
        assert answer.json()["error"]["code"] == "VALIDATION_ERROR"
    assert (await alice.post("/api/ui/chat", json=body("hello", chat="999999"))).status_code == 404
    file = {"type": "file", "mediaType": "image/png", "url": "data:,"}
    only = {"id": "m1", "role": "user", "parts": [file]}
    answer = await alice.post("/api/ui/chat", json={"id": "c1", "message": only})
    assert answer.status_code == 422
    assert "files are not taken" in answer.text
    for message in ({"role": "assistant", "parts": []}, {"role": "user"}, None, 7, "x"):
        answer = await alice.post("/api/ui/chat", json={"id": "c1", "message": message})
        assert answer.status_code == 422, message


@pytest.mark.parametrize("chat", ["a%2Fb", "%2E%2E", "%00", "x" * 300, "999999", "unknown"])
async def test_what_cannot_be_resumed_is_204(alice: httpx.AsyncClient, chat: str) -> None:
    assert (await alice.get(f"/api/ui/chat/{chat}/stream")).status_code == 204


async def test_the_plain_routes_stream_where_events_are_asked_for(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("One."), says("Two.")])
    accept = {"Accept": "text/event-stream", "Idempotency-Key": "k1"}
    message = {"message": "hello"}
    sent = alice.stream("POST", "/api/chat", json=message, headers=accept)
    async with sent as response:
        events = Events(response)
        await events.rest()
    number = events.seen[0]["messageMetadata"]["conversation_id"]
    assert said(events.seen) == ["One."]
    here = f"/api/conversations/{number}/chat"
    stream = {"Accept": "application/json, text/event-stream"}
    async with alice.stream("POST", here, json={"content": "more"}, headers=stream) as response:
        events = Events(response)
        await events.rest()
    assert said(events.seen) == ["Two."]
    again = await alice.post("/api/chat", json=message, headers={"Idempotency-Key": "k1"})
    assert again.json()["response"] == "One."
    answer = await alice.post("/api/conversations/x/chat", json={"content": "a"}, headers=stream)
    assert answer.status_code == 404


async def test_a_person_has_ten_viewers_at_a_process(
    replicas: Replicas, model: ScriptedModel
) -> None:
    speech = Speech()
    model.extend([speech.step])
    async with AsyncExitStack() as stack:
        sent = streaming(replicas.one, "POST", "/api/ui/chat", json=body("hello"))
        viewers = [await stack.enter_async_context(sent)]
        for _ in range(9):
            more = streaming(replicas.one, "GET", "/api/ui/chat/c1/stream")
            viewers.append(await stack.enter_async_context(more))
        answer = await replicas.one.get("/api/ui/chat/c1/stream")
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        assert (await replicas.one.post("/api/ui/chat", json=body("b", "c2"))).status_code == 429
        speech.end()
        for viewer in viewers:
            await viewer.rest()
            assert viewer.done
    assert kinds((await resumed(replicas.one)).seen)[-1] == "finish"


async def test_of_a_long_history_only_the_newest_message_is_taken(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello.")])
    odd: list[Any] = [None, 7, {"role": "system"}, {"id": 1, "role": "assistant", "parts": "x"}]
    call = {"type": "tool-add_task", "input": {"title": "x" * 5_000_000}, "state": "output"}
    long = {"id": "a", "role": "assistant", "parts": [call, {"text": 1}, {"type": "text"}]}
    newest = {**user("  hello  "), "metadata": {"a": 1}, "createdAt": "2020"}
    newest["parts"] += [{"type": "file", "url": "data:,"}, {"type": "data-x", "data": {}}]
    sent = {"id": "c1", "messages": [*odd, long, newest], "trigger": 5, "messageId": [], "x": {}}
    async with streaming(alice, "POST", "/api/ui/chat", json=sent) as events:
        await events.rest()
    assert events.response.status_code == 200, events.response.text
    assert (await history(alice))[0]["parts"][0]["text"] == "hello"
    too_long = sent | {"messages": [user("x" * 9_000_000)]}
    assert (await alice.post("/api/ui/chat", json=too_long)).status_code == 413


async def test_one_statement_a_tick_serves_all_streams_of_a_process(
    replicas: Replicas, model: ScriptedModel
) -> None:
    speeches = [Speech() for _ in range(8)]
    model.extend([speech.step for speech in speeches])
    async with AsyncExitStack() as stack:
        streams = []
        for number, speech in enumerate(speeches):
            sent = body("hello", chat=f"c{number}")
            opened = streaming(replicas.one, "POST", "/api/ui/chat", json=sent)
            streams.append(await stack.enter_async_context(opened))
            await speech.begun.wait()
        began = monotonic()
        with statements_sent(by_anyone=True) as statements:
            for _ in range(10):
                for speech in speeches:
                    speech.say("word ")
                await asyncio.sleep(0.1)
        at_most = (monotonic() - began) / STREAMED_TICK + 2
        assert 4 <= len([each for each in statements if "INTO stream_log" in each]) <= at_most
        assert len([each for each in statements if not OF_THE_ROUNDS.search(each)]) <= at_most
        for speech, stream in zip(speeches, streams, strict=True):
            speech.end()
            await stream.rest()
        with statements_sent(by_anyone=True) as statements:
            await asyncio.sleep(0.7)
        assert not [each for each in statements if "erasures" not in each]
