"""The model's provider over its own wire: what it answers, and each way in which it fails."""

import asyncio
import email.utils
import json
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)
from openai import AsyncOpenAI

from backend.chat_errors import AIServiceUnavailable, ContextTooLong
from backend.models import utc_now
from backend.tests.support.fixtures import Run, make_settings, running
from backend.tests.support.provider_wire import (
    CONTEXT_TOO_LONG,
    GARBAGE,
    HALF_ANSWER,
    PROVIDER_TEXT,
    Answer,
    Drop,
    Failure,
    FunctionCall,
    Hang,
    Raw,
    Step,
)
from backend.tests.support.scripted_provider import ScriptedProvider

APIS = ("responses", "chat_completions")
AT_ONCE = {"retry-after-ms": "1"}
"""Lets the client's own retries follow without a pause."""
ADD_MILK = Answer(calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))

type Chatting = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def chatting(run: Run, alice: httpx.AsyncClient, api: str) -> Chatting:
    """Alice on an app whose model is the provider at `openai_base_url`, in either format."""
    return partial(run, alice, None, openai_api=api)


async def say(client: httpx.AsyncClient, message: str = "Add buy milk") -> httpx.Response:
    return await client.post("/api/chat", json={"message": message})


def assert_unavailable(response: httpx.Response, reason: str) -> None:
    assert response.status_code == 503
    error = response.json()["error"]
    assert error["code"] == "AI_SERVICE_UNAVAILABLE"
    assert error["details"]["reason"] == reason
    known = AIServiceUnavailable.REASONS | ContextTooLong.REASONS
    assert error["details"]["retryable"] is known[reason]
    assert PROVIDER_TEXT not in response.text


async def test_an_answer_comes_through(chatting: Chatting, api: str) -> None:
    async with (
        ScriptedProvider(Answer("Hello, Alice.")) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        response = await say(alice, "Hello")
    assert response.status_code == 200
    assert response.json()["response"] == "Hello, Alice."
    [request] = provider.requests
    assert request.path == f"/v1/{api.replace('_', '/')}"
    assert request.headers["authorization"] == "Bearer a-key"
    assert request.items[-1]["content"] == "Hello"


async def test_a_tool_call_is_run_and_the_model_told_its_result(chatting: Chatting) -> None:
    async with (
        ScriptedProvider(ADD_MILK, Answer("Added.")) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        body = (await say(alice)).json()
        listed = (await alice.get("/api/tasks")).json()
    assert body["response"] == "Added."
    assert [call["tool"] for call in body["tool_calls"]] == ["add_task"]
    assert [task["title"] for task in listed["tasks"]] == ["Buy milk"]
    told = provider.requests[1].items[-1]
    assert '"success": true' in (told.get("output") or told["content"])


async def test_arguments_that_are_not_json_are_a_result_the_model_can_read(
    chatting: Chatting,
) -> None:
    broken = Answer(calls=(FunctionCall("add_task", '{"title": "Buy'),))
    async with (
        ScriptedProvider(broken, Answer("Sorry.")) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        body = (await say(alice)).json()
    assert body["response"] == "Sorry."
    [call] = body["tool_calls"]
    assert call["result"]["error_code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("empty", [Answer(), Answer("")], ids=["nothing", "no text"])
async def test_an_empty_answer_becomes_a_helpful_one(chatting: Chatting, empty: Step) -> None:
    async with (
        ScriptedProvider(empty) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        body = (await say(alice)).json()
    assert body["response"].startswith("I'm not sure how to help with that.")


@dataclass(frozen=True)
class Fault:
    step: Step
    reason: str


FAULTS = {
    "wrong key": Fault(Failure(401, code="invalid_api_key"), "refused"),
    "forbidden": Fault(Failure(403), "refused"),
    "no such model": Fault(Failure(404, code="model_not_found"), "refused"),
    "context too long": Fault(CONTEXT_TOO_LONG, "context_too_long"),
    "body too large": Fault(Failure(413), "context_too_long"),
    "a request it does not take": Fault(Failure(400, code="unsupported_parameter"), "refused"),
    "no money left": Fault(Failure(429, code="insufficient_quota", headers=AT_ONCE), "refused"),
    "gave up": Fault(Failure(408, headers=AT_ONCE), "timeout"),
    "too many requests": Fault(Failure(429, headers=AT_ONCE), "rate_limited"),
    "its own fault": Fault(Failure(500, headers=AT_ONCE), "unavailable"),
    "overloaded": Fault(Failure(503, headers=AT_ONCE), "unavailable"),
    "a page instead": Fault(GARBAGE, "bad_answer"),
    "broken JSON": Fault(Raw(b'{"id": '), "bad_answer"),
    "other JSON": Fault(Raw(b"[1]"), "bad_answer"),
    "null": Fault(Raw(b"null"), "bad_answer"),
    "empty object": Fault(Raw(b"{}"), "bad_answer"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_of_the_provider_is_a_503_without_its_words(
    chatting: Chatting, fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        ScriptedProvider(then=fault.step) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        assert_unavailable(await say(alice), fault.reason)
    logged = capsys.readouterr()
    assert PROVIDER_TEXT not in logged.out + logged.err
    assert "a-key" not in logged.out + logged.err


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("step", [Drop(), HALF_ANSWER], ids=["at once", "in its middle"])
async def test_a_connection_lost_is_a_503(chatting: Chatting, step: Step) -> None:
    async with (
        ScriptedProvider(then=step) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        assert_unavailable(await say(alice), "connection")


@pytest.mark.usefixtures("hurried")
async def test_a_provider_that_is_not_there_is_a_503(chatting: Chatting) -> None:
    async with ScriptedProvider() as gone:
        address = gone.base_url
    async with chatting(openai_base_url=address) as alice:
        assert_unavailable(await say(alice), "connection")


async def test_a_provider_slower_than_the_limit_is_a_503(chatting: Chatting) -> None:
    async with (
        ScriptedProvider(Hang()) as provider,
        chatting(openai_base_url=provider.base_url, ai_timeout_seconds=0.3) as alice,
    ):
        assert_unavailable(await say(alice), "timeout")
        listed = await alice.get("/api/tasks")
    assert listed.status_code == 200


async def test_the_providers_advice_when_to_come_back_is_passed_on(chatting: Chatting) -> None:
    busy = Failure(429, headers={"retry-after": "17", **AT_ONCE})
    async with (
        ScriptedProvider(then=busy) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        response = await say(alice)
    assert_unavailable(response, "rate_limited")
    assert response.headers["retry-after"] == "17"


async def test_a_longer_pause_than_the_run_has_is_not_waited_for_but_told(
    chatting: Chatting,
) -> None:
    busy = Failure(429, headers={"retry-after": "17"})
    async with (
        ScriptedProvider(busy) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        response = await asyncio.wait_for(say(alice), 10)
    assert_unavailable(response, "rate_limited")
    assert response.headers["retry-after"] == "17"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("0", "1"),
        ("6.2", "7"),
        ("86400", "86400"),
        ("Fri, 31 Dec 2999 23:59:59 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("soon GMT", None),
        ("nan", None),
        ("-5", None),
        ("9" * 400, None),
    ],
)
async def test_advice_that_makes_no_sense_is_not_passed_on(
    chatting: Chatting, said: str, told: str | None
) -> None:
    busy = Failure(503, headers={"retry-after": said, "x-should-retry": "false"})
    async with (
        ScriptedProvider(busy) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        response = await say(alice)
    assert_unavailable(response, "unavailable")
    assert response.headers.get("retry-after") == told


async def test_advice_as_a_date_is_told_in_seconds(chatting: Chatting) -> None:
    later = email.utils.format_datetime(utc_now() + timedelta(minutes=10), usegmt=True)
    busy = Failure(429, headers={"retry-after": later})
    async with (
        ScriptedProvider(busy) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        response = await say(alice)
    assert 500 < int(response.headers["retry-after"]) <= 600


TOO_LONG = {
    "OpenAI": "Your input exceeds the context window of this model. Please adjust your input.",
    "vLLM": "This model's maximum context length is 4096 tokens. However, you requested 9000.",
    "vLLM's prompt": "The decoder prompt (length 9000) is longer than the maximum model length.",
    "Anthropic": "prompt is too long: 208310 tokens > 200000 maximum",
    "Anthropic's sum": "input length and `max_tokens` exceed context limit: 199211 + 8192",
    "Ollama": "the input length exceeds the context length",
    "llama.cpp": "the request exceeds the available context size, try increasing it",
    "Groq": "Please reduce the length of the messages or completion.",
    "Gemini": "The input token count (1200000) exceeds the maximum number of tokens allowed.",
    "Mistral": "Prompt contains 40000 tokens and 0 draft tokens, too large for model",
    "xAI": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
}


@pytest.mark.parametrize("words", TOO_LONG.values(), ids=TOO_LONG.keys())
async def test_a_context_that_is_too_long_is_known_by_what_servers_say(
    run: Run, alice: httpx.AsyncClient, words: str
) -> None:
    said = {"error": {"message": f"{words} {PROVIDER_TEXT}", "type": "invalid_request_error"}}
    async with ScriptedProvider(then=Raw(json.dumps(said).encode(), 400)) as provider:
        address = provider.base_url
        async with run(
            alice, None, openai_base_url=address, openai_api="chat_completions"
        ) as client:
            assert_unavailable(await say(client), "context_too_long")


async def test_the_same_words_in_another_fault_are_not_a_context_too_long(
    chatting: Chatting,
) -> None:
    said = {"error": {"message": "You may not use this context window.", "code": "forbidden"}}
    async with (
        ScriptedProvider(Raw(json.dumps(said).encode(), 403)) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        assert_unavailable(await say(alice), "refused")


async def test_a_provider_that_fails_for_a_moment_is_asked_again(chatting: Chatting) -> None:
    async with (
        ScriptedProvider(Failure(503, headers=AT_ONCE), Answer("Here I am.")) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        response = await say(alice, "Hello")
    assert response.json()["response"] == "Here I am."
    first, second = provider.requests
    assert first.body == second.body


async def test_what_was_done_before_a_fault_is_told_and_stays(chatting: Chatting) -> None:
    async with (
        ScriptedProvider(ADD_MILK, Failure(401)) as provider,
        chatting(openai_base_url=provider.base_url) as alice,
    ):
        response = await say(alice)
        listed = (await alice.get("/api/tasks")).json()
    assert_unavailable(response, "refused")
    [call] = response.json()["error"]["details"]["tool_calls"]
    assert call["args"] == {"title": "Buy milk"}
    assert listed["total"] == 1


@function_tool
async def look_up(words: str, limit: int | None = None) -> str:
    """Look something up."""
    return f"nothing for {words}"


async def _bodies(provider: ScriptedProvider, model: Model) -> list[dict[str, Any]]:
    """What a run of two model calls puts on the wire."""
    provider.add(
        Answer(calls=(FunctionCall("look_up", '{"words": "milk", "limit": null}'),)),
        Answer("Done."),
    )
    settings = ModelSettings(
        temperature=0.2, store=False, parallel_tool_calls=False, extra_body={"seed": 1}
    )
    agent = Agent[None](
        name="a", instructions="Be brief.", tools=[look_up], model=model, model_settings=settings
    )
    before = len(provider.requests)
    await Runner.run(
        agent,
        [
            {"role": "user", "content": "Look for bröd \u2028"},
            {"type": "function_call", "call_id": "c", "name": "look_up", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "{}"},
            {"role": "assistant", "content": "Nothing."},
            {"role": "user", "content": "And milk?"},
        ],
        run_config=RunConfig(tracing_disabled=True),
    )
    return [request.body for request in provider.requests[before:]]


async def test_our_client_sends_what_the_plain_one_sends(
    api: str, shared_database_url: str
) -> None:
    plain = OpenAIResponsesModel if api == "responses" else OpenAIChatCompletionsModel
    async with ScriptedProvider() as provider:
        settings = make_settings(
            shared_database_url, openai_api=api, openai_base_url=provider.base_url
        )
        async with running(settings) as app:
            sent = await _bodies(
                provider, app.state.runtime.providers.model(app.state.runtime.providers.default)
            )
        async with AsyncOpenAI(api_key="a-key", base_url=provider.base_url) as client:
            sent_plainly = await _bodies(provider, plain("gpt-4o-mini", client))
    assert len(sent) == 2
    assert _without_call_ids(sent) == _without_call_ids(sent_plainly)


def _without_call_ids(bodies: list[dict[str, Any]]) -> str:
    """Ours are made anew, and the provider counts its requests on."""
    return re.sub(r"call_\d+_\d+|\b[0-9a-f]{9}\b", "call", json.dumps(bodies, sort_keys=True))
