"""What a model thinks is in no stream, in no row that streams are read from, in no history."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from backend.tests.live.test_streams import body
from backend.tests.support import better_auth
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import make_settings, running
from backend.tests.support.live import Events, kinds, said, served, streaming
from backend.tests.support.provider_wire import Hang, Raw
from backend.tests.support.scripted_provider import ScriptedProvider

pytestmark = pytest.mark.waits

THOUGHT = "privately they want milk"
CALL = {"id": "aB3dE6gH9", "type": "function"}
ADD = {"name": "add_task", "arguments": '{"title": "Buy milk"}'}


def pieces(words: str, size: int = 5) -> list[str]:
    return [words[at : at + size] for at in range(0, len(words), size)]


def completion(*deltas: dict[str, Any], reason: str = "stop") -> Raw:
    """A streamed chat completion."""
    head: dict[str, Any] = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "thinker",
    }
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": each, "finish_reason": None} for each in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    events = [head | {"choices": [each]} for each in choices]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return Raw("".join([*lines, "data: [DONE]\n\n"]).encode(), content_type="text/event-stream")


def response(words: str, calls: bool) -> Raw:
    """A streamed answer of the Responses API that has thought first, and says so in each form."""
    thought: dict[str, Any] = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": THOUGHT}],
        "content": [{"type": "reasoning_text", "text": THOUGHT}],
        "encrypted_content": None,
    }
    content = {"type": "output_text", "text": words, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    call: dict[str, Any] = {"type": "function_call", "id": "fc_1", "call_id": CALL["id"], **ADD}
    output = [thought, message | {"content": [content]}]
    output += [call | {"status": "completed"}] * calls
    whole: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "thinker",
    }
    whole |= {"status": "completed", "output": output, "parallel_tool_calls": True}
    whole |= {"tool_choice": "auto", "tools": []}
    at = {"item_id": "rs_1", "output_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": whole | {"output": [], "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": thought},
    ]
    for piece in pieces(THOUGHT):
        summary = {"type": "response.reasoning_summary_text.delta", "summary_index": 0}
        events.append(at | summary | {"delta": piece})
        inner = {"type": "response.reasoning_text.delta", "content_index": 0}
        events.append(at | inner | {"delta": piece})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": thought})
    for piece in pieces(words):
        delta = {"type": "response.output_text.delta", "content_index": 0, "logprobs": []}
        events.append(delta | {"item_id": "msg_1", "output_index": 1, "delta": piece})
    for index, item in enumerate(output[1:], start=1):
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": whole})
    lines = [
        f"event: {event['type']}\ndata: {json.dumps(event | {'sequence_number': number})}\n\n"
        for number, event in enumerate(events)
    ]
    return Raw("".join(lines).encode(), content_type="text/event-stream")


def by_member(name: str) -> list[dict[str, Any]]:
    return [{name: piece} for piece in pieces(THOUGHT)]


THOUGHTS: dict[str, list[dict[str, Any]]] = {
    "reasoning_content": by_member("reasoning_content"),
    "reasoning": by_member("reasoning"),
    "reasoning_details": [
        {"reasoning_details": [{"type": "reasoning.text", "text": piece, "index": 0}]}
        for piece in pieces(THOUGHT)
    ],
    "a part of the content": [
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}
        for piece in pieces(THOUGHT)
    ],
    "markup": [{"content": piece} for piece in pieces(f"<think>{THOUGHT}</think>", 3)],
    "markup of Mistral": [{"content": piece} for piece in pieces(f"[THINK]{THOUGHT}[/THINK]", 3)],
    "a channel": [
        {"content": piece} for piece in pieces(f"<|channel|>analysis<|message|>{THOUGHT}<|end|>", 3)
    ],
}


def steps_of(form: str) -> tuple[Raw, Raw]:
    """A call with something said before it, and an answer; each is thought about first."""
    if form == "the Responses API":
        return response("I look.", calls=True), response("It is added.", calls=False)
    thought = THOUGHTS[form]
    calling = {"tool_calls": [{"index": 0, **CALL, "function": ADD}]}
    look = completion(*thought, {"content": "I look."}, calling, reason="tool_calls")
    return look, completion(*thought, {"content": "It is added."})


@asynccontextmanager
async def two_replicas(
    url: str, user_id: str, provider: ScriptedProvider, api: str
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """One on a real socket, and another that can only know of its turns by the database."""
    settings = make_settings(
        url, openai_base_url=provider.base_url, openai_model="thinker", openai_api=api
    )
    token = await better_auth.sign_in(url, user_id)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        running(settings) as one,
        running(settings) as two,
        served(one) as first,
        served(two) as second,
        httpx.AsyncClient(base_url=first, headers=headers, timeout=20) as here,
        httpx.AsyncClient(base_url=second, headers=headers, timeout=20) as there,
    ):
        yield here, there


async def read(events: Events) -> str:
    await events.rest()
    return json.dumps(events.seen)


@pytest.mark.parametrize("form", [*THOUGHTS, "the Responses API"])
async def test_what_a_model_thinks_is_nowhere_that_a_person_looks(
    shared_database_url: str, alice_id: str, sessions: Sessions, form: str
) -> None:
    look, answer = steps_of(form)
    api = "responses" if form == "the Responses API" else "chat_completions"
    late = Hang(then=answer)
    async with (
        ScriptedProvider(look, late) as provider,
        two_replicas(shared_database_url, alice_id, provider, api) as (here, there),
        streaming(here, "POST", "/api/ui/chat", json=body("Add milk")) as live,
    ):
        await live.until("tool-output-available")
        async with streaming(there, "GET", "/api/ui/chat/c1/stream") as elsewhere:
            # out of the rows that the first has written
            await elsewhere.until("tool-output-available")
            async with sessions() as session:
                connection = await session.connection()
                rows = await connection.execute(text("SELECT stream_log::text FROM stream_log"))
                logged = "".join(row[0] for row in rows)
            late.release.set()
            streams = [await read(live), await read(elsewhere)]
        async with streaming(there, "GET", "/api/ui/chat/c1/stream") as later:
            streams.append(await read(later))
        assert kinds(later.seen)[-1] == "finish"
        assert [said(each.seen) for each in (live, elsewhere, later)] == [
            ["I look.", "It is added."]
        ] * 3
        number = live.seen[0]["messageMetadata"]["conversation_id"]
        shown = [
            (await there.get(path)).text
            for path in (
                *("/api/ui/chat/c1", f"/api/conversations/{number}"),
                *(f"/api/conversations/{number}/{part}" for part in ("messages", "export")),
            )
        ]
    assert "I look." in logged
    for place in (*streams, logged, *shown):
        assert "privat" not in place
        assert "they want" not in place
