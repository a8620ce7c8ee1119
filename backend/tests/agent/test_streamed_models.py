"""A model whose answer is streamed: the same answer, spending and faults as in one piece."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from agents import Agent, Model, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel

from backend.agent.models.offline import OfflineModel
from backend.agent.models.openai_client import open_models
from backend.agent.models.run_model import ProviderError, RunModel
from backend.journal.spending import Spending
from backend.settings.providers import OfferedModel, Provider
from backend.tests.support.provider_wire import Answer, Drop, Failure, FunctionCall, Hang
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.scripting import says
from backend.turns.admission import Place

UNTRACED = RunConfig(tracing_disabled=True)
AT_ONCE = {"retry-after-ms": "1"}


@pytest.fixture(params=["responses", "chat_completions"])
def api(request: pytest.FixtureRequest) -> Any:
    return request.param


@dataclass
class Seen:
    """What a streamed run showed, and what it cost."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    deltas: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    free: list[bool] = field(default_factory=list)
    """Whether the run's one place was free, at each event of the model."""
    spending: Spending = field(default_factory=Spending)
    answer: str = ""

    async def run(self, model: Model) -> None:
        @function_tool
        async def add_task(title: str) -> str:
            """Add a task."""
            assert self.places.locked(), "a tool works without a place"
            self.called.append(title)
            return "done"

        async with Place(self.places) as place:
            of_run = RunModel(model, place.free, self.spending)
            agent = Agent[None](name="a", tools=[add_task], model=of_run)
            result = Runner.run_streamed(agent, "Add milk", run_config=UNTRACED)
            async for event in result.stream_events():
                if event.type == "raw_response_event":
                    self.free.append(not self.places.locked())
                    if event.data.type == "response.output_text.delta":
                        self.deltas.append(event.data.delta)
            self.answer = str(result.final_output)


@asynccontextmanager
async def model_at(provider: ScriptedProvider, api: Any) -> AsyncIterator[Model]:
    entry = Provider(base_url=provider.base_url, api=api, models={"small": OfferedModel()})
    async with open_models(entry, 10) as models:
        yield models["small"]


async def test_a_streamed_answer_is_shown_piece_by_piece_and_counted(api: Any) -> None:
    add = Answer(calls=(FunctionCall("add_task", '{"title": "milk"}'),))
    async with (
        ScriptedProvider(add, Answer("I have added milk.")) as provider,
        model_at(provider, api) as model,
    ):
        seen = Seen()
        await seen.run(model)
    assert seen.answer == "".join(seen.deltas) == "I have added milk."
    assert len(seen.deltas) > 1
    assert seen.called == ["milk"]
    assert (seen.spending.input, seen.spending.output) == (20, 10)
    assert all(request.body["stream"] for request in provider.requests)


async def test_the_place_is_free_while_the_model_speaks_and_taken_when_a_tool_works(
    api: Any,
) -> None:
    add = Answer(calls=(FunctionCall("add_task", '{"title": "milk"}'),))
    async with (
        ScriptedProvider(add, Answer("Added.")) as provider,
        model_at(provider, api) as model,
    ):
        seen = Seen()
        await seen.run(model)
    assert any(seen.free)
    assert not seen.places.locked()


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (Failure(401), "refused"),
        (Failure(429, headers=AT_ONCE), "rate_limited"),
        (Failure(503, headers=AT_ONCE), "unavailable"),
        (Failure(400, code="context_length_exceeded"), "context_too_long"),
        (Drop(), "connection"),
    ],
)
async def test_a_fault_of_a_streamed_answer_has_the_reason_of_an_unstreamed_one(
    api: Any, step: Any, reason: str
) -> None:
    async with ScriptedProvider(then=step) as provider, model_at(provider, api) as model:
        seen = Seen()
        with pytest.raises(ProviderError) as failure:
            await seen.run(model)
    assert failure.value.reason == reason


async def test_a_viewer_that_leaves_gives_the_place_back(api: Any) -> None:
    waiting = Hang()
    async with ScriptedProvider(waiting) as provider, model_at(provider, api) as model:
        seen = Seen()
        task = asyncio.create_task(seen.run(model))
        await provider.arrival()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not seen.places.locked()


@pytest.mark.parametrize("model", [ScriptedModel([says("Hello.")]), OfflineModel()])
async def test_a_model_of_our_own_streams_too(model: Model) -> None:
    seen = Seen()
    await seen.run(model)
    assert seen.answer
