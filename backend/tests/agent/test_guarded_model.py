"""A model that goes in circles has to answer, and a call in words is neither shown nor made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from agents import RunConfig, Runner
from agents.testing import ScriptedModel

from backend.agent.chat_agent import create_agent
from backend.agent.models.run_model import RunModel
from backend.agent.models.told_model import ToldModel
from backend.agent.signatures import AddTask
from backend.agent.tools import create_tools_for_user
from backend.agent.words.answers import NOTHING_DONE, is_only_a_call
from backend.agent.words.events import Telling
from backend.database import Session
from backend.journal.spending import Spending
from backend.tests.support.fixtures import Run
from backend.tests.support.provider_wire import Answer, FunctionCall, Request
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.scripting import calls, given, says, together, unsaved_turn
from backend.tests.test_chat import chat

NAMES = ("add_task", "list_tasks", "complete_task", "delete_task", "update_task")
ONLY_CALLS = [
    '{"name": "add_task", "arguments": {"title": "Buy milk"}}',
    '```json\n{"name": "add_task", "parameters": {"title": "Buy milk"}}\n```',
    '[{"name": "functions.add_task", "arguments": {"title": "Buy milk"}}]',
    '{"add_task": {"title": "Buy milk"}}',
    '{"function": {"name": "add_task", "arguments": "{}"}}',
    '{"tool": "remember", "args": {"what": "milk"}}',
    '{"name": "add_task", "arguments": {"title": "Buy',
    'add_task(title="Buy milk")',
    'functions.add_task({"title": "Buy milk"})',
    "call update_task with task_id 3 and the title Buy milk",
    "Call `add_task` with title: Buy milk",
    "I'll use the add_task tool to add Buy milk.",
    "Let me call list_tasks.",
    "list_tasks",
    "update_task: 3, done",
    "I will call the tool again with the day that was said, 2026-11-27.",
    "Let me now use this function.",
]
WORDS = [
    "Added it.",
    "I added milk with add_task.",
    "You can say: add_task is what I use to add a task.",
    "{milk} and [bread] are on your list.",
    "[Buy milk](task 1)",
    "add_task is a tool that I have.",
    "To add a task I call add_task for you.",
    "I will call the toolmaker for you: that is on your list.",
    "The tool said that there is no such task.",
    "",
]


@pytest.mark.parametrize("text", ONLY_CALLS)
def test_a_text_that_is_only_a_call_is_known(text: str) -> None:
    assert is_only_a_call(text, NAMES)


@pytest.mark.parametrize("text", WORDS)
def test_words_about_a_tool_are_words(text: str) -> None:
    assert not is_only_a_call(text, NAMES)


async def total(client: httpx.AsyncClient) -> int:
    return int((await client.get("/api/tasks")).json()["total"])


@pytest.mark.parametrize("text", ONLY_CALLS[:3] + ONLY_CALLS[9:11] + ONLY_CALLS[15:16])
async def test_a_call_in_words_is_asked_about_once_and_then_made_or_owned_up_to(
    alice: httpx.AsyncClient, model: ScriptedModel, text: str
) -> None:
    model.extend([says(text), calls("add_task", {"title": "Milk"}), says("Added.")])
    turn = await chat(alice, "Add milk")
    assert turn["response"] == "Added."
    assert await total(alice) == 1
    assert "tool call written as text" in str(given(model, 1)[-1])
    model.extend([says(text), says(text)])
    turn = await chat(alice, "Add bread")
    assert turn["response"] == NOTHING_DONE
    assert turn["tool_calls"] is None
    assert await total(alice) == 1
    model.extend([calls("add_task", {"title": "Eggs"}), says(text), says(text)])
    turn = await chat(alice, "Add eggs")
    assert turn["response"].startswith("Done so far: added task ")


async def test_a_call_that_is_repeated_is_the_last_one(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    twice = [calls("complete_task", {"task_id": 999_999}) for _ in range(2)]
    model.extend([*twice, says("There is no such task.")])
    turn = await chat(alice, "Complete it")
    assert len(turn["tool_calls"]) == 2
    assert turn["response"] == "There is no such task."
    choices = [call.model_settings.tool_choice for call in model.calls]
    assert choices == [None, None, "none"]


async def test_a_model_that_calls_all_the_same_is_answered_for_out_of_the_record(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Again"}) for _ in range(20)])
    turn = await chat(alice, "loop")
    assert len(turn["tool_calls"]) == 2
    assert turn["response"].count("added task") == 2
    assert await total(alice) == 2


async def test_looking_without_end_ends_with_what_was_seen(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    await alice.post("/api/tasks", json={"title": "Buy milk"})
    model.extend([calls("list_tasks", {"search": "milk", "limit": n + 1}) for n in range(20)])
    turn = await chat(alice, "What do I need?")
    assert len(turn["tool_calls"]) == 4
    assert turn["response"].startswith("This is what I found:\n- Buy milk (task ")


async def test_the_list_may_be_looked_at_again_once_it_has_changed(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    steps = [calls("list_tasks"), calls("add_task", {"title": "One"})]
    model.extend([*steps, calls("list_tasks"), calls("add_task", {"title": "Two"}), says("Both.")])
    turn = await chat(alice, "Add two")
    assert len(turn["tool_calls"]) == 4
    assert turn["response"] == "Both."


async def test_two_of_a_kind_that_are_asked_for_at_once_are_two(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    milk = [calls("add_task", {"title": "Milk"}) for _ in range(2)]
    model.extend([together(*milk), calls("list_tasks"), says("Two.")])
    assert len((await chat(alice, "Add milk twice"))["tool_calls"]) == 3


@pytest.mark.parametrize("empty", ["None", "null", "N/A", "n/a.", "", None])
async def test_what_a_model_writes_for_nothing_is_nothing(
    alice: httpx.AsyncClient, model: ScriptedModel, empty: Any
) -> None:
    described = AddTask.model_fields["due_date"].description
    arguments = {"title": "Milk", "description": empty, "due_date": described, "priority": empty}
    arguments |= {"steps": [empty], "tags": [empty, None]}
    model.extend([calls("add_task", arguments), says("Added.")])
    [call] = (await chat(alice, "Add milk"))["tool_calls"]
    assert call["args"] == {"title": "Milk"}
    assert (call["result"]["description"], call["result"]["due_date"]) == ("", None)
    model.extend([calls("update_task", {"task_id": 1, "title": empty}), says("Nothing to do.")])
    [call] = (await chat(alice, "Change it"))["tool_calls"]
    assert call["result"]["error_code"] == "VALIDATION_ERROR"


def required(request: Request, name: str) -> list[str]:
    tools = [tool["function"] for tool in request.body["tools"]]
    [schema] = [tool["parameters"] for tool in tools if tool["name"] == name]
    assert "null" not in str(schema)
    needed: list[str] = schema["required"]
    return needed


async def test_without_strict_what_need_not_be_given_is_optional(
    run: Run, alice: httpx.AsyncClient
) -> None:
    add = Answer(calls=(FunctionCall("add_task", '{"title": "Milk"}'),))
    async with ScriptedProvider(add, Answer("Added.")) as provider:
        local = {"base_url": provider.base_url, "models": ["small"], "strict": False}
        given_settings = {"providers": {"local": local}, "default_provider": "local"}
        async with run(alice, None, **given_settings) as client:
            await chat(client, "Add milk")
    [first, _] = provider.requests
    assert required(first, "add_task") == ["title"]
    assert required(first, "update_task") == ["task_id"]
    assert required(first, "list_tasks") == []


async def test_a_call_in_words_is_shown_to_no_viewer_either() -> None:
    told: list[Any] = []
    telling = Telling(told.append, NAMES)
    turn = unsaved_turn()
    words = ['{"name": "add_task", "arguments": {"title": "Milk"}}', "call add_task with Milk"]
    model = ScriptedModel([says(words[0]), says("Added."), says(words[1]), says(words[0])])
    for answer in ("Added.", NOTHING_DONE):
        run = RunModel(model, nowhere, Spending())
        agent = create_agent(
            ToldModel(run, telling), create_tools_for_user("u", cast(Session, None), turn), turn
        )
        result = await Runner.run(agent, "Add milk", run_config=RunConfig(tracing_disabled=True))
        assert telling.conclude(str(result.final_output)).endswith(answer)
    assert "".join(part["say"] for part in told) == f"Added.\n\n{NOTHING_DONE}"


@asynccontextmanager
async def nowhere() -> AsyncIterator[None]:
    yield
