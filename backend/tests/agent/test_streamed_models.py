"""A model whose answer is streamed: the same answer, spending and faults as in one piece."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from agents import Agent, Model, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel

from backend.agent.models.offline import OfflineModel
from backend.agent.models.openai_client import open_models
from backend.agent.models.run_model import ProviderError, RunModel
from backend.journal.spending import Spending
from backend.settings.providers import OfferedModel, Provider
from backend.tests.support.provider_wire import Answer, Drop, Failure, FunctionCall, Hang, Raw
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


@pytest.mark.usefixtures("hurried")
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


def sse(*events: Any, done: bool = True) -> Raw:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    body = "".join([": keep-alive\n\n", *lines, "data: [DONE]\n\n" if done else ""])
    return Raw(body.encode(), content_type="text/event-stream; charset=utf-8")


def delta(reason: str | None = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": reason}]}


def text_in_pieces(text: str) -> list[dict[str, Any]]:
    return [delta(content=text[at : at + 3]) for at in range(0, len(text), 3)]


def piece(arguments: Any = None, **members: Any) -> dict[str, Any]:
    function = {"name": members.pop("name", None), "arguments": arguments}
    return delta(tool_calls=[{**members, "function": function}])


MILK = '{"title": "milk"}'
STREAMED_CALLS: dict[str, list[Any]] = {
    "in pieces": [
        piece("", index=0, id="a", name="add_task"),
        piece('{"title"', index=0),
        piece(': "milk"}', index=0),
        delta("tool_calls"),
    ],
    "no index": [piece('{"title": ', id="a", name="add_task"), piece('"milk"}'), delta("stop")],
    "no id": [piece(MILK, index=0, name="add_task"), delta("tool_calls")],
    "an object": [piece({"title": "milk"}, index=0, id="a", name="add_task"), delta("stop")],
    "the name each time": [
        piece('{"title": ', index=0, id="a", name="add_task"),
        piece('"milk"}', index=0, id="a", name="add_task"),
        delta("tool_calls"),
    ],
    "an empty one before": [piece("{}" + MILK, index=0, id="a", name="add_task"), delta("stop")],
    "the end with the call": [
        {
            "choices": [
                {
                    "delta": {
                        "tool_calls": [{"function": {"name": "add_task", "arguments": MILK}}]
                    },
                    "finish_reason": "tool_calls",
                }
            ]
        }
    ],
    "another choice": [
        delta(content="I add it."),
        {"choices": [{**piece(MILK, index=0, name="add_task")["choices"][0], "index": 1}]},
        delta("stop"),
    ],
    "written": [
        *text_in_pieces(f'<tool_call>{{"name": "add_task", "arguments": {MILK}}}</tool_call>'),
        delta("stop"),
    ],
    "a thought before": [
        *text_in_pieces("<think>Milk, then.</think>"),
        piece(MILK, index=0, id="a", name="functions.add_task"),
        delta("tool_calls"),
    ],
    "in one message": [
        {
            "choices": [
                {
                    "message": {
                        "tool_calls": [{"function": {"name": "add_task", "arguments": MILK}}]
                    },
                    "finish_reason": "tool_calls",
                }
            ]
        }
    ],
}
STREAMED_CALLS["a mark and no reason"] = [piece(MILK, index=0, id="a", name="add_task")]
HELLO = [*text_in_pieces("Hello, Alice."), delta("stop")]


@pytest.mark.parametrize("events", STREAMED_CALLS.values(), ids=STREAMED_CALLS.keys())
async def test_a_call_streamed_in_whatever_form_is_carried_out_once(events: list[Any]) -> None:
    async with (
        ScriptedProvider(sse(*events), sse(*HELLO)) as provider,
        model_at(provider, "chat_completions") as model,
    ):
        seen = Seen()
        await seen.run(model)
    assert seen.called == ["milk"]
    assert seen.answer == "Hello, Alice."
    assert not any(sign in "".join(seen.deltas) for sign in ("think", "tool_call", "Milk, then"))


async def test_two_calls_that_both_have_the_number_0_are_two() -> None:
    events = [
        piece('{"title": "milk"}', index=0, id="a", name="add_task"),
        piece('{"title": "bread"}', index=0, id="b", name="add_task"),
        delta("tool_calls"),
    ]
    async with (
        ScriptedProvider(sse(*events), sse(*HELLO)) as provider,
        model_at(provider, "chat_completions") as model,
    ):
        seen = Seen()
        await seen.run(model)
    assert seen.called == ["milk", "bread"]


@pytest.mark.parametrize(
    "text",
    [
        "<think>Hm.</think>Hello.",
        "<think>Hm.</think>\n\nHello.<|im_end|>",
        "Hello.\n<think>Was that all?",
        "[THINK]Hm.[/THINK]Hello.",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello.",
    ],
)
async def test_a_thought_is_not_shown_while_it_is_thought(text: str) -> None:
    async with (
        ScriptedProvider(sse(*text_in_pieces(text), delta("stop"))) as provider,
        model_at(provider, "chat_completions") as model,
    ):
        seen = Seen()
        await seen.run(model)
    assert seen.answer.strip() == "".join(seen.deltas).strip() == "Hello."


async def test_what_only_looks_like_markup_is_shown_to_its_end() -> None:
    text = "If 1 < 2 then [x] and a | b, `so` it is: <b>."
    async with (
        ScriptedProvider(sse(*text_in_pieces(text), delta("stop"))) as provider,
        model_at(provider, "chat_completions") as model,
    ):
        seen = Seen()
        await seen.run(model)
    assert seen.answer == "".join(seen.deltas) == text


BROKEN: dict[str, tuple[Any, str]] = {
    "an error in the middle": (
        sse(delta(content="Hel"), {"error": {"code": 502, "message": "no"}}),
        "unavailable",
    ),
    "a rate limit in the middle": (
        sse(delta(content="Hel"), {"error": {"code": 429}}),
        "rate_limited",
    ),
    "broken off": (sse(delta(content="Hel"), delta("error")), "unavailable"),
    "an error beside a choice": (sse({"choices": [{"error": {"code": 502}}]}), "unavailable"),
    "the end before the answer's": (sse(delta(content="Hel"), done=False), "connection"),
    "nothing": (sse(), "bad_answer"),
    "a page": (Raw(b"<html></html>", content_type="text/html"), "bad_answer"),
    "an error and no stream": (Raw(b'{"error": {"code": 401, "message": "no"}}'), "refused"),
}


@pytest.mark.parametrize(("step", "reason"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_stream_that_breaks_off_is_no_answer(step: Any, reason: str) -> None:
    async with (
        ScriptedProvider(then=step) as provider,
        model_at(provider, "chat_completions") as model,
    ):
        with pytest.raises(ProviderError) as failure:
            await Seen().run(model)
    assert failure.value.reason == reason


async def test_an_answer_in_one_piece_where_a_stream_was_asked_for_is_an_answer(api: Any) -> None:
    chat: dict[str, Any] = {
        "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]
    }
    body = (
        chat
        if api == "chat_completions"
        else {"output": [{"type": "message", "content": "Hello."}]}
    )
    async with (
        ScriptedProvider(Raw(json.dumps(body).encode())) as provider,
        model_at(provider, api) as model,
    ):
        seen = Seen()
        await seen.run(model)
    assert seen.answer == "".join(seen.deltas) == "Hello."


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (
            [{"type": "response.failed", "response": {"error": {"code": "server_error"}}}],
            "unavailable",
        ),
        ([{"type": "error", "code": "rate_limit_exceeded", "message": "no"}], "rate_limited"),
        ([{"type": "response.created", "response": {}}], "connection"),
        (
            [{"type": "response.completed", "response": {"status": "queued", "output": []}}],
            "unavailable",
        ),
    ],
)
async def test_a_streamed_response_that_is_not_whole_is_no_answer(
    events: list[Any], reason: str
) -> None:
    async with (
        ScriptedProvider(then=sse(*events, done=False)) as provider,
        model_at(provider, "responses") as model,
    ):
        with pytest.raises(ProviderError) as failure:
            await Seen().run(model)
    assert failure.value.reason == reason


async def test_usage_at_the_end_of_a_stream_may_have_any_shape() -> None:
    usages: list[Any] = [{"prompt_tokens": 10**19, "completion_tokens": 1}, "many", [1], None]
    async with ScriptedProvider() as provider, model_at(provider, "chat_completions") as model:
        for usage in usages:
            provider.add(sse(*HELLO, {"choices": [], "usage": usage}))
            seen = Seen()
            await seen.run(model)
            assert replace(seen.spending, waited=0.0) == Spending()
        provider.add(sse(*HELLO, {"usage": {"prompt_tokens": 10.0, "completion_tokens": 5}}))
        seen = Seen()
        await seen.run(model)
    assert (seen.spending.input, seen.spending.output) == (10, 5)
