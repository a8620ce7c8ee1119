"""The replicas that serve the scenarios: killed, stopped, frozen, and started anew."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from math import inf
from pathlib import Path
from random import Random
from time import time
from typing import Any, cast

from backend.faults.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
RUN_LIMIT, PATIENT_LIMIT = 3, 16
"""Seconds of a run, as the servers are set, and as the patient ones are."""
START_LIMIT = 60.0
STARTS, START_PAUSE = 10, 0.5
"""Times that a server is started where it ends at once, and the seconds between."""
SHUTDOWN = 20
"""Seconds that runs in flight are given when a server is told to stop, as by default."""
STOP_LIMIT = SHUTDOWN + 10.0
"""Seconds in which it is gone: those, and as many to close what is left as our manifests leave."""

_SERVING = re.compile(r"^Serving at (\S+)", re.MULTILINE)


class DidNotStart(Exception):
    """A server ended, with `code`, before it served; the text is the end of its log."""

    def __init__(self, said: str, code: int) -> None:
        super().__init__(said)
        self.code = code


@dataclass
class Standstill:
    """A time in which a server did nothing, in seconds since 1970: frozen, or dead from then on.

    What it wrote to the database in that time it had sent before.
    """

    began: float
    ended: float = inf


@dataclass(eq=False)
class Replica:
    """One server process. Once it is not `usable` nobody begins anything there."""

    name: str
    slot: int
    pid: int
    ended: asyncio.Future[int]
    log: Path
    address: str = ""
    usable: bool = False
    killed: bool = False
    disturbed: int = 0
    """How often it was killed, stopped, frozen or let go on."""
    standstills: list[Standstill] = field(default_factory=list)

    async def serves(self) -> bool:
        """Whether it has begun to; its address is known then.

        Raises:
            DidNotStart: it has ended.
        """
        said = self.log.read_text() if self.log.exists() else ""
        if found := _SERVING.search(said):
            self.address = found[1]
        elif self.ended.done():
            raise DidNotStart(said[-2000:], self.ended.result())
        return bool(self.address)

    def signal(self, number: signal.Signals) -> None:
        self.disturbed += 1
        if not self.ended.done():
            os.kill(self.pid, number)


class Nursery:
    """Starts servers; the other end of `backend.faults.nursery`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._ordering = asyncio.Lock()

    async def start(
        self,
        folder: Path,
        name: str,
        slot: int,
        environment: Mapping[str, str],
        build: str | None = None,
        errors: Path | None = None,
    ) -> Replica:
        """A server that serves, of a broken build perhaps; it lives and logs in `folder`.

        What it says on stderr goes to `errors`, where that is given, and not to its log.

        Raises:
            DidNotStart: it does not.
        """
        log = folder / f"{name}.log"
        order = {
            "environment": environment,
            "folder": str(folder),
            "log": str(log),
            "errors": str(errors or log),
            "build": build,
        }
        async with self._ordering:
            _stdin(self._process).write(f"{json.dumps(order)}\n".encode())
            pid = await self._started.get()
        replica = Replica(name, slot, pid, self._ended[pid], log)
        await until(replica.serves, START_LIMIT)
        return replica

    async def listen(self) -> None:
        """Take in what the nursery says, for as long as it lives."""
        async for line in cast(asyncio.StreamReader, self._process.stdout):
            said: dict[str, int] = json.loads(line)
            if "code" in said:
                self._ended[said["pid"]].set_result(said["code"])
            else:
                self._ended[said["pid"]] = asyncio.get_running_loop().create_future()
                self._started.put_nowait(said["pid"])


def _stdin(process: Process) -> asyncio.StreamWriter:
    return cast(asyncio.StreamWriter, process.stdin)


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """A nursery for the block; what it started ends with it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "backend.faults.nursery"),
        cwd=CHECKOUT,
        env={"PATH": os.environ.get("PATH", "")},
        stdin=PIPE,
        stdout=PIPE,
    )
    made = Nursery(process)
    listening = asyncio.create_task(made.listen())
    try:
        yield made
    finally:
        _stdin(process).close()
        await process.wait()
        await listening


@dataclass
class Fleet:
    """Replicas in slots; a slot has its address of the database and its provider's."""

    nursery: Nursery
    folder: Path
    environments: list[dict[str, str]]
    build: str | None = None
    frozen: set[Replica] = field(default_factory=set)
    _replicas: dict[int, Replica] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _starting: set[asyncio.Task[None]] = field(default_factory=set)
    _numbers: Any = field(default_factory=lambda: count(1))

    async def fill(self) -> None:
        """Start a replica in each slot."""
        await asyncio.gather(*(self._start(slot) for slot in range(len(self.environments))))

    async def _start(self, slot: int) -> None:
        replica = await self._begin(slot, STARTS)
        replica.usable = True
        async with self._changed:
            self._replicas[slot] = replica
            self._changed.notify_all()

    async def _begin(self, slot: int, tries: int) -> Replica:
        """A new server; one that finds the database away ends at once, and another is tried."""
        name = f"server-{slot}-{next(self._numbers)}"
        try:
            return await self.nursery.start(
                self.folder, name, slot, self.environments[slot], self.build
            )
        except DidNotStart:
            if tries == 1:
                raise
        await asyncio.sleep(START_PAUSE)
        return await self._begin(slot, tries - 1)

    def usable(self) -> list[Replica]:
        """The replicas that serve."""
        return [each for each in self._replicas.values() if each.usable]

    async def choose(self, random: Random, slots: Collection[int]) -> Replica:
        """Any replica in one of `slots` that can be used; waits while there is none."""

        def usable() -> list[Replica]:
            return [each for each in self.usable() if each.slot in slots]

        async with asyncio.timeout(START_LIMIT), self._changed:
            return random.choice(await self._changed.wait_for(usable))

    def kill(self, replica: Replica) -> None:
        """End it at once, and start another in its slot."""
        replica.killed = True
        replica.standstills.append(Standstill(time()))
        replica.signal(signal.SIGKILL)
        self._replace(replica)

    async def stop(self, replica: Replica) -> int:
        """Tell it to stop, start another in its slot; its exit code.

        Raises:
            TimeoutError: it is not gone after `STOP_LIMIT`.
        """
        replica.signal(signal.SIGTERM)
        self._replace(replica)
        async with asyncio.timeout(STOP_LIMIT):
            return await asyncio.shield(replica.ended)

    def freeze(self, replica: Replica) -> None:
        """Stop its clock: it answers nobody, and knows nothing of it afterwards."""
        replica.usable = False
        replica.standstills.append(Standstill(time()))
        replica.signal(signal.SIGSTOP)
        self.frozen.add(replica)

    async def thaw(self, replica: Replica) -> None:
        if not replica.killed:
            for each in replica.standstills:
                each.ended = min(each.ended, time())
        replica.signal(signal.SIGCONT)
        self.frozen.discard(replica)
        async with self._changed:
            replica.usable = self._replicas.get(replica.slot) is replica
            self._changed.notify_all()

    def _replace(self, replica: Replica) -> None:
        replica.usable = False
        if self._replicas.get(replica.slot) is replica:
            del self._replicas[replica.slot]
            task = asyncio.create_task(self._start(replica.slot))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def settle(self) -> list[Replica]:
        """Wait until each slot is filled; the replicas."""
        await asyncio.gather(*self._starting)
        return list(self._replicas.values())

    async def end(self) -> None:
        """Kill whoever is there, once all have begun."""
        for replica in await self.settle():
            replica.signal(signal.SIGKILL)
            await asyncio.shield(replica.ended)


def application(slot: int) -> str:
    """As whom the database knows the server of a slot."""
    return f"slot-{slot}"


def environment(database_url: str, provider_url: str, run_limit: int) -> dict[str, str]:
    """What a server of the suite is told."""
    limits = ("RATE_LIMIT_CHAT", "RATE_LIMIT_HISTORY", "RATE_LIMIT_TASKS")
    return {
        "PATH": os.environ.get("PATH", ""),
        "PORT": "0",
        "LOG_LEVEL": "WARNING",
        "DATABASE_URL": database_url,
        "OPENAI_API_KEY": "a-key",
        "OPENAI_BASE_URL": provider_url,
        "AI_SUMMARIES": "false",
        "AI_TIMEOUT_SECONDS": str(run_limit),
        "SHUTDOWN_SECONDS": str(SHUTDOWN),
        # few, so that others can have them all
        "DATABASE_POOL_SIZE": "3" if run_limit == PATIENT_LIMIT else "10",
        "APPROVAL_TOOLS": "complete_task,delete_task",  # asked of those alone who can answer
        "CHAT_CONCURRENCY": "1000",
        **dict.fromkeys(limits, "100000/minute"),
    }
