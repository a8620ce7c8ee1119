"""What turns cost is recorded with each, and shown by day and model to whom they belong."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from agents import Usage
from agents.testing import ModelStep, ScriptedModel
from openai.types.responses.response_usage import InputTokensDetails

from backend.tests.journal.test_retries import run_sql, send
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import Step, calls, says
from backend.tests.turns.test_failures import LOST


def costing(output: Step, input_tokens: int, cached: int, output_tokens: int) -> ModelStep:
    details = InputTokensDetails(cached_tokens=cached, cache_write_tokens=0)
    used = Usage(
        requests=1,
        input_tokens=input_tokens,
        input_tokens_details=details,
        output_tokens=output_tokens,
    )
    return ModelStep(output=output, usage=used)


async def days_of(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"/api/usage{query}")
    assert answer.status_code == 200
    days: list[dict[str, Any]] = answer.json()["days"]
    return days


def cost_of(input_tokens: Any, cached_tokens: Any, output_tokens: Any, **_: object) -> float:
    """US dollars, at the price of gpt-4o-mini."""
    millionths = (input_tokens - cached_tokens) * 0.15 + cached_tokens * 0.075 + output_tokens * 0.6
    return float(millionths / 1_000_000)


def today(**values: object) -> dict[str, object]:
    """A day of the settings' model, today, with nothing but `values`."""
    nothing = {
        "date": datetime.now(UTC).date().isoformat(),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "turns": 0,
        "failed_turns": 0,
        "uncounted_turns": 0,
        "input_tokens": None,
        "cached_tokens": None,
        "output_tokens": None,
        "cost_usd": None,
        "unpriced_turns": 0,
    }
    if "input_tokens" in values:
        values = {"cost_usd": pytest.approx(cost_of(**values))} | values
    return nothing | values


async def test_an_answered_turn_shows_what_all_its_model_calls_cost(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([costing(calls("list_tasks"), 100, 0, 10), costing(says("None."), 150, 100, 5)])
    assert (await send(alice, "What is there?")).status_code == 200
    assert await days_of(alice) == [
        today(turns=1, input_tokens=250, cached_tokens=100, output_tokens=15)
    ]
    assert await days_of(bob) == []


async def test_a_conversation_says_what_it_has_cost_to_its_owner(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = (await alice.post("/api/conversations", json={"title": "Trip"})).json()["id"]

    async def used() -> Any:
        return (await alice.get(f"/api/conversations/{made}?limit=1")).json()["usage"]

    tokens = ("input_tokens", "cached_tokens", "output_tokens")
    assert await used() == {"answers": 0, **dict.fromkeys((*tokens, "cost_usd"))}
    model.extend([costing(calls("list_tasks"), 100, 0, 10), costing(says("None."), 150, 100, 5)])
    await send(alice, "What is there?", conversation_id=made)
    model.extend([costing(calls("list_tasks"), 40, 0, 4), LOST])
    assert (await send(alice, "And now?", conversation_id=made)).status_code == 503
    model.extend([costing(says("Elsewhere."), 1000, 0, 1000)])
    await send(alice, "Something else")

    sums = dict(zip(tokens, (290, 100, 19), strict=True))
    cost = pytest.approx(cost_of(**sums))
    assert await used() == {"answers": 2, **sums, "cost_usd": cost}
    assert (await bob.get(f"/api/conversations/{made}")).status_code == 404


async def test_of_a_long_conversation_the_newest_thousand_answers_are_counted(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    long = """WITH made AS (INSERT INTO conversations (user_id) VALUES (:id) RETURNING id)
              INSERT INTO messages (conversation_id, user_id, role, content, input_tokens,
                output_tokens, created_at)
              SELECT id, :id, 'assistant', 'Hello.', CASE n WHEN 1 THEN 5000 ELSE 2 END, 1,
                timestamptz '2026-01-01Z' + n * interval '1 minute'
              FROM made, generate_series(1, 1001) n"""
    await run_sql(sessions, long, id=alice_id)
    (made,) = (await alice.get("/api/conversations")).json()["conversations"]
    usage = (await alice.get(f"/api/conversations/{made['id']}?limit=1")).json()["usage"]
    assert [usage[each] for each in ("answers", "input_tokens")] == [1000, 2000]


async def test_a_failed_turn_counts_and_a_retry_adds_to_it(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([costing(calls("add_task", {"title": "Milk"}), 100, 20, 10), LOST])
    assert (await send(alice, "Add milk", key="k")).status_code == 503
    failed = today(turns=1, failed_turns=1, input_tokens=100, cached_tokens=20, output_tokens=10)
    assert await days_of(alice) == [failed]
    model.extend([costing(says("Added."), 200, 80, 7)])
    assert (await send(alice, "Add milk", key="k")).status_code == 200
    assert await days_of(alice) == [
        today(turns=1, input_tokens=300, cached_tokens=100, output_tokens=17)
    ]
    assert (await send(alice, "Add milk", key="k")).headers["idempotency-replayed"] == "true"
    assert (await days_of(alice))[0]["turns"] == 1


async def test_what_nobody_has_counted_is_null_and_not_none(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello.")])
    await send(alice, "hi")
    assert await days_of(alice) == [today(turns=1, uncounted_turns=1)]
    model.extend([costing(says("Hello."), 30, 0, 3)])
    await send(alice, "hi")
    assert await days_of(alice) == [
        today(turns=2, uncounted_turns=1, input_tokens=30, cached_tokens=0, output_tokens=3)
    ]


async def test_each_day_of_utc_and_each_model_is_by_itself_the_newest_day_first(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, run: Run, sessions: Sessions
) -> None:
    age = """UPDATE messages SET created_at =
             date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - :past
             WHERE user_id = :id AND created_at > now() - interval '1 minute'"""
    for past in (timedelta(days=6), timedelta(days=5, hours=24, seconds=1), timedelta(seconds=1)):
        model.extend([costing(says("Then."), 10, 0, 1)])
        await send(alice, f"then {past}")
        await run_sql(sessions, age, id=alice_id, past=past)
    model.extend([costing(says("Now."), 20, 0, 2), costing(says("Now."), 40, 0, 4)])
    await send(alice, "now")
    async with run(alice, openai_model="another") as client:
        await send(client, "now")
    listed = [
        (day["date"], day["model"], day["turns"], day["input_tokens"])
        for day in await days_of(alice, "?days=7")
    ]
    now = datetime.now(UTC).date()
    assert listed == [
        (str(now), "another", 1, 40),
        (str(now), "gpt-4o-mini", 1, 20),
        (str(now - timedelta(days=1)), "gpt-4o-mini", 1, 10),
        (str(now - timedelta(days=6)), "gpt-4o-mini", 1, 10),
    ]
    assert len(await days_of(alice, "?days=1")) == 2
    assert len(await days_of(alice)) == 5


async def test_a_deleted_conversation_has_cost_what_it_has_cost(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    model.extend([costing(says("Hello."), 30, 0, 3)])
    await send(alice, "hi")
    deleted = "UPDATE conversations SET deleted_at = now() WHERE user_id = :id"
    await run_sql(sessions, deleted, id=alice_id)
    assert (await days_of(alice))[0]["input_tokens"] == 30


async def test_a_message_of_the_earlier_backend_is_a_turn_of_an_unknown_model(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    earlier = """WITH made AS (INSERT INTO conversations (user_id) VALUES (:id) RETURNING id)
                 INSERT INTO messages (conversation_id, user_id, role, content)
                 SELECT id, :id, 'assistant', 'Hello.' FROM made"""
    await run_sql(sessions, earlier, id=alice_id)
    assert await days_of(alice) == [today(provider=None, model=None, turns=1, uncounted_turns=1)]


async def test_today_says_what_is_left_of_the_budget(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    async with run(alice, daily_token_budget=1000) as client:
        model.extend([costing(says("Hello."), 30, 10, 3), says("Uncounted.")])
        await send(client, "hi")
        await send(client, "hi")
        said = (await client.get("/api/usage")).json()["today"]
    resets_at = datetime.fromisoformat(said.pop("resets_at"))
    assert said.pop("used_usd") > 0
    assert said == {"used_tokens": 33, "budget_tokens": 1000, "budget_usd": None}
    assert timedelta() < resets_at - datetime.now(UTC) <= timedelta(days=1)
    others = (await bob.get("/api/usage")).json()["today"]
    assert (others["used_tokens"], others["budget_tokens"]) == (0, None)


@pytest.mark.parametrize("days", ["0", "91", "-1", "1.5", "all", ""])
async def test_days_are_1_to_90(alice: httpx.AsyncClient, days: str) -> None:
    answer = await alice.get("/api/usage", params={"days": days})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"] == "query.days"


async def test_usage_wants_a_session(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/usage")).status_code == 401


async def test_an_attempt_is_booked_on_its_day_and_with_the_model_that_made_it(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, run: Run, sessions: Sessions
) -> None:
    model.extend([costing(calls("add_task", {"title": "Milk"}), 100, 20, 10), LOST])
    assert (await send(alice, "Add milk", key="k")).status_code == 503
    yesterday = """UPDATE messages SET created_at =
                   date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '1 s'
                   WHERE user_id = :id"""
    await run_sql(sessions, yesterday, id=alice_id)
    model.extend([costing(says("Added."), 200, 80, 7)])
    later = {"daily_token_budget": 1000, "daily_cost_budget": 1}
    async with run(alice, openai_model="gpt-4.1-mini", **later) as client:
        answer = await send(client, "Add milk", key="k")
        used = (await client.get("/api/usage")).json()["today"]
    assert answer.status_code == 200
    assert used["used_tokens"] == 207
    days = await days_of(alice)
    assert [
        (day["model"], day["turns"], day["failed_turns"], day["input_tokens"], day["output_tokens"])
        for day in days
    ] == [("gpt-4.1-mini", 1, 0, 200, 7), ("gpt-4o-mini", 1, 0, 100, 10)]
    assert days[0]["date"] > days[1]["date"]
    assert days[1]["cost_usd"] == pytest.approx(cost_of(100, 20, 10))


async def test_a_model_without_a_known_price_counts_nothing_and_is_named(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    async with run(alice, openai_model="somebodys-own", daily_cost_budget="0.000001") as client:
        model.extend([costing(says("Hello."), 30, 0, 3), costing(says("Hello."), 30, 0, 3)])
        await send(client, "hi")
        assert (await send(client, "hi")).status_code == 200
        said = (await client.get("/api/usage")).json()
    [day] = said["days"]
    assert (day["cost_usd"], day["unpriced_turns"], day["input_tokens"]) == (None, 2, 60)
    assert said["unpriced"] == [{"provider": "openai", "model": "somebodys-own"}]
    assert said["today"]["used_usd"] == 0


async def test_the_price_in_the_settings_goes_before_the_known_one_and_the_budget_holds(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    price = {"input": 100, "cached": 10, "output": 1000}
    dear = {"openai": {"models": {"gpt-4o-mini": {"price": price}}}}
    settings = {"providers": dear, "daily_cost_budget": "0.007"}
    async with run(alice, **settings) as client, run(bob, **settings) as other:
        model.extend([costing(says("Hello."), 30, 10, 5), says("Hello, Bob.")])
        await send(client, "hi")
        refused = await send(client, "hi again")
        assert (await send(other, "hi")).status_code == 200
        said = (await client.get("/api/usage")).json()
    assert refused.status_code == 429
    details = refused.json()["error"]["details"]
    assert details.pop("resets_at")
    assert details == {"limit": "daily_cost_budget", "used_usd": 0.0071, "allowed_usd": 0.007}
    assert said["today"]["used_usd"] == said["days"][0]["cost_usd"] == pytest.approx(0.0071)
    assert said["today"]["budget_usd"] == 0.007


async def test_what_a_replica_of_the_release_before_wrote_counts_too(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    model.extend([costing(says("Hello."), 30, 0, 3)])
    await send(alice, "hi")
    more = """UPDATE messages
              SET input_tokens = input_tokens + 50, output_tokens = output_tokens + 5
              WHERE user_id = :id AND role = 'assistant'"""
    await run_sql(sessions, more, id=alice_id)
    [day] = await days_of(alice)
    assert (day["turns"], day["input_tokens"], day["output_tokens"]) == (1, 80, 8)
    assert (await alice.get("/api/usage")).json()["today"]["used_tokens"] == 88
