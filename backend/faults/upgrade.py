"""`make upgrade`: the release before and this one on one database, with traffic on both.

The release before serves, this one starts beside it and migrates, somebody holds a table
meanwhile, then both serve; each is killed once and started again. What was answered has to be so,
and nobody may be told of a fault of ours.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import httpx
from psycopg import AsyncConnection

from backend.postgres.embedded import start_embedded
from backend.tests.support import better_auth
from backend.tests.support.servers import Server, serving

ROOT = Path(__file__).parents[2]
VERSIONS = "backend/postgres/migrations/versions"
NOWHERE = "http://127.0.0.1:1/v1"
PEOPLE = 4
HELD_S = 2.0
"""Seconds for which somebody goes on holding a table that the migration waits for."""
PAUSE_S = 1.5
"""Seconds of traffic between two events; the short form has less."""


class NoRelease(Exception):
    """There is no release before this one to be found."""


def _git(*words: str, at: Path = ROOT) -> str:
    said = subprocess.run(["git", *words], cwd=at, capture_output=True, text=True, check=False)  # noqa: S603, S607
    if said.returncode:
        raise NoRelease(f"git {words[0]}: {said.stderr.strip() or 'nothing found'}")
    return said.stdout.strip()


def release_before() -> str:
    """The last tagged commit, else the one before the newest migration came.

    Raises:
        NoRelease: this is no git checkout, or one without a past.
    """
    try:
        return _git("describe", "--tags", "--abbrev=0")
    except NoRelease:
        found = _git("log", "-1", "--diff-filter=A", "--format=%H", "--", VERSIONS)
    if not found:
        raise NoRelease("no commit has brought a migration")
    return _git("rev-parse", f"{found}^")


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The files of a commit in a folder of their own."""
    with TemporaryDirectory(prefix="todo-chat-upgrade-") as folder:
        path = Path(folder, "before")
        _git("worktree", "add", "--detach", str(path), commit)
        try:
            yield path
        finally:
            _git("worktree", "remove", "--force", str(path))


@dataclass
class Person:
    """Who uses one release after another, and what they were told."""

    id: str
    token: str
    tasks: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@dataclass
class Traffic:
    """What people do on whichever server stands, and how it went."""

    servers: list[Server]
    people: list[Person]
    faults: list[str] = field(default_factory=list)
    answers: int = 0
    slowest: float = 0.0

    async def of(self, person: Person, until: asyncio.Event) -> None:
        """One call after another, each on the next server."""
        turn = 0
        while not until.is_set():
            turn += 1
            server = self.servers[turn % len(self.servers)]
            try:
                async with server.client(person.token) as client:
                    await self._once(client, person, turn)
            except httpx.TransportError:
                await asyncio.sleep(0.05)

    async def _once(self, client: httpx.AsyncClient, person: Person, turn: int) -> None:
        made = await self._ask(client, "POST", "/api/tasks", {"title": f"Task {turn}"})
        if made.status_code == 201:
            person.tasks.append(made.json()["id"])
        told = await self._ask(client, "POST", "/api/chat", {"message": f"Add thing {turn}"})
        if told.status_code == 200:
            person.said.append(f"Add thing {turn}")
        await self._ask(client, "GET", "/api/tasks?limit=20")

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, body: object = None
    ) -> httpx.Response:
        begun = monotonic()
        answer = await client.request(method, path, json=body)
        self.slowest = max(self.slowest, monotonic() - begun)
        self.answers += 1
        if answer.status_code >= 500:
            self.faults.append(f"{method} {path}: {answer.status_code}")
        return answer


@asynccontextmanager
async def flowing(traffic: Traffic) -> AsyncIterator[None]:
    done = asyncio.Event()
    work = [asyncio.create_task(traffic.of(person, done)) for person in traffic.people]
    try:
        yield
    finally:
        done.set()
        await asyncio.gather(*work)


@asynccontextmanager
async def _held(url: str, table: str) -> AsyncIterator[None]:
    """Somebody reads a table in a transaction that they leave open until they are in the way."""
    async with await AsyncConnection.connect(url, application_name="a report") as holder:
        await holder.execute(f"SELECT FROM {table} LIMIT 1".encode())
        letting_go = asyncio.create_task(_let_go(url, holder))
        try:
            yield
        finally:
            letting_go.cancel()
            await asyncio.gather(letting_go, return_exceptions=True)


async def _let_go(url: str, holder: AsyncConnection) -> None:
    """Once somebody has waited for them, and some seconds more."""
    async with await AsyncConnection.connect(url, autocommit=True) as looking:
        process = holder.info.backend_pid
        in_the_way = (
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)))"
        )
        while True:
            found = await (await looking.execute(in_the_way, [process])).fetchone()
            if found == (True,):
                break
            await asyncio.sleep(0.1)
    await asyncio.sleep(HELD_S)
    await holder.rollback()


async def play(
    url: str, before: Path, *, pause: float = PAUSE_S, people: int = PEOPLE, kills: bool = True
) -> Traffic:
    """All of it on a database that is empty, or without the kills; what came of it."""
    await better_auth.execute(url, better_auth.TABLES)
    known = [Person(*await better_auth.sign_up(url, f"p{n}")) for n in range(people)]
    quick = {"OPENAI_MODEL": "offline", "LOG_LEVEL": "WARNING"}
    async with serving(url, NOWHERE, cwd=str(before), **quick) as old:
        traffic = Traffic([old], known)
        async with flowing(traffic):
            await asyncio.sleep(pause)
            async with _held(url, "messages"), serving(url, NOWHERE, **quick) as new:
                traffic.servers[:] = [old, new]
                await asyncio.sleep(pause)
                if not kills:
                    await _check(new, url, traffic)
                    return traffic
                await old.kill()
                async with serving(url, NOWHERE, cwd=str(before), **quick) as old_again:
                    traffic.servers[:] = [old_again, new]
                    await asyncio.sleep(pause)
                    await new.kill()
                    async with serving(url, NOWHERE, **quick) as new_again:
                        traffic.servers[:] = [old_again, new_again]
                        await asyncio.sleep(pause)
                        await old_again.stop()
                        traffic.servers[:] = [new_again]
                        await asyncio.sleep(pause)
                        await _check(new_again, url, traffic)
    return traffic


async def _check(server: Server, url: str, traffic: Traffic) -> None:
    """What each person was told stands, once each, as the newest release reads it."""
    for person in traffic.people:
        async with server.client(person.token) as client:
            for task_id in list(person.tasks):
                found = await client.get(f"/api/tasks/{task_id}")
                if found.status_code != 200:
                    traffic.faults.append(f"task {task_id} is gone")
        rows = await better_auth.execute(
            url, "SELECT content FROM messages WHERE user_id = %s AND role = 'user'", person.id
        )
        said = [str(content) for (content,) in rows]
        traffic.faults += [
            f"{message!r} was answered and is not on record"
            for message in person.said
            if message not in said
        ]


async def _main(commit: str) -> None:
    with (
        checked_out(commit) as before,
        TemporaryDirectory(prefix="todo-chat-upgrade-") as folder,
        start_embedded(Path(folder, "postgres"), durable=False) as postgres,
    ):
        traffic = await play(postgres.url, before)
    sys.stdout.write(
        f"{commit[:12]} and this one: {traffic.answers} answers, the slowest after"
        f" {traffic.slowest:.1f} s, {len(traffic.faults)} faults of ours\n"
    )
    if traffic.faults:
        sys.exit("\n".join(traffic.faults[:20]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="commit", help="a commit; else the last that is tagged")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_main(options.commit or release_before()))
    except NoRelease as error:
        sys.exit(f"upgrade: {error}")


if __name__ == "__main__":
    main()
