"""What one user may have of the assistant: turns at once over all replicas, tokens in a day."""

import asyncio
from datetime import UTC, datetime
from itertools import islice

import httpx
from agents import Usage
from agents.testing import ModelStep, ScriptedModel

from backend.tests.journal.test_retries import conversations_of, run_sql, send
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import calls, says
from backend.tests.test_chat import chat
from backend.tests.turns.test_failures import LOST


class Thinking:
    """A model that thinks until it is let go on, and knows how many runs wait in it."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def _think(self, _: object) -> ModelStep:
        self.begun.release()
        await self.go_on.wait()
        return ModelStep(output=says("Thought."))

    def steps(self, number: int) -> list[ModelStep]:
        return [ModelStep.respond(self._think) for _ in range(number)]

    async def wait_for(self, number: int) -> None:
        async with asyncio.timeout(20):
            for _ in range(number):
                await self.begun.acquire()


def assert_too_many(answer: httpx.Response, running: int, allowed: int) -> None:
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert error["code"] == "RATE_LIMIT_EXCEEDED"
    assert error["details"] == {
        "limit": "chat_concurrency",
        "running": running,
        "allowed": allowed,
    }
    assert int(answer.headers["retry-after"]) >= 1


# Turns at once


async def test_three_turns_of_a_user_run_at_once_over_all_replicas_by_default(
    alice: httpx.AsyncClient,
    alice_id: str,
    bob: httpx.AsyncClient,
    model: ScriptedModel,
    run: Run,
    sessions: Sessions,
) -> None:
    thinking = Thinking()
    model.extend(thinking.steps(4))
    default = {"chat_concurrency": 3}
    async with run(alice, **default) as one, run(alice, **default) as two:
        turns = [asyncio.create_task(send(each, f"m{n}")) for n, each in enumerate([one, two, one])]
        await thinking.wait_for(3)
        assert_too_many(await send(one, "one more"), 3, 3)
        assert_too_many(await send(two, "one more"), 3, 3)
        assert await conversations_of(sessions, alice_id) == 3  # nothing of it was written
        async with run(bob, **default) as other:
            turns.append(asyncio.create_task(send(other, "hi")))
            await thinking.wait_for(1)
            thinking.go_on.set()
            assert {(await turn).status_code for turn in turns} == {200}
        model.extend([says("Now.")])
        assert (await send(two, "one more")).status_code == 200


async def test_of_many_that_begin_at_once_on_two_replicas_three_run(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    thinking = Thinking()
    model.extend([says("Start."), *thinking.steps(12)])
    settings = {"chat_concurrency": 3, "rate_limit_chat": "100/minute"}
    async with run(alice, **settings) as one, run(alice, **settings) as two:
        here = {"conversation_id": (await chat(one, "start"))["conversation_id"]}
        turns = [
            asyncio.create_task(send(each, f"m{n}", **(here if n % 3 else {})))
            for n, each in enumerate([one, two] * 6)
        ]
        async with asyncio.timeout(20):
            refused = [await each for each in islice(asyncio.as_completed(turns), 9)]
        thinking.go_on.set()
        answers = [await turn for turn in turns]
    assert {answer.status_code for answer in refused} == {429}
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 9


async def test_a_dead_process_counts_no_longer_than_its_lease(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, run: Run, sessions: Sessions
) -> None:
    died = """UPDATE messages SET status = 'running',
                lease_until = now() + :left * interval '1 second'
              WHERE user_id = :id AND role = 'assistant'"""
    async with run(alice, chat_concurrency=1) as client:
        model.extend([says("One."), says("Two.")])
        await chat(client, "one")
        await run_sql(sessions, died, id=alice_id, left=6)
        assert_too_many(await send(client, "two"), 1, 1)
        await run_sql(sessions, died, id=alice_id, left=-1)
        assert (await send(client, "two")).status_code == 200


async def test_a_retry_that_takes_up_its_turn_counts_and_changes_nothing_where_it_may_not(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, run: Run, sessions: Sessions
) -> None:
    thinking = Thinking()
    async with run(alice, chat_concurrency=1) as client:
        model.extend([LOST, *thinking.steps(1), says("Taken up.")])
        assert (await send(client, "failed", key="k")).status_code == 503
        turn = asyncio.create_task(send(client, "thinks"))
        await thinking.wait_for(1)
        for key in ("k", None):
            assert_too_many(await send(client, "failed", key=key), 1, 1)
        assert await conversations_of(sessions, alice_id) == 2
        thinking.go_on.set()
        await turn
        assert (await send(client, "failed", key="k")).json()["response"] == "Taken up."


async def test_one_that_waits_for_its_turn_or_gets_its_answer_again_does_not_count(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    thinking = Thinking()
    async with run(alice, chat_concurrency=1) as one, run(alice, chat_concurrency=1) as two:
        model.extend([says("Done."), *thinking.steps(1)])
        await send(one, "done", key="done")
        turn = asyncio.create_task(send(one, "thinks", key="thinks"))
        await thinking.wait_for(1)
        waiting = asyncio.create_task(send(two, "thinks", key="thinks"))
        replayed = await send(two, "done", key="done")
        assert replayed.headers["idempotency-replayed"] == "true"
        thinking.go_on.set()
        assert (await waiting).json() == (await turn).json()


async def test_many_at_once_under_one_key_are_one_turn_where_one_may_run(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    thinking = Thinking()
    model.extend(thinking.steps(1))
    async with run(alice, chat_concurrency=1) as one, run(alice, chat_concurrency=1) as two:
        turns = [asyncio.create_task(send(each, "hi", key="k")) for each in [one, two] * 4]
        await thinking.wait_for(1)
        thinking.go_on.set()
        answers = [await turn for turn in turns]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["conversation_id"] for answer in answers}) == 1


# Tokens in a day


def answer_of(text: str, tokens: int) -> ModelStep:
    """An answer that cost `tokens`, three quarters of them for the input."""
    used = Usage(requests=1, input_tokens=tokens * 3 // 4, output_tokens=tokens // 4)
    return ModelStep(output=says(text), usage=used)


async def test_past_the_budget_of_the_day_the_assistant_rests_until_midnight_utc(
    alice: httpx.AsyncClient,
    alice_id: str,
    bob: httpx.AsyncClient,
    model: ScriptedModel,
    run: Run,
    sessions: Sessions,
) -> None:
    async with run(alice, daily_token_budget=100) as client, run(bob, daily_token_budget=100) as b:
        model.extend([answer_of("One.", 80), answer_of("Two.", 40), answer_of("Bob's.", 8)])
        assert (await send(client, "one")).status_code == 200
        assert (await send(client, "two")).status_code == 200
        refused = await send(client, "three")
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert error["code"] == "RATE_LIMIT_EXCEEDED"
        resets_at = datetime.fromisoformat(error["details"].pop("resets_at"))
        assert error["details"] == {
            "limit": "daily_token_budget",
            "used_tokens": 120,
            "allowed_tokens": 100,
        }
        seconds = (resets_at - datetime.now(UTC)).total_seconds()
        assert resets_at.strftime("%H:%M:%S %z") == "00:00:00 +0000"
        assert 0 <= int(refused.headers["retry-after"]) - seconds <= 5
        assert await conversations_of(sessions, alice_id) == 2
        assert (await client.get("/api/tasks")).status_code == 200
        assert (await send(b, "hi")).status_code == 200


async def test_the_tokens_of_another_day_do_not_count(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, run: Run, sessions: Sessions
) -> None:
    began = """UPDATE messages SET created_at =
                 date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                 - :before * interval '1 ms'
               WHERE user_id = :id"""
    async with run(alice, daily_token_budget=100) as client:
        model.extend([answer_of("One.", 400), answer_of("Two.", 40)])
        assert (await send(client, "one")).status_code == 200
        await run_sql(sessions, began, id=alice_id, before=0)
        assert (await send(client, "two")).status_code == 429
        await run_sql(sessions, began, id=alice_id, before=1)
        assert (await send(client, "two")).status_code == 200


async def test_failed_turns_count_with_what_they_cost(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    listing = ModelStep(
        output=calls("list_tasks"), usage=Usage(requests=1, input_tokens=90, output_tokens=20)
    )
    async with run(alice, daily_token_budget=100) as client:
        model.extend([listing, LOST])
        assert (await send(client, "one")).status_code == 503
        assert (await send(client, "two")).status_code == 429


async def test_without_a_budget_there_is_no_end_of_tokens(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([answer_of("One.", 4_000_000), answer_of("Two.", 4_000_000)])
    assert [(await send(alice, text)).status_code for text in ("one", "two")] == [200, 200]
