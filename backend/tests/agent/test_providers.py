"""Several providers by name: who answers, what each is sent, and a switch in mid-conversation."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI
from sqlalchemy import text

from backend.agent.models.catalog import Choice, Providers, open_providers
from backend.agent.models.known import window_of as context_window
from backend.errors import ValidationFailed
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run, make_settings, running
from backend.tests.support.provider_wire import Answer, Failure, FunctionCall, Request
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.scripting import says
from backend.tests.test_chat import chat, messages_of

ADD_MILK = Answer(calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))
KEY = "the-key-of-groq"


@pytest.fixture
async def openai() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
async def groq() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as provider:
        yield provider


@pytest.fixture(autouse=True)
def _groq_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", KEY)


def set_up(openai: ScriptedProvider, groq: ScriptedProvider, **entry: Any) -> dict[str, Any]:
    """Settings for both: `openai` speaks Responses, `groq` Chat Completions."""
    more = {"base_url": groq.base_url, "key": "GROQ_API_KEY", "models": ["small", "large"]}
    more_of_them = {"groq": more | entry, "offline": {}}
    return {"openai_base_url": openai.base_url, "providers": more_of_them}


async def give(
    sessions: Sessions, conversation_id: int, provider: str | None, model: str | None = None
) -> None:
    """Write into the conversation who is to answer there."""
    chosen = text("UPDATE conversations SET provider = :provider, model = :model WHERE id = :id")
    async with sessions.begin() as session:
        connection = await session.connection()
        values = {"id": conversation_id, "provider": provider, "model": model}
        await connection.execute(chosen, values)


async def answered_by(sessions: Sessions, conversation_id: int) -> list[tuple[str, str, str]]:
    asked = text(
        "SELECT status, provider, model FROM messages"
        " WHERE conversation_id = :id AND role = 'assistant' ORDER BY id"
    )
    async with sessions() as session:
        connection = await session.connection()
        rows = await connection.execute(asked, {"id": conversation_id})
        return [(row.status, row.provider, row.model) for row in rows]


def kinds(request: Request) -> list[str]:
    """What the items of a request are, in either format."""
    return [
        str(item.get("type") or ("call" if item.get("tool_calls") else item["role"]))
        for item in request.items
    ]


async def test_each_provider_is_asked_at_its_address_with_its_key_in_its_format(
    alice: httpx.AsyncClient,
    run: Run,
    sessions: Sessions,
    openai: ScriptedProvider,
    groq: ScriptedProvider,
) -> None:
    openai.add(Answer("From OpenAI."))
    groq.add(Answer("From Groq."))
    async with run(alice, None, **set_up(openai, groq)) as client:
        here = (await chat(client, "hello"))["conversation_id"]
        await give(sessions, here, "groq", "large")
        assert (await chat(client, "hello", conversation_id=here))["response"] == "From Groq."
    [first], [second] = openai.requests, groq.requests
    assert (first.path, first.body["model"]) == ("/v1/responses", "gpt-4o-mini")
    assert first.headers["authorization"] == "Bearer a-key"
    assert (second.path, second.body["model"]) == ("/v1/chat/completions", "large")
    assert second.headers["authorization"] == f"Bearer {KEY}"
    assert await answered_by(sessions, here) == [
        ("complete", "openai", "gpt-4o-mini"),
        ("complete", "groq", "large"),
    ]


async def test_the_account_at_openai_is_told_to_no_other_server(
    alice: httpx.AsyncClient,
    run: Run,
    openai: ScriptedProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-ours")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-ours")
    openai.add(Answer("Hello."))
    async with run(alice, None, openai_base_url=openai.base_url) as client:
        await chat(client, "hello")
    assert not {"openai-organization", "openai-project"} & set(openai.requests[0].headers)


async def test_a_switch_takes_the_tool_calls_of_the_history_along_and_back(
    alice: httpx.AsyncClient,
    run: Run,
    sessions: Sessions,
    openai: ScriptedProvider,
    groq: ScriptedProvider,
) -> None:
    openai.add(ADD_MILK, Answer("Added."), Answer("All three are known."))
    groq.add(Answer(calls=(FunctionCall("list_tasks"),)), Answer("One task."))
    async with run(alice, None, **set_up(openai, groq)) as client:
        here = (await chat(client, "Add milk"))["conversation_id"]
        await give(sessions, here, "groq")
        await chat(client, "Show my tasks", conversation_id=here)
        await give(sessions, here, "offline")
        offline = await chat(client, "Mark it as done", conversation_id=here)
        await give(sessions, here, None)
        await chat(client, "Well?", conversation_id=here)
    assert [call["tool"] for call in offline["tool_calls"]] == ["complete_task"]
    earlier = ["user", "call", "tool", "assistant"]
    assert kinds(groq.requests[0]) == [*earlier, "user", "user"]
    call, result = groq.requests[0].items[1:3]
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert json.loads(result["content"])["title"] == "Buy milk"
    turn = ["user", "function_call", "function_call_output", "assistant"]
    last = openai.requests[-1]
    assert kinds(last) == [*turn * 3, "user", "user"]
    assert [item["name"] for item in last.items if item.get("type") == "function_call"] == [
        "add_task",
        "list_tasks",
        "complete_task",
    ]
    assert [model for _, _, model in await answered_by(sessions, here)] == [
        "gpt-4o-mini",
        "small",
        "offline",
        "gpt-4o-mini",
    ]


async def test_a_failed_turn_records_who_failed(
    alice: httpx.AsyncClient,
    run: Run,
    sessions: Sessions,
    openai: ScriptedProvider,
    groq: ScriptedProvider,
) -> None:
    openai.add(Answer("Hello."))
    groq.add(Failure(401))
    async with run(alice, None, **set_up(openai, groq)) as client:
        here = (await chat(client, "hello"))["conversation_id"]
        await give(sessions, here, "groq", "small")
        asked = {"message": "hello again", "conversation_id": here}
        refused = await client.post("/api/chat", json=asked)
    assert refused.json()["error"]["details"]["reason"] == "refused"
    assert KEY not in refused.text
    assert (await answered_by(sessions, here))[1] == ("failed", "groq", "small")


@pytest.mark.parametrize(
    "gone", [("groq", "retired"), ("mistral", "small"), ("groq", None), ("openai", "gpt-3")]
)
async def test_a_choice_that_is_not_set_up_any_more_falls_back_and_the_row_says_who_answered(
    alice: httpx.AsyncClient,
    model: ScriptedModel,
    run: Run,
    sessions: Sessions,
    gone: tuple[str, str | None],
) -> None:
    model.extend([says("One."), says("Two.")])
    here = (await chat(alice, "one"))["conversation_id"]
    await give(sessions, here, *gone)
    await chat(alice, "two", conversation_id=here)
    assert (await answered_by(sessions, here))[1] == ("complete", "openai", "gpt-4o-mini")


async def test_someone_elses_choice_is_not_taken(
    alice: httpx.AsyncClient,
    bob: httpx.AsyncClient,
    run: Run,
    sessions: Sessions,
    openai: ScriptedProvider,
    groq: ScriptedProvider,
) -> None:
    openai.add(Answer("Hello, Alice."), Answer("Hello, Bob."))
    settings = set_up(openai, groq)
    async with run(alice, None, **settings) as client, run(bob, None, **settings) as other:
        hers = (await chat(client, "hello"))["conversation_id"]
        await give(sessions, hers, "groq")
        asked = {"message": "hello", "conversation_id": hers}
        assert (await other.post("/api/chat", json=asked)).status_code == 404
        await chat(other, "hello")
    assert not groq.requests


async def test_anthropic_is_there_with_its_key(
    alice: httpx.AsyncClient, run: Run, sessions: Sessions, groq: ScriptedProvider
) -> None:
    groq.add(ADD_MILK, Answer("Added."))
    here = {"providers": {"anthropic": {"base_url": groq.base_url}}, "anthropic_api_key": "sk-ant"}
    async with run(alice, None, default_provider="anthropic", **here) as client:
        turn = await chat(client, "Add milk")
    assert turn["response"] == "Added."
    assert {request.path for request in groq.requests} == {"/v1/chat/completions"}
    assert groq.requests[0].headers["authorization"] == "Bearer sk-ant"
    assert groq.requests[0].body["model"] == "claude-sonnet-4-5"
    assert await answered_by(sessions, turn["conversation_id"]) == [
        ("complete", "anthropic", "claude-sonnet-4-5")
    ]


async def test_a_server_that_asks_for_no_key_is_not_sent_anothers(
    monkeypatch: pytest.MonkeyPatch, alice: httpx.AsyncClient, run: Run, groq: ScriptedProvider
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-others")
    groq.add(Answer("Hello."))
    local = {"base_url": groq.base_url, "models": ["small"]}
    async with run(alice, None, providers={"local": local}, default_provider="local") as client:
        await chat(client, "hello")
    [request] = groq.requests
    assert not any(key in str(request.headers) for key in ("a-key", "not-for-others"))


def strictness(request: Request) -> set[bool]:
    return {tool.get("function", tool)["strict"] for tool in request.body["tools"]}


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
async def test_a_provider_is_asked_within_what_it_takes(
    alice: httpx.AsyncClient, run: Run, groq: ScriptedProvider, api: str
) -> None:
    plain = {"base_url": groq.base_url, "models": ["small"], "api": api}
    for entry, parallel, strict in (
        ({}, None, True),
        ({"parallel_tool_calls": False}, False, True),
        ({"parallel_tool_calls": True, "strict": False}, True, False),
    ):
        groq.add(ADD_MILK, Answer("Added."))
        given = {"providers": {"groq": plain | entry}, "default_provider": "groq"}
        async with run(alice, None, **given) as client:
            assert (await chat(client, "Add milk"))["tool_calls"]
        for request in groq.requests[-2:]:
            assert request.body.get("parallel_tool_calls") is parallel
            assert strictness(request) == {strict}


async def test_further_models_of_openai_are_asked_there(
    alice: httpx.AsyncClient, run: Run, sessions: Sessions, openai: ScriptedProvider
) -> None:
    openai.add(Answer("One."), Answer("Two."))
    given = {"openai_base_url": openai.base_url, "providers": {"openai": {"models": ["gpt-4o"]}}}
    async with run(alice, None, **given) as client:
        here = (await chat(client, "one"))["conversation_id"]
        await give(sessions, here, "openai", "gpt-4o")
        await chat(client, "two", conversation_id=here)
    assert [request.body["model"] for request in openai.requests] == ["gpt-4o-mini", "gpt-4o"]


async def test_a_given_model_stands_in_for_every_choice(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run, sessions: Sessions
) -> None:
    model.extend([says("One."), says("Two."), says("Three.")])
    nowhere = {"base_url": "http://127.0.0.1:1/v1", "models": ["small"]}
    async with run(alice, providers={"groq": nowhere, "offline": {}}) as client:
        here = (await chat(client, "one"))["conversation_id"]
        for provider in ("groq", "offline"):
            await give(sessions, here, provider)
            await chat(client, "again", conversation_id=here)
        assert len(await messages_of(client, here)) == 6


GROQ = {
    "base_url": "http://127.0.0.1:1/v1",
    "key": "GROQ_API_KEY",
    "models": {"small": {}, "large": {"context_window": 131_072}},
    "context_window": 8_192,
}


async def providers_of(**values: Any) -> Providers:
    settings = make_settings("postgresql://nobody@127.0.0.1:1/x", **values)
    async with open_providers(settings, None) as providers:
        return providers


async def test_what_is_left_open_follows_the_settings() -> None:
    providers = await providers_of(providers={"groq": GROQ, "offline": {}})
    assert providers.choose(None, None) == ("openai", "gpt-4o-mini")
    assert providers.choose("groq", None) == ("groq", "small")
    assert providers.choose(None, "gpt-4o-mini") == ("openai", "gpt-4o-mini")
    assert providers.choose("offline", None) == ("offline", "offline")
    other = await providers_of(providers={"groq": GROQ}, default_provider="groq")
    assert other.choose(None, None) == ("groq", "small")
    assert other.choose(None, "large") == ("groq", "large")
    offline = await providers_of(openai_model="offline", providers={"groq": GROQ})
    assert offline.default == ("offline", "offline")


@pytest.mark.parametrize(
    ("provider", "model", "field", "known"),
    [
        ("mistral", None, "provider", "groq, openai"),
        ("mistral", "small", "provider", "groq, openai"),
        ("anthropic", None, "provider", "groq, openai"),
        ("groq", "gpt-4o-mini", "model", "large, small"),
        (None, "large", "model", "gpt-4o-mini"),
    ],
)
async def test_a_choice_that_is_not_set_up_is_refused_with_what_is(
    provider: str | None, model: str | None, field: str, known: str
) -> None:
    providers = await providers_of(providers={"groq": GROQ})
    with pytest.raises(ValidationFailed) as refusal:
        providers.choose(provider, model)
    [detail] = refusal.value.details
    assert detail["field"] == field
    assert detail["message"] == f"must be one of: {known}"


async def test_the_offline_model_is_offered_where_the_settings_ask_for_it() -> None:
    asking: list[dict[str, Any]] = [
        {"openai_model": "offline"},
        {"default_provider": "offline"},
        {"providers": {"offline": {}}},
    ]
    for asked in asking:
        providers = await providers_of(**asked)
        assert providers.choose("offline", None) == ("offline", "offline")
    providers = await providers_of(providers={"groq": GROQ})
    with pytest.raises(ValidationFailed, match="not set up"):
        providers.choose("offline", None)


async def test_a_provider_without_its_key_is_not_to_be_chosen_but_stays_the_default() -> None:
    providers = await providers_of(openai_api_key=None)
    assert providers.default == ("openai", "gpt-4o-mini")
    with pytest.raises(ValidationFailed, match="not set up"):
        providers.choose("openai", "gpt-4o-mini")


async def test_a_window_is_the_models_else_the_providers_else_that_of_its_family() -> None:
    providers = await providers_of(providers={"groq": GROQ, "openai": {"models": ["gpt-4o"]}})
    windows = {
        Choice("groq", "large"): 131_072,
        Choice("groq", "small"): 8_192,
        Choice("openai", "gpt-4o"): context_window("gpt-4o"),
        Choice("offline", "offline"): context_window("offline"),
        Choice("gone", "gone"): context_window("gone"),
    }
    assert {choice: providers.window(choice) for choice in windows} == windows


async def test_the_clients_are_one_for_each_provider_and_closed_at_the_end(
    shared_database_url: str,
) -> None:
    settings = make_settings(shared_database_url, providers={"groq": GROQ})
    async with running(settings) as app:
        clients = {id(client): client for client in clients_of(app)}
        assert len(clients) == 2
        assert not any(client.is_closed() for client in clients.values())
    assert all(client.is_closed() for client in clients.values())


def clients_of(app: FastAPI) -> list[Any]:
    providers: Any = app.state.runtime.providers
    chosen = [Choice("openai", "gpt-4o-mini"), Choice("groq", "small"), Choice("groq", "large")]
    return [providers.model(choice)._model._client for choice in chosen]


async def test_a_provider_in_the_settings_that_has_no_key_is_told_of_at_the_start(
    shared_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings(
        shared_database_url, openai_model="offline", providers={"anthropic": {"strict": False}}
    )
    async with running(settings):
        pass
    assert "PROVIDERS names anthropic, which has no key" in capsys.readouterr().err
