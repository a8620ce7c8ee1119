"""What one person has stored: bounded in an answer, and written in turns with other requests."""

import asyncio
import json
from collections.abc import Iterator
from itertools import groupby
from time import perf_counter

import httpx
from agents.testing import ScriptedModel

from backend.conversations.messages import CONTEXT_MAX_BYTES
from backend.conversations.tool_calls import RECORD_MAX_BYTES
from backend.fair_turns import TURN_SECONDS, all_in_turns, own_turn
from backend.tests.conversations.test_history import conversation_of, message_in
from backend.tests.support.databases import Sessions, scalar
from backend.tests.support.scripting import given, says
from backend.tests.test_chat import chat, messages_of
from backend.tests.turns.test_again import added, again

PAGES = 2
A_PAGE = 4
"""Messages of the longest records that one page holds."""


def record() -> str:
    """Half a megabyte."""
    tasks = [{"task_id": n, "title": f"Task {n}"} for n in range(12_500)]
    return json.dumps([{"tool": "list_tasks", "args": {}, "result": {"tasks": tasks}}])


async def long_conversation(sessions: Sessions, user_id: str) -> int:
    conversation_id = await conversation_of(sessions, user_id)
    for number in range(PAGES * A_PAGE):
        said = {"status": "complete", "tool_calls_json": record()}
        await message_in(sessions, conversation_id, user_id, "assistant", f"a{number}", **said)
    return conversation_id


async def test_a_page_of_long_records_ends_early_and_none_is_left_out(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    conversation_id = await long_conversation(sessions, alice_id)
    opened = (await alice.get(f"/api/conversations/{conversation_id}?limit=100")).json()
    pages = []
    following: str | None = f"/api/conversations/{conversation_id}/messages?limit=100"
    while following:
        answer = await alice.get(following)
        pages.append(answer.json())
        following = answer.links["next"]["url"] if "next" in answer.links else None
    assert [len(page) for page in pages] == [A_PAGE] * PAGES
    assert (opened["messages"], opened["next"] is None) == (pages[0], False)
    contents = [message["content"] for page in reversed(pages) for message in page]
    assert contents == [f"a{number}" for number in range(PAGES * A_PAGE)]
    ui = (await alice.get(f"/api/ui/chat/{conversation_id}", params={"limit": 100})).json()
    assert [part["text"] for each in ui for part in each["parts"] if part["type"] == "text"] == [
        message["content"] for message in pages[0]
    ]
    export = await alice.get(f"/api/conversations/{conversation_id}/export")
    assert [message["content"] for message in export.json()["messages"]] == contents
    markdown = (
        await alice.get(f"/api/conversations/{conversation_id}/export?format=markdown")
    ).text
    assert markdown.endswith(f"{len(contents)} messages.\n")


async def test_of_long_records_as_many_are_read_for_a_model_as_fit(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, model: ScriptedModel
) -> None:
    conversation_id = await conversation_of(sessions, alice_id)
    fit = -(-CONTEXT_MAX_BYTES // len(record()))
    for number in range(fit + 3):
        await message_in(sessions, conversation_id, alice_id, "user", f"q{number}")
        said = {"status": "complete", "tool_calls_json": record()}
        await message_in(sessions, conversation_id, alice_id, "assistant", f"a{number}", **said)
    model.extend([says("Fine.")])
    await chat(alice, "How is it?", conversation_id=conversation_id)
    told = [item["content"] for item in given(model) if item.get("role") == "assistant"]
    whole = range(4, fit + 3)  # of the one that passes the bound the question is not read
    assert told == [f"a{number}" for number in whole]


async def test_answers_that_were_replaced_are_kept_as_far_as_they_fit(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions, shared_database_url: str
) -> None:
    number, _, said = await added(alice, model)
    long = {"message": "?", "content": "long", "tool_calls": json.loads(record())}
    kept = json.dumps([long | {"replaced_at": "2026-01-31T00:00:00Z"}])
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "UPDATE messages SET replaced_json = %s WHERE id = %s", (kept, said)
        )
    for _ in range(3):
        model.extend([says("Again " * 2000)])
        assert (await again(alice, said)).status_code == 200
    size = f"SELECT octet_length(replaced_json) FROM messages WHERE id = {said}"
    assert await scalar(shared_database_url, size) <= RECORD_MAX_BYTES
    shown = (await messages_of(alice, number))[1]["replaced"]
    assert [answer["content"][:5] for answer in shown] == ["Milk ", "Again", "Again"]


async def test_of_those_with_long_work_one_at_a_time_is_in_the_way_of_others() -> None:
    log: list[str] = []

    def long_work(name: str) -> Iterator[str]:
        for _ in range(3):
            ends = perf_counter() + TURN_SECONDS
            while perf_counter() < ends:
                pass
            log.append(name)
            yield name

    async def others() -> None:
        while True:
            log.append("others")
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    await asyncio.gather(*(all_in_turns(long_work(name)) for name in "abc"))
    waiting.cancel()
    runs = [list(entries) for who, entries in groupby(log, "others".__eq__) if not who]
    assert sum(map(len, runs)) == 9
    assert max(map(len, runs)) <= 2  # one in each round of the loop


async def test_long_work_that_is_not_to_be_divided_is_done_in_a_round_of_the_loop_each() -> None:
    rounds = 0
    begun: list[int] = []

    async def count() -> None:
        nonlocal rounds
        while len(begun) < 5:
            rounds += 1
            await asyncio.sleep(0)

    async def work() -> None:
        await own_turn()
        begun.append(rounds)

    async with asyncio.TaskGroup() as group:
        group.create_task(count())
        for _ in range(5):
            group.create_task(work())
    assert len({*begun}) == 5
