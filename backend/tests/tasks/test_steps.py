"""Steps of a task: one level, fifty at most, in an order that no two pages can spoil."""

import asyncio
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import StepNotFound
from backend.tasks import steps
from backend.tasks.steps import Step
from backend.tests.support.scripting import calls, says
from backend.tests.support.task_calls import add, change, listed, toggle
from backend.tests.test_chat import chat, messages_of

STEPS = st.lists(
    st.builds(Step, id=st.integers(1, 60), title=st.sampled_from("abc"), done=st.booleans()),
    max_size=20,
    unique_by=lambda step: step["id"],
)
IDS = st.lists(st.integers(1, 60), max_size=30)


@given(STEPS, IDS)
def test_an_order_loses_and_doubles_no_step(before: list[Step], ids: list[int]) -> None:
    after = steps.in_order(before, ids)
    assert sorted(map(str, after)) == sorted(map(str, before))
    named = [step["id"] for step in after if step["id"] in ids]
    assert named == list(dict.fromkeys(id_ for id_ in ids if id_ in {s["id"] for s in before}))
    rest = [step for step in before if step["id"] not in ids]
    assert after[len(named) :] == rest
    assert steps.in_order(after, ids) == after


@given(STEPS, st.integers(0, 25), st.data())
def test_a_change_moves_one_step_and_leaves_the_others_as_they_stood(
    before: list[Step], position: int, data: st.DataObject
) -> None:
    if not before:
        with pytest.raises(StepNotFound):
            steps.with_change(before, 1, {})
        return
    step = data.draw(st.sampled_from(before))
    after = steps.with_change(before, step["id"], {"position": position, "done": True})
    others = [each for each in before if each is not step]
    assert [each for each in after if each["id"] != step["id"]] == others
    assert after.index(step | {"done": True}) == min(position, len(others))


@given(STEPS, st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=20))
def test_steps_that_are_given_by_title_keep_their_ids_where_they_were(
    before: list[Step], wanted: list[tuple[str, bool]]
) -> None:
    after = steps.with_titles(before, wanted)
    assert [(step["title"], step["done"]) for step in after] == wanted
    ids = [step["id"] for step in after]
    assert len(set(ids)) == len(ids)
    known = {step["id"]: step["title"] for step in before}
    for title in "abc":
        kept = [s["id"] for s in after if s["title"] == title and known.get(s["id"]) == title]
        there = sum(step["title"] == title for step in before) > 0
        assert len(kept) >= min(there, sum(each == title for each, _ in wanted))


def titles(task: Any) -> str:
    return "".join(step["title"] for step in task["steps"])


async def test_steps_are_added_changed_ordered_and_taken_away(alice: httpx.AsyncClient) -> None:
    task = await add(alice, steps=[{"title": "a"}, {"title": " b ", "done": True}])
    path = f"/api/tasks/{task['id']}/steps"
    a, b = task["steps"]
    assert (b["title"], b["done"], a["done"]) == ("b", True, False)
    added = await alice.post(path, json={"title": "c", "position": 0})
    assert (added.status_code, titles(added.json())) == (201, "cab")
    ticked = await alice.patch(f"{path}/{a['id']}", json={"done": True})
    assert ticked.json()["steps"][1] == a | {"done": True}
    moved = await alice.patch(f"{path}/{a['id']}", json={"position": 9, "title": "z"})
    assert titles(moved.json()) == "cbz"
    ordered = await alice.put(f"{path}/order", json={"ids": [a["id"], 12345, b["id"]]})
    assert titles(ordered.json()) == "zbc"
    assert (await alice.delete(f"{path}/{b['id']}")).status_code == 204
    left = (await listed(alice))[0]
    assert titles(left) == "zc"
    assert left["updated_at"] > task["updated_at"]
    whole = await change(alice, left, steps=[{"id": a["id"], "title": "y"}, {"title": "x"}])
    assert (titles(whole), whole["steps"][0]["id"]) == ("yx", a["id"])
    assert (await change(alice, whole, title="other"))["steps"] == whole["steps"]
    assert (await change(alice, whole, steps=None))["steps"] == []


async def test_there_are_at_most_fifty(alice: httpx.AsyncClient) -> None:
    fifty = [{"title": f"{n}"} for n in range(50)]
    task = await add(alice, steps=fifty)
    path = f"/api/tasks/{task['id']}/steps"
    for answer in (
        await alice.post("/api/tasks", json={"title": "x", "steps": [*fifty, {"title": "51"}]}),
        await alice.put(f"/api/tasks/{task['id']}", json={"steps": [*fifty, {"title": "51"}]}),
        await alice.post(path, json={"title": "51"}),
        await alice.post(path, json={"title": "\u200b"}),
        await alice.patch(f"{path}/{task['steps'][0]['id']}", json={"title": "x" * 201}),
        await alice.put(f"{path}/order", json={"ids": ["x"]}),
    ):
        assert answer.status_code == 422, answer.text
    assert len((await listed(alice))[0]["steps"]) == 50


async def test_someone_elses_steps_and_those_that_are_none_are_not_found(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    task = await add(alice, steps=[{"title": "a"}])
    mine = await add(bob)
    step = task["steps"][0]["id"]
    for client, task_id, code in ((bob, task["id"], "TASK"), (bob, mine["id"], "STEP")):
        path = f"/api/tasks/{task_id}/steps"
        for answer in (
            await client.patch(f"{path}/{step}", json={"done": True}),
            await client.delete(f"{path}/{step}"),
        ):
            assert answer.json()["error"]["code"] == f"{code}_NOT_FOUND"
    for answer in (
        await bob.post(f"/api/tasks/{task['id']}/steps", json={"title": "x"}),
        await bob.put(f"/api/tasks/{task['id']}/steps/order", json={"ids": [step]}),
    ):
        assert answer.status_code == 404
    assert await listed(alice) == [task]


async def test_two_pages_that_order_add_and_tick_at_once_lose_nothing(
    alice: httpx.AsyncClient,
) -> None:
    task = await add(alice, steps=[{"title": letter} for letter in "abcdef"])
    ids = [step["id"] for step in task["steps"]]
    path = f"/api/tasks/{task['id']}/steps"
    answers = await asyncio.gather(
        alice.put(f"{path}/order", json={"ids": ids[::-1]}),
        alice.put(f"{path}/order", json={"ids": ids[2:] + ids[:2]}),
        *(alice.patch(f"{path}/{id_}", json={"done": True}) for id_ in ids),
        *(alice.post(path, json={"title": f"{n}"}) for n in range(4)),
        alice.delete(f"{path}/{ids[0]}"),
    )
    assert all(answer.status_code in (200, 201, 204, 404) for answer in answers)
    left = (await listed(alice))[0]["steps"]
    assert sorted(step["title"] for step in left) == [*"0123", *"bcdef"]
    assert all(step["done"] for step in left if step["title"] in "bcdef")
    order = [step["id"] for step in left if step["id"] in ids]
    assert order in ([*ids[:0:-1]], [*ids[2:], ids[1]])


async def test_a_task_that_comes_round_again_has_its_steps_open(alice: httpx.AsyncClient) -> None:
    task = await add(
        alice, steps=[{"title": "a", "done": True}, {"title": "b"}], recurrence_pattern="daily"
    )
    await toggle(alice, task)
    following, same = await listed(alice)
    assert same["steps"] == task["steps"]
    assert [(step["title"], step["done"]) for step in following["steps"]] == [
        ("a", False),
        ("b", False),
    ]


async def test_the_model_breaks_a_task_down_ticks_a_step_and_undo_takes_it_back(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await add(alice, "Paint the kitchen", steps=[{"title": "Buy paint"}])
    broken = {"task_id": task["id"], "steps": ["[x] Buy paint", "Tape", "[ ] Paint "]}
    model.extend([calls("update_task", broken), says("Broken down.")])
    turn = await chat(alice, "break it down")
    result = turn["tool_calls"][0]["result"]
    assert result["steps"] == ["[x] Buy paint", "Tape", "Paint"]
    assert turn["tool_calls"][0]["args"] == broken
    now = (await listed(alice))[0]["steps"]
    assert now[0] == task["steps"][0] | {"done": True}
    message = (await messages_of(alice, turn["conversation_id"]))[-1]
    assert (await alice.post(f"/api/messages/{message['id']}/undo")).status_code == 200
    assert await listed(alice) == [task]
    for wrong in (["x"] * 51, "one, two", [1], ["\u200b"]):
        model.extend([calls("update_task", {"task_id": task["id"], "steps": wrong}), says("No.")])
        turn = await chat(alice, "again")
        assert turn["tool_calls"][0]["result"]["error_code"] == "VALIDATION_ERROR"
