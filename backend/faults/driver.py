"""Plays one scenario: its messages, its faults, and the questions at the end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import httpx

from backend.faults.checker import breaches, history_breaches
from backend.faults.client import Client, NeverAnswered
from backend.faults.fleet import Replica
from backend.faults.injections import Faults
from backend.faults.model import TOOLS
from backend.faults.onlookers import look_on, stop
from backend.faults.postgres import through_outages
from backend.faults.provider import Provider
from backend.faults.scenario import Fault, Message, Scenario
from backend.faults.sendings import Attempt
from backend.faults.stage import Stage
from backend.faults.tables import Tables, read_tables
from backend.faults.waiting import until
from backend.tests.support import better_auth

REST_LIMIT = 20.0
"""Seconds after which a turn that is still running under a live lease is a breach."""


@dataclass
class Result:
    """How a scenario ended; `wrong` holds a sentence for each thing that does not hold."""

    scenario: Scenario
    wrong: list[str] = field(default_factory=list)
    happened: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    """Seconds that an answer took at the most."""
    began: float = 0.0
    ended: float = 0.0


async def play(
    scenario: Scenario, stage: Stage, provider: Provider, http: httpx.AsyncClient
) -> Result:
    """Play `scenario` to its end and look at what it left."""
    async with stage.one_patient if scenario.patient else nullcontext():
        return await _play(scenario, stage, provider, http)


async def _play(
    scenario: Scenario, stage: Stage, provider: Provider, http: httpx.AsyncClient
) -> Result:
    result = Result(scenario, began=perf_counter())
    user_id, token = await through_outages(lambda: _sign_up(stage))
    faults = Faults(
        scenario,
        stage,
        user_id,
        write=partial(_write, http, token),
        stop=lambda number: stop(client, number),
    )
    client = Client(scenario, stage, faults, http, token)
    with provider.playing(scenario, faults):
        try:
            await _send_all(client)
            result.wrong += [each async for each in _replays(client)]
            tables = await _look(client, user_id, result)
        except NeverAnswered as error:
            result.wrong.append(f"never answered: {error}")
        else:
            _count(result, client, tables)
        finally:
            await faults.finished()
    result.wrong += faults.complaints
    result.happened = faults.happened
    result.ended = perf_counter()
    return result


async def _sign_up(stage: Stage) -> tuple[str, str]:
    user_id = await better_auth.add_user(stage.postgres.own_url, "someone")
    return user_id, await better_auth.sign_in(stage.postgres.own_url, user_id)


async def _write(http: httpx.AsyncClient, token: str, replica: Replica, task: int) -> None:
    """Write to a task what is not looked at."""
    headers = {"Authorization": f"Bearer {token}"}
    address = f"{replica.address}/api/tasks/{task}"
    with suppress(httpx.HTTPError):
        await http.put(address, headers=headers, json={"priority": "high"})


async def _send_all(client: Client) -> None:
    for title in client.scenario.errands:
        errand = {"title": title, "recurrence_pattern": "daily"}
        await client.call("POST", "/api/tasks", json=errand)
    for messages in client.scenario.rounds:
        await asyncio.gather(*(_send(client, message) for message in messages))
    await client.faults.finished()


async def _send(client: Client, message: Message) -> None:
    """Send it; others look on."""
    sending = asyncio.create_task(client.send(message))
    await asyncio.sleep(0)  # it has begun
    sent = client.sent[-1]
    onlookers = [
        look_on(client, sent, number, sending.done) for number in range(client.scenario.viewers)
    ]
    await asyncio.gather(sending, *onlookers)


async def _replays(client: Client) -> AsyncIterator[str]:
    """Where a key that was answered does not give that answer again, marked as such."""
    for sent in client.sent:
        if sent.key is None or sent.answered is None:
            continue
        again = await client.answer_again(sent)
        if not (again.replayed or again.seen):
            yield f"message {sent.message.number}: its key was answered anew"
        if _told(again) != _told(sent.answered):
            yield f"message {sent.message.number}: its key was answered in another way"


def _told(attempt: Attempt) -> list[Any]:
    """What an answer says, in whichever form it came."""
    return [attempt.body.get(name) for name in ("conversation_id", "response", "tool_calls")]


async def _look(client: Client, user_id: str, result: Result) -> Tables:
    """The tables, once they have come to rest; what is wrong with them goes into the result.

    A server that was frozen before it began may begin when all else is over.
    """
    postgres = client.stage.postgres
    tables = await read_tables(postgres, user_id)
    histories: dict[int, list[Any]] = {}

    async def at_rest() -> bool:
        nonlocal tables
        for conversation in tables.conversations:
            histories[conversation["id"]] = await _history(client, conversation["id"])
        earlier, tables = tables, await read_tables(postgres, user_id)
        return tables == earlier and not tables.under_way

    with suppress(TimeoutError):
        await until(at_rest, REST_LIMIT)
    result.wrong += breaches(client.scenario, client.sent, tables)
    result.wrong += history_breaches(tables, histories)
    return tables


async def _history(client: Client, conversation_id: int) -> list[Any]:
    answer = await client.call("GET", f"/api/conversations/{conversation_id}/messages")
    rows: list[Any] = answer.json()
    return rows


def _count(result: Result, client: Client, tables: Tables) -> None:
    """What the scenario has exercised, for the report."""
    attempts = [attempt for sent in client.sent for attempt in sent.attempts]
    result.counts.update(f"{each.kind}, {each.moment}" for each in client.faults.happened)
    result.slowest = max(attempt.seconds for attempt in attempts)
    result.counts["messages"] = len(client.sent)
    result.counts["sent again"] = len(attempts) - len(client.sent)
    result.counts["connections lost"] = sum(attempt.status is None for attempt in attempts)
    result.counts["answers 503"] = sum(attempt.status == 503 for attempt in attempts)
    result.counts["answers 409"] = sum(attempt.status == 409 for attempt in attempts)
    result.counts["turns taken up"] = sum(t.answer["attempt"] > 1 for t in tables.turns)
    result.counts["task changes"] = sum(len(t.changes_by(*TOOLS.values())) for t in tables.turns)
