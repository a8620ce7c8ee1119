"""A turn as a stream: what is sent, that it is what is kept, and that it always ends."""

import asyncio
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel, function_call

from backend.tests.live.conftest import Replicas
from backend.tests.support.live import Events, kinds, said, streaming, user
from backend.tests.support.scripting import calls, says
from backend.tests.support.speaking import Speech


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
