"""How long others wait while somebody has all done that the limits allow.

What is measured is `GET /health`, which asks nothing: it waits for the event loop alone.
"""

import asyncio
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager
from statistics import median
from time import perf_counter

import psycopg

from backend.bench.database import Postgres, add_conversations, token_of
from backend.bench.load import Connection, http_request, polled
from backend.bench.processes import provider, service
from backend.bench.report import Figure, bounded, percentile

AT_ONCE = 8
PEOPLE = 20
MESSAGES = 50
LISTED = 100
"""Tasks in each list that stands in the history."""
LOOP_LIMIT_MS = 100.0
RATIO_LIMIT = 3.0
POLL_EVERY_S = 0.005
ROUNDS = 3

HEALTH = http_request("GET", "/health")
FAULTS = http_request("POST", "/api/tasks", token_of(0), {"title": "a", "tags": [1] * 20_000})
ASKED = {
    "/openapi.json, anonymous": http_request("GET", "/openapi.json"),
    "/ready, anonymous": http_request("GET", "/ready"),
    "bodies of 20,000 faults": FAULTS,
    "unknown sessions": http_request("GET", "/api/tasks", "nobody"),
    "methods that are none": http_request("TRACE", "/api/tasks/1"),
}


def _health(port: int) -> AbstractAsyncContextManager[list[float]]:
    return polled(port, HEALTH, POLL_EVERY_S)


def _flood(port: int, request: bytes, seconds: float) -> None:
    """In a process of its own, since who reads so much would come late to look himself."""
    asyncio.run(_ask_for(port, request, seconds))


async def _flooded(port: int, request: bytes, seconds: float) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, _flood, port, request, seconds)


async def _ask_for(port: int, request: bytes, seconds: float) -> None:
    """`AT_ONCE` clients that each ask 20 times a second, more than anybody's limits allow."""

    async def ask() -> None:
        ends = perf_counter() + seconds
        async with Connection(port) as connection:
            while perf_counter() < ends:
                await connection.status_of(request)
                await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(ask())


def _add_lists(url: str) -> list[int]:
    """Conversations in which every answer has listed `LISTED` tasks; their ids, by person."""
    tasks = [
        {"task_id": n, "title": f"Task {n} of a long list", "description": "", "completed": False}
        for n in range(LISTED)
    ]
    result = {"success": True, "tasks": tasks, "count": LISTED, "message": "Found them."}
    calls = json.dumps([{"tool": "list_tasks", "args": {}, "result": result}])
    ids = add_conversations(url, PEOPLE, MESSAGES)
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE messages SET tool_calls_json = %s WHERE role = 'assistant'", (calls,)
        )
    return ids


async def _talk(port: int, conversations: list[int]) -> None:
    async def say(person: int, conversation: int) -> None:
        body = {"conversation_id": conversation, "message": "Hello"}
        async with Connection(port) as connection:
            await connection.ask(http_request("POST", "/api/chat", token_of(person), body))

    async with asyncio.TaskGroup() as group:
        for person, conversation in enumerate(conversations):
            group.create_task(say(person, conversation))


async def _asked(port: int, name: str, request: bytes, seconds: float) -> list[Figure]:
    """The median of the rounds, in each of which nobody else asks at first.

    A p99 of so short a time is a handful of answers, and what else the machine does is in it.
    """
    alone, ratios, slowest = [], [], 0.0
    for _ in range(ROUNDS):
        async with _health(port) as idle:
            await asyncio.sleep(seconds)
        async with _health(port) as times:
            await _flooded(port, request, seconds)
        alone.append(max(1.0, percentile(idle, 99)))
        ratios.append(percentile(times, 99) / alone[-1])
        slowest = max(slowest, *times)
    return [
        Figure(f"{name}: p99 while nobody does", f"{median(alone):.3g} ms"),
        bounded(f"{name}: p99 over that", median(ratios), RATIO_LIMIT, ""),
        bounded(f"{name}: slowest", slowest, LOOP_LIMIT_MS, " ms"),
    ]


async def greedy(postgres: Postgres, quick: bool) -> list[Figure]:
    """Each request of those above, again and again; and people with long lists, all at once."""
    seconds = 2.0 if quick else 5.0
    url = postgres.new_database("greedy")
    figures: list[Figure] = []
    async with (
        provider() as provider_port,
        service(postgres.folder, url, provider_port) as running,
    ):
        conversations = _add_lists(url)
        async with Connection(running.port) as connection:
            await connection.status_of(ASKED["/openapi.json, anonymous"])  # made once a process
        for name, request in ASKED.items():
            figures += await _asked(running.port, name, request, seconds)
        async with _health(running.port) as times:
            await _talk(running.port, conversations)
        name = f"{PEOPLE} people with {MESSAGES // 2} lists of {LISTED} tasks, at once"
        figures.append(bounded(f"{name}: slowest", max(times), LOOP_LIMIT_MS, " ms"))
    return figures
