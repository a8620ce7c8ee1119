"""What a large database costs the people in it, beside a small one on the same server."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import psycopg

from backend.bench.database import Postgres, token_of
from backend.bench.filling import LARGE, TYPICAL, fill
from backend.bench.load import Connection, UnexpectedAnswer, http_request
from backend.bench.processes import provider, service
from backend.bench.report import Figure, bounded, undisturbed

MESSAGES = 1_000_000
SMALL = 10_000
RATIO_MAX = 1.3
"""How much longer anything may take in the large one."""
REFUSED_MAX = 3
"""Requests of a kind that may be refused; each is asked again."""
WARM_UP = 5
"""Rounds that do not count."""
PEOPLE = {"typical person": TYPICAL, "large history": LARGE}


@dataclass
class Database:
    """One of the two, with a service of its own."""

    url: str
    port: int
    longest: dict[int, int]
    """The longest conversation of each of the two people."""
    feeds: dict[int, str]

    async def ask(self, method: str, path: str, person: int, body: object = None) -> float:
        """Milliseconds until the answer was there.

        Raises:
            UnexpectedAnswer: it was refused.
        """
        request = http_request(method, path, token_of(person), body)
        async with Connection(self.port) as connection:
            started = perf_counter()
            status = await connection.status_of(request)
            took = perf_counter() - started
        if status // 100 != 2:
            raise UnexpectedAnswer(f"{status} to {method} {path}")
        return 1000 * took

    async def told(self, path: str, person: int, body: object = None) -> Any:
        """What a POST is answered, not timed."""
        async with Connection(self.port) as connection:
            return await connection.ask(http_request("POST", path, token_of(person), body))


type Timed = Callable[[Database, int], Awaitable[float]]


def _reads(path: str) -> Timed:
    return lambda database, person: database.ask("GET", path, person)


async def _newest_page(database: Database, person: int) -> float:
    path = f"/api/conversations/{database.longest[person]}/messages"
    return await database.ask("GET", path, person)


async def _feed(database: Database, person: int) -> float:
    return await database.ask("GET", database.feeds[person], person)


async def _new_turn(database: Database, person: int) -> float:
    return await database.ask("POST", "/api/chat", person, {"message": "Hello there"})


async def _turn_in_the_longest(database: Database, person: int) -> float:
    body = {"conversation_id": database.longest[person], "message": "Hello there"}
    return await database.ask("POST", "/api/chat", person, body)


async def _undo(database: Database, person: int) -> float:
    """Of a task that was just added; the turn that adds it does not count."""
    body = {"message": "Add buy oat milk", "approvals": True}
    turn = await database.told("/api/chat", person, body)
    return await database.ask("POST", f"/api/messages/{turn['message_id']}/undo", person)


KINDS: dict[str, Timed] = {
    "newest page of a conversation": _newest_page,
    "list of conversations": _reads("/api/conversations?limit=50"),
    "search, a word of many messages": _reads("/api/conversations?q=w1"),
    "search, a rare word": _reads("/api/conversations?q=w4711"),
    "list of tasks": _reads("/api/tasks?limit=50"),
    "search in tasks": _reads("/api/tasks?q=w1"),
    "calendar feed": _feed,
    "usage of 30 days": _reads("/api/usage?days=30"),
    "turn in a new conversation": _new_turn,
    "turn in the longest conversation": _turn_in_the_longest,
    "undo": _undo,
}


async def _opened(stack: AsyncExitStack, postgres: Postgres, port: int, messages: int) -> Database:
    """A filled database and its service, which has made the tables."""
    url = postgres.new_database(f"filled_{messages}")
    running = await stack.enter_async_context(service(postgres.folder, url, port))
    fill(url, messages)
    longest = {each: _longest(url, each) for each in PEOPLE.values()}
    made = Database(url, running.port, longest, {})
    for person in PEOPLE.values():
        made.feeds[person] = (await made.told("/api/calendar", person))["path"]
    return made


def _longest(url: str, person: int) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT id FROM conversations WHERE user_id = %s ORDER BY message_count DESC, id",
            (f"user-{person}",),
        ).fetchone()
    return found[0] if found else 0


def _size(url: str) -> int:
    """Megabytes on disk."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database()) >> 20").fetchone()
    return row[0] if row else 0


async def _compared(
    name: str, timed: Timed, person: int, large: Database, small: Database, rounds: int
) -> Figure:
    """The ratio of what it takes undisturbed; each of the two comes first in turn."""
    for database in (large, small):
        with suppress(UnexpectedAnswer):  # what is read from the disk may take too long once
            await timed(database, person)
    pairs: list[tuple[float, float]] = []
    refused = 0
    while len(pairs) < rounds + WARM_UP:
        try:
            if len(pairs) % 2:
                other = await timed(small, person)
                pairs.append((await timed(large, person), other))
            else:
                took = await timed(large, person)
                pairs.append((took, await timed(small, person)))
        except UnexpectedAnswer:  # a 503, where the machine is not ours alone
            refused += 1
            if refused > REFUSED_MAX:
                raise
    took, other = map(undisturbed, zip(*pairs[WARM_UP:], strict=True))
    return bounded(f"{name} ({took:.2f} / {other:.2f} ms)", took / other, RATIO_MAX, "")


async def big(postgres: Postgres, quick: bool, messages: int = MESSAGES) -> list[Figure]:
    """One server, two databases; each request is asked of both in turn."""
    rounds = 15 if quick else 60
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(provider())
        started = perf_counter()
        large = await _opened(stack, postgres, port, messages)
        filled = perf_counter() - started
        small = await _opened(stack, postgres, port, SMALL)
        shown = [
            Figure(f"{messages} messages, filled in", f"{filled:.0f} s", f"{_size(large.url)} MB")
        ]
        for which, person in PEOPLE.items():
            for name, timed in KINDS.items():
                said = f"{which}: {name}"
                shown.append(await _compared(said, timed, person, large, small, rounds))
    return shown
