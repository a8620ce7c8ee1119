"""Conversations that go on for months: bounded, summed up, and honest where they are too long."""

import json
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel

from backend.agent.budgets import budget_of
from backend.agent.context.titles import INSTRUCTIONS
from backend.agent.models.run_model import TOO_LONG, ProviderError
from backend.tests.agent.test_afterwork import kept_of, said
from backend.tests.agent.test_context import assert_valid
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run, settled
from backend.tests.support.scripting import calls, given, outputs, says, together
from backend.tests.test_chat import chat, messages_of

pytestmark = pytest.mark.long

TOO_MUCH = ModelStep.raise_error(ProviderError(TOO_LONG))


async def test_many_turns_stay_within_bounds(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, sessions: Sessions
) -> None:
    """With a title and summaries by the model, and a list of tasks asked for now and then."""

    async def answer(call: Any) -> ModelStep:
        if not call.tools:
            return ModelStep(
                output=says("A title" if call.system_instructions == INSTRUCTIONS else NOTES)
            )
        last = call.input[-1]
        if str(last.get("content")).startswith("Show"):
            return ModelStep(output=calls("list_tasks"))
        return ModelStep(output=says("Here is an answer of a usual length, of one sentence."))

    for number in range(20):
        await alice.post("/api/tasks", json={"title": f"Task {number}"})
    model.extend([ModelStep.respond(answer)] * 2 * TURNS)
    async with run(alice, ai_summaries=True, rate_limit_chat="10000/minute") as client:
        conversation_id: Any = None
        for number in range(TURNS):
            message = f"{'Show my tasks' if number % 10 == 5 else 'Tell me more'}, {number}"
            turn = await chat(client, message, conversation_id=conversation_id)
            conversation_id = turn["conversation_id"]
        await settled(client)
    kept = await kept_of(sessions, conversation_id)
    assert (kept["title"], kept["summary"]) == ("A title", NOTES)
    assert_bounded(model)


TURNS = 160
"""In which the cut moves about ten times; `make bench` has longer ones."""
NOTES = "Notes: the person asks for more, and for the tasks from time to time."


def assert_bounded(model: ScriptedModel) -> None:
    count = budget_of("gpt-4o-mini", 128_000).tokenizer.count_items
    runs = [call.input for call in model.calls if call.tools and isinstance(call.input, list)]
    tokens = [count(items) for items in runs]
    for items in runs[::10]:
        assert_valid(items)
    assert max(tokens[TURNS // 2 :]) <= 1.2 * max(tokens[50 : TURNS // 2])
    messages = [sum(item.get("role") is not None for item in items) for items in runs]
    # the summary and the day's context besides
    assert max(messages) <= 50 + 2
    notes = [call for call in model.calls if not call.tools]
    assert TURNS / 15 <= len(notes) <= 1 + TURNS / 9


async def long_one(client: httpx.AsyncClient, model: ScriptedModel, turns: int = 8) -> int:
    conversation_id: Any = None
    for number in range(turns):
        model.extend([says(f"a{number} {'word ' * 400}")])
        turn = await chat(client, f"m{number}", conversation_id=conversation_id)
        conversation_id = turn["conversation_id"]
    return int(conversation_id)


async def test_a_model_that_says_it_is_too_long_gets_half_of_it_once(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    conversation_id = await long_one(alice, model)
    model.extend([TOO_MUCH, says("Now it fits.")])
    turn = await chat(alice, "and?", conversation_id=conversation_id)
    assert turn["response"] == "Now it fits."
    count = budget_of("gpt-4o-mini", 128_000).size
    assert count(given(model)) <= count(given(model, -2)) / 2
    assert said(model)[-1] == "and?"
    await settled(alice)
    kept = await kept_of(sessions, conversation_id)
    model.extend([says("Yes.")])
    await chat(alice, "still?", conversation_id=conversation_id)
    messages = await messages_of(alice, conversation_id)
    first = next(m["content"] for m in messages if m["id"] == kept["context_from"])
    assert said(model)[1] == first != "m0"


async def test_too_long_again_is_an_honest_failure_and_the_next_turn_begins_shorter(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    conversation_id = await long_one(alice, model)
    model.extend([TOO_MUCH, TOO_MUCH])
    body = {"message": "and?", "conversation_id": conversation_id}
    refused = await alice.post("/api/chat", json=body)
    assert refused.status_code == 503
    assert refused.json()["error"]["details"]["reason"] == "context_too_long"
    assert refused.json()["error"]["details"]["tool_calls"] is None
    await settled(alice)
    model.extend([says("Now it fits.")])
    turn = await chat(alice, "and now?", conversation_id=conversation_id)
    assert turn["response"] == "Now it fits."
    assert len(given(model)) < len(given(model, -3))


async def test_once_a_tool_has_run_too_long_is_a_failure_with_its_record(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), TOO_MUCH])
    refused = await alice.post("/api/chat", json={"message": "Add milk"})
    details = refused.json()["error"]["details"]
    assert (refused.status_code, details["reason"]) == (503, "context_too_long")
    assert details["tool_calls"][0]["result"]["title"] == "Milk"
    assert (await alice.get("/api/tasks")).json()["total"] == 1
    assert len(model.calls) == 2


async def test_too_long_once_a_tool_has_run_lets_the_next_turn_begin_shorter(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    conversation_id = await long_one(alice, model)
    model.extend([calls("list_tasks"), TOO_MUCH])
    body = {"message": "list them", "conversation_id": conversation_id}
    assert (await alice.post("/api/chat", json=body)).status_code == 503
    whole = len(given(model, -2))
    await settled(alice)
    model.extend([says("Here they are.")])
    await chat(alice, "and now?", conversation_id=conversation_id)
    assert len(given(model)) < whole


async def test_a_result_of_an_earlier_attempt_is_not_lost_to_the_shorter_one(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), ModelStep.raise_error(RuntimeError())])
    assert (await alice.post("/api/chat", json={"message": "Add milk"})).status_code == 503
    model.extend([TOO_MUCH, calls("add_task", {"title": "Milk"}), says("It is there.")])
    turn = await chat(alice, "Add milk")
    assert turn["response"] == "It is there."
    assert (await alice.get("/api/tasks")).json()["total"] == 1


async def many_tasks(
    alice: httpx.AsyncClient, run: Run, number: int, description: str = "Some words. " * 20
) -> None:
    async with run(alice, rate_limit_tasks="1000/minute") as client:
        for each in range(number):
            new = {"title": f"Task {each}", "description": description}
            assert (await client.post("/api/tasks", json=new)).status_code == 201


async def test_a_long_list_is_cut_for_the_model_alone_and_alike_in_every_turn(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    await many_tasks(alice, run, 100)
    model.extend([calls("list_tasks"), says("These."), says("Yes.")])
    turn = await chat(alice, "Show my tasks")
    assert len(turn["tool_calls"][0]["result"]["tasks"]) == 100
    [shown] = outputs(model)
    left_out = 100 - len(shown["tasks"])
    assert shown["note"] == f"{left_out} more tasks are left out here."
    assert shown["count"] == 100
    in_the_run = given(model)[-1]["output"]
    await chat(alice, "All?", conversation_id=turn["conversation_id"])
    assert given(model)[2]["output"] == in_the_run


async def test_what_the_run_itself_adds_is_kept_within_the_window(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    await many_tasks(alice, run, 40, "x")
    budget = budget_of("gpt-4", 8_192)
    async with run(alice, openai_model="gpt-4") as client:
        conversation_id = await long_one(client, model, 4)
        # the same call in a later answer would be the last one with tools
        asked: list[dict[str, Any]] = [{}, {"status": "all"}, {"status": "pending"}]
        lists = [together(*(calls("list_tasks", each) for _ in range(3))) for each in asked]
        model.extend([*lists, says("These.")])
        turn = await chat(client, "Show my tasks", conversation_id=conversation_id)
    assert [len(call["result"]["tasks"]) for call in turn["tool_calls"]] == [40] * 9
    for call in range(-4, 0):
        assert budget.size(given(model, call)) <= budget.tokens
        assert_valid(given(model, call))
    assert len(outputs(model)) == 9
    assert said(model)[-1] == "Show my tasks"


async def test_a_smaller_model_is_given_less_from_its_first_turn_on(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    budget = budget_of("gpt-4", 8_192)
    conversation_id = await long_one(alice, model)
    async with run(alice, rate_limit_chat="100/minute") as client:
        for number in range(6):
            model.extend([says("word " * 1000)])
            await chat(client, f"n{number}", conversation_id=conversation_id)
    assert budget.size(given(model)) > budget.tokens
    async with run(alice, rate_limit_chat="100/minute", openai_model="gpt-4") as client:
        model.extend([says("Hello.")])
        await chat(client, "and you?", conversation_id=conversation_id)
    assert budget.size(given(model)) <= budget.tokens
    assert len(given(model)) > 2


@pytest.mark.parametrize("window_of", ["gpt-4", "a-small-one"])
async def test_a_small_window_is_kept_to_with_long_messages(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run, window_of: str
) -> None:
    budget = budget_of(window_of, 8_192)
    async with run(alice, openai_model=window_of, rate_limit_chat="1000/minute") as client:
        conversation_id: Any = None
        for number in range(12):
            model.extend([says(f"{number} {json.dumps('wörter ' * 300)}")])
            message = f"{number} {'much to say ' * 100}"
            turn = await chat(client, message, conversation_id=conversation_id)
            conversation_id = turn["conversation_id"]
            assert budget.size(given(model)) <= budget.tokens
            assert said(model)[-1].startswith(f"{number} much")
    assert "notes, never instructions" in said(model)[0]
