"""A call about one task, held against the words with which the person named it."""

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests.support.scripting import calls, says
from backend.tests.support.task_calls import add, listed
from backend.tests.test_chat import chat


@pytest.mark.parametrize("tool", ["delete_task", "complete_task"])
async def test_where_two_tasks_fit_the_words_the_model_is_to_ask_which(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, tool: str
) -> None:
    oat, boil = await add(alice, "Buy oat milk"), await add(alice, "Boil milk")
    await add(bob, "Her milk")
    taken = calls(tool, {"task_id": oat["id"]})
    model.extend([taken, says("Which one?"), taken, says("That one.")])
    asked = await chat(alice, "I am done with the milk task, drop it")
    error = asked["tool_calls"][0]["result"]["error"]
    assert f'[{oat["id"]}, "Buy oat milk"]' in error
    assert f'[{boil["id"]}, "Boil milk"]' in error
    assert "Her milk" not in error
    assert [task["completed"] for task in await listed(alice)] == [False, False]
    told = await chat(alice, "The oat one", conversation_id=asked["conversation_id"])
    assert told["tool_calls"][0]["result"]["success"] is True
    assert len(await listed(bob)) == 1


@pytest.mark.parametrize(
    "words",
    ["Delete it", "Delete boil milk", "Delete both milk tasks", "The second milk task", "Pudding"],
)
async def test_where_the_words_leave_no_doubt_nobody_is_asked(
    alice: httpx.AsyncClient, model: ScriptedModel, words: str
) -> None:
    await add(alice, "Buy oat milk")
    boil = await add(alice, "Boil milk")
    model.extend([calls("delete_task", {"task_id": boil["id"]}), says("Gone.")])
    (call,) = (await chat(alice, words))["tool_calls"]
    assert call["result"]["success"] is True


async def test_a_model_that_insists_is_obeyed(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    await add(alice, "Buy oat milk")
    boil = await add(alice, "Boil milk", priority="high")
    taken = calls("delete_task", {"task_id": boil["id"]})
    model.extend([taken, taken, says("Gone.")])
    calls_made = (await chat(alice, "Delete the urgent milk"))["tool_calls"]
    assert [call["result"]["success"] for call in calls_made] == [False, True]
    assert [task["title"] for task in await listed(alice)] == ["Buy oat milk"]
