"""Each server in its own words: a tool turn and the next one, thoughts, failures, usage."""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from backend.agent.models.families import asked_by_default
from backend.settings.providers import Asking
from backend.tests.support.dialects import DIALECTS, Dialect
from backend.tests.support.fixtures import Run
from backend.tests.support.provider_wire import Request, Step
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.wire_bodies import raw


@pytest.fixture(params=list(DIALECTS.values()), ids=list(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)


class Server(ScriptedProvider):
    """Answers with its steps, and refuses what its dialect refuses."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(then=self._answer)
        self.refused: list[str] = []
        self._dialect = dialect
        self._answers: deque[Step] = deque()

    def will(self, *bodies: Any) -> None:
        self._answers.extend(map(raw, bodies))

    def _answer(self, request: Request) -> Step:
        if words := self._dialect.refuses(request):
            self.refused.append(words)
            refusal = self._dialect.refusal(request)
            assert refusal is not None
            return refusal
        return self._answers.popleft()


@asynccontextmanager
async def serving(
    run: Run, alice: httpx.AsyncClient, dialect: Dialect, **entry: Any
) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    async with Server(dialect) as server:
        given = {"base_url": server.base_url, "models": [dialect.model], **dialect.entry, **entry}
        settings = {"providers": {"wild": given}, "default_provider": "wild"}
        async with run(alice, None, **settings, rate_limit_chat="1000/minute") as client:
            yield server, client


async def say(client: httpx.AsyncClient, text: str, here: int | None = None) -> Any:
    asked = {"message": text, "conversation_id": here}
    answer = await client.post("/api/chat", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_tool_turn_and_those_after_it(
    run: Run, alice: httpx.AsyncClient, dialect: Dialect
) -> None:
    async with serving(run, alice, dialect) as (server, client):
        server.will(dialect.tool, dialect.says("Added."), dialect.tool, dialect.says("Again."))
        server.will(dialect.thinks("Two of them."))
        first = await say(client, "Add milk")
        here = first["conversation_id"]
        second = await say(client, "And another", here)
        third = await say(client, "How many?", here)
        listed = (await client.get("/api/tasks")).json()
        [day] = (await client.get("/api/usage")).json()["days"]
        shown = (await client.get(f"/api/conversations/{here}/messages")).text
    assert [each["response"] for each in (first, second, third)] == [
        "Added.",
        "Again.",
        "Two of them.",
    ]
    assert [task["title"] for task in listed["tasks"]] == ["Buy milk", "Buy milk"]
    assert not server.refused
    assert "They want milk" not in shown
    assert "signature" not in shown
    given, cached, made = dialect.counted
    assert day["input_tokens"] == 5 * given
    assert day["cached_tokens"] >= 2 * cached
    assert day["output_tokens"] == 5 * made
    assert day["uncounted_turns"] == 0


async def test_its_failures_have_our_reasons_and_none_of_its_words(
    run: Run, alice: httpx.AsyncClient, dialect: Dialect
) -> None:
    async with serving(run, alice, dialect) as (server, client):
        for number, failure in enumerate(dialect.failures):
            server._then = failure.raw
            answer = await client.post("/api/chat", json={"message": f"hello {number}"})
            assert answer.status_code == 503, failure
            details = answer.json()["error"]["details"]
            assert details["reason"] == failure.reason, failure
            assert "retry-after" not in failure.headers or "retry-after" in answer.headers
    reasons = {failure.reason for failure in dialect.failures}
    assert len(reasons) > 2


def reasoning_of(request: Request) -> list[Any]:
    return [
        item.get("reasoning_content") or item.get("reasoning_details")
        for item in request.items
        if item.get("tool_calls")
    ]


@pytest.mark.parametrize("name", ["DeepSeek", "Kimi", "OpenRouter"])
async def test_reasoning_goes_back_with_its_call_in_the_run_and_later_and_to_no_other_model(
    run: Run, alice: httpx.AsyncClient, bob: httpx.AsyncClient, name: str
) -> None:
    dialect = DIALECTS[name]
    async with serving(run, alice, dialect, models=[dialect.model, "another"]) as (server, client):
        server.will(dialect.tool, dialect.says("Added."), dialect.says("Yes."), dialect.says("No."))
        here = (await say(client, "Add milk"))["conversation_id"]
        await say(client, "Well?", here)
        sent = [reasoning_of(request) for request in server.requests]
        assert "They want milk." in str(sent[1])
        assert sent[1] == sent[2]
        await client.patch(f"/api/conversations/{here}", json={"model": "another"})
        if name == "OpenRouter":
            await say(client, "And you?", here)
            assert reasoning_of(server.requests[-1]) == [None]
        told = f"{(await client.get(f'/api/conversations/{here}/messages')).text}"
        exported = (await client.get(f"/api/conversations/{here}/export")).text
    assert "They want milk" not in told + exported


async def test_a_call_of_another_model_goes_to_kimi_with_a_blank(
    run: Run, alice: httpx.AsyncClient
) -> None:
    kimi = DIALECTS["Kimi"]
    models = ["plain-model", kimi.model]
    async with serving(run, alice, kimi, models=models, reasoning_back=None) as (server, client):
        server._dialect = DIALECTS["Azure"]
        server.will(DIALECTS["Azure"].tool, kimi.says("Added."))
        here = (await say(client, "Add milk"))["conversation_id"]
        await client.patch(f"/api/conversations/{here}", json={"model": kimi.model})
        server._dialect = kimi
        server.will(kimi.says("Yes."))
        await say(client, "Well?", here)
    assert reasoning_of(server.requests[-1]) == [" "]
    assert not server.refused


TAUGHT = {
    "roles that must alternate": ("llama.cpp", "some-model"),
    "reasoning that has to come back": ("Kimi", "some-model"),
    "parameters that it does not know": ("Mistral", "some-model"),
    "reasoning that it refuses": ("Groq", "kimi-at-groq"),
}


@pytest.mark.parametrize(("name", "model"), TAUGHT.values(), ids=TAUGHT.keys())
async def test_a_server_that_is_not_known_by_its_name_is_taken_at_its_word(
    run: Run, alice: httpx.AsyncClient, name: str, model: str
) -> None:
    dialect = DIALECTS[name]
    entry: dict[str, Any] = {"parallel_tool_calls": True, "reasoning_effort": "low"}
    if name == "Kimi":
        dialect = Dialect(**{**vars(dialect), "tool": DIALECTS["Azure"].tool})
    async with serving(run, alice, dialect, models=[model], **entry) as (server, client):
        server.will(dialect.tool, dialect.says("Added."), dialect.says("Yes."))
        here = (await say(client, "Add milk"))["conversation_id"]
        refused = len(server.refused)
        await say(client, "Well?", here)
        assert refused == len(server.refused)  # what was learnt is not forgotten


def settings_of(names: str) -> Iterator[Asking]:
    return (asked_by_default(name) for name in names.split())


def test_a_model_that_can_think_is_asked_to_think_little_and_others_are_not() -> None:
    assert {
        each.reasoning_effort for each in settings_of("gpt-5-mini openai/gpt-5-nano gpt-5")
    } == {"minimal"}
    little = "o3-mini o4-mini gpt-oss:20b gemini-2.5-flash deepseek-v4-pro grok-3-mini"
    assert {each.reasoning_effort for each in settings_of(little)} == {"low"}
    plain = "gpt-4o-mini gpt-4.1 gpt-5-chat-latest gpt-5.1 gpt-5-pro o1-mini claude-sonnet-4-5"
    assert list(settings_of(plain)) == [Asking()] * 7


async def test_settings_of_a_model_go_before_its_providers_and_those_before_its_familys(
    run: Run, alice: httpx.AsyncClient
) -> None:
    said = {
        "models": {"gpt-5-mini": {"temperature": 0.5, "extra_headers": {"x-b": "2"}}, "gpt-5": {}},
        "reasoning_effort": "low",
        "temperature": 1.0,
        "max_output_tokens": 900,
        "extra_headers": {"x-a": "1"},
        "extra_body": {"seed": 7},
    }
    azure = DIALECTS["Azure"]
    async with serving(run, alice, azure, **said) as (server, client):
        server.will(azure.says("One."), azure.says("Two."))
        here = (await say(client, "Hello"))["conversation_id"]
        await client.patch(f"/api/conversations/{here}", json={"model": "gpt-5"})
        await say(client, "Hello", here)
    first, second = server.requests
    for request, temperature in ((first, 0.5), (second, 1.0)):
        assert request.body["reasoning_effort"] == "low"
        assert request.body["temperature"] == temperature
        assert request.body["max_tokens"] == 900
        assert request.body["seed"] == 7
        assert request.headers["x-a"] == "1"
    assert first.headers["x-b"] == "2"
    assert "x-b" not in second.headers


async def test_a_provider_is_reached_through_its_proxy(run: Run, alice: httpx.AsyncClient) -> None:
    azure = DIALECTS["Azure"]
    async with ScriptedProvider(then=raw(azure.says("Hello."))) as proxy:
        entry = {"base_url": "http://nowhere.invalid/v1", "models": ["small"]}
        given = entry | {"proxy": proxy.base_url.removesuffix("/v1")}
        settings = {"providers": {"far": given}, "default_provider": "far"}
        async with run(alice, None, **settings) as client:
            await say(client, "Hello")
    assert proxy.requests[0].path == "http://nowhere.invalid/v1/chat/completions"
