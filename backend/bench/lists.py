"""Lists in a large account beside a small one: times, and the plans that Postgres makes."""

from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter

import psycopg

from backend.bench.database import PEOPLE, Postgres, token_of
from backend.bench.load import Connection, http_request, timed
from backend.bench.processes import provider, service
from backend.bench.report import Figure, bounded
from backend.config import Settings
from backend.conversations import listing
from backend.conversations.pages import read_page
from backend.database import Session, create_pool
from backend.tests.support.plans import Node, nodes, plans, scans

LARGE, SMALL = 0, 1
"""The two people who are compared; all others have accounts as small as the second's."""
TASKS = 5000
"""Open tasks of the large account, all due, half of them again and again."""
CALENDAR_MAX_MS = 300.0
RATIO_MAX = 2.0
"""How much longer a list may take in the large account."""
SEARCH_MAX_MS = 250.0
WARM_UP = 10
"""Rounds that do not count."""

_CONVERSATIONS = """
    INSERT INTO conversations (user_id, message_count, title, created_at, updated_at)
    SELECT 'user-' || person, 2, 'Trip ' || n, at, at
    FROM generate_series(0, {people} - 1) person,
        LATERAL generate_series(1, CASE person WHEN {large} THEN 10000 ELSE 120 END) n,
        LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 minute') times (at);
    INSERT INTO messages (conversation_id, user_id, role, content)
    SELECT id, user_id, role, 'What to pack for ' || title || '?'
    FROM conversations, unnest(ARRAY['user', 'assistant']) role
"""
_LONG = """
    WITH long AS (
        INSERT INTO conversations (user_id, message_count)
        VALUES ('user-{person}', {messages}) RETURNING id, user_id
    ), said AS (
        INSERT INTO messages (conversation_id, user_id, role, content, created_at)
        SELECT id, user_id, CASE n % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
            'This is message ' || n || ', with about as many words as people write.',
            timestamptz '2026-01-01' + n * interval '1 second'
        FROM long, generate_series(1, {messages}) n
    )
    SELECT id FROM long
"""

_TASKS = """
    INSERT INTO tasks (user_id, title, description, due_date, recurrence_pattern, time_zone)
    SELECT 'user-{person}', 'Task ' || n, repeat('notes ', 20),
        timestamptz '2026-01-01' + n * interval '1 hour',
        CASE n % 2 WHEN 1 THEN 'daily' ELSE 'none' END, 'Europe/Berlin'
    FROM generate_series(1, {tasks}) n
"""


def _seed(database_url: str) -> dict[int, int]:
    """Fill the tables; the long conversation of each of the two."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_CONVERSATIONS.format(people=PEOPLE, large=LARGE).encode())
        long: dict[int, int] = {}
        for person, messages in ((LARGE, 100_000), (SMALL, 60)):
            made = _LONG.format(person=person, messages=messages).encode()
            row = connection.execute(made).fetchone()
            long[person] = row[0] if row else 0
        connection.execute(_TASKS.format(person=LARGE, tasks=TASKS).encode())
        connection.execute("VACUUM (ANALYZE) conversations, messages, tasks")
    return long


async def _medians(port: int, path: Callable[[int], str], rounds: int) -> list[float]:
    """Milliseconds for the large and for the small account, asked in turn, each first in turn."""
    people = (LARGE, SMALL)
    requests = {each: http_request("GET", path(each), token_of(each)) for each in people}
    times: dict[int, list[float]] = {each: [] for each in people}
    async with Connection(port) as connection:
        for number in range(rounds):
            for person in people if number % 2 else reversed(people):
                times[person].append(1000 * await timed(connection, requests[person]))
    return [median(times[person][WARM_UP:]) for person in people]


def _compared(name: str, large: float, small: float) -> list[Figure]:
    return [
        Figure(f"{name}, large / small account", f"{large:.2f} / {small:.2f} ms"),
        bounded(f"{name}, ratio", large / small, RATIO_MAX, ""),
    ]


def _plan(name: str, plan: Node, *, sorted_hits: bool = False) -> Figure:
    """The nodes of a plan; `sorted_hits` where only what a search found is sorted."""
    kinds = [node["Node Type"] for node in nodes(plan)]
    read = scans(plan, "conversations") | scans(plan, "messages")
    bad = "Seq Scan" in read or ("Sort" in kinds and not sorted_hits)
    told = ", ".join(dict.fromkeys(kinds))
    return Figure(f"plan of {name}", told, "", "FAILED" if bad else "ok")


async def _plans(database_url: str, long: dict[int, int]) -> list[Figure]:
    owner = f"user-{LARGE}"

    async def page(session: Session) -> None:
        await listing.list_conversations(session, owner, limit=50)

    async def opened(session: Session) -> None:
        await listing.get_conversation(session, owner, str(long[LARGE]))

    async def newest(session: Session) -> None:
        await read_page(session, long[LARGE], limit=50)

    async def search(session: Session) -> None:
        await listing.list_conversations(session, owner, limit=50, search="message 4711")

    async def planned(ask: Callable[[Session], Awaitable[None]]) -> Node:
        [plan] = await plans(pool, ask)
        return plan

    pool = create_pool(Settings(_env_file=None), database_url)
    try:
        return [
            _plan("the list", await planned(page)),
            _plan("a conversation and its count", await planned(opened)),
            _plan("the newest page", await planned(newest)),
            _plan("a search", await planned(search), sorted_hits=True),
        ]
    finally:
        await pool.close()


async def _calendar(port: int, rounds: int) -> float:
    """Milliseconds of the large account's calendar, the median."""
    token = token_of(LARGE)
    async with Connection(port) as connection:
        made = await connection.ask(http_request("POST", "/api/calendar", token))
        request = http_request("GET", made["path"])
        times = []
        for _ in range(rounds):
            began = perf_counter()
            await connection.status_of(request)
            times.append(1000 * (perf_counter() - began))
        return median(times)


async def lists(postgres: Postgres, quick: bool) -> list[Figure]:
    """One person has 10,000 conversations and one of 100,000 messages, 499 have 120 each."""
    rounds = 60 if quick else 320
    url = postgres.new_database("lists")
    figures: list[Figure] = []
    async with provider() as port, service(postgres.folder, url, port) as running:
        long = _seed(url)
        for name, path in (
            ("50 conversations", lambda _: "/api/conversations?limit=50"),
            ("50 newest messages", lambda person: f"/api/conversations/{long[person]}/messages"),
            ("opened with 50 messages", lambda person: f"/api/conversations/{long[person]}"),
        ):
            figures += _compared(name, *await _medians(running.port, path, rounds))
        rare, _ = await _medians(running.port, lambda _: "/api/conversations?q=4711", rounds)
        common, _ = await _medians(running.port, lambda _: "/api/conversations?q=message", 30)
        calendar = await _calendar(running.port, 10)
    return [
        *figures,
        bounded("search, a word of few messages", rare, SEARCH_MAX_MS, " ms"),
        bounded("search, a word of 100,000", common, SEARCH_MAX_MS, " ms"),
        bounded(f"a calendar of {TASKS} tasks", calendar, CALENDAR_MAX_MS, " ms"),
        *await _plans(url, long),
    ]
