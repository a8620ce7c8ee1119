"""Sets the stage, plays scenarios on it, several at a time, and takes it down."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import httpx

from backend.faults.client import PATIENCE
from backend.faults.driver import Result, play
from backend.faults.fleet import Fleet, environment, nursery
from backend.faults.injections import Say, Stage
from backend.faults.pooler import find_pgbouncer, pooled
from backend.faults.postgres import Postgres, postgres
from backend.faults.provider import Provider
from backend.faults.scenario import Scenario, killed_at_its_record
from backend.faults.waiting import until
from backend.tests.support.scripted_provider import ScriptedProvider

READY_LIMIT = 10.0
"""Seconds after the last fault within which every replica must say that it is ready."""
IDLE_LIMIT = 5.0
"""Seconds after which a transaction that nobody goes on with has been left open."""

_LEFT_OPEN = """
    SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'
    AND state_change < clock_timestamp() - make_interval(secs => %s)
"""


@dataclass
class Suite:
    stage: Stage
    provider: Provider
    http: httpx.AsyncClient

    async def play_all(
        self, scenarios: Iterable[Scenario], at_once: int, done: Callable[[Result], None]
    ) -> None:
        """Play the scenarios, `at_once` at a time, and hand each result on as it comes."""
        waiting = iter(scenarios)

        async def play_some() -> None:
            for scenario in waiting:
                result = await play(scenario, self.stage, self.provider, self.http)
                result.wrong += await self._left_open(IDLE_LIMIT)
                done(result)

        await asyncio.gather(*(play_some() for _ in range(at_once)))

    async def aftermath(self) -> list[str]:
        """What is wrong when all is over: who does not serve, what was left open."""
        wrong = []
        for replica in await self.stage.fleet.settle():
            try:
                await until(partial(self._ready, replica.address), READY_LIMIT)
            except TimeoutError:
                wrong.append(f"{replica.name} is not ready again")
        return wrong + await self._left_open(1.0)

    async def _ready(self, address: str) -> bool:
        return (await self.http.get(f"{address}/ready")).status_code == 200

    async def _left_open(self, seconds: float) -> list[str]:
        if self.stage.fleet.frozen:  # which may be in the middle of a transaction
            return []
        left = await self.stage.postgres.ask(_LEFT_OPEN, seconds)
        return [f"a connection is idle in transaction ({row['pid']})" for row in left]


@asynccontextmanager
async def stage_set(
    *,
    replicas: int = 2,
    broken: bool = False,
    logs: Path | None = None,
    say: Say,
) -> AsyncIterator[Suite]:
    """Postgres, PgBouncer where it is installed, a provider, and `replicas` servers.

    Every second server reaches the database through PgBouncer. What they log goes into `logs`.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="todo-chat-faults-")))
        provider = Provider()
        model = await stack.enter_async_context(ScriptedProvider(then=provider.step))
        cribs = await stack.enter_async_context(nursery(logs or folder, broken=broken))
        server = await stack.enter_async_context(postgres(folder / "postgres"))
        urls = [server.url, await _second_way(stack, server, folder)]
        environments = [environment(urls[n % 2], model.base_url) for n in range(replicas)]
        fleet = Fleet(cribs, environments)
        await fleet.fill()
        http = httpx.AsyncClient(timeout=PATIENCE, limits=httpx.Limits(max_keepalive_connections=0))
        await stack.enter_async_context(http)
        yield Suite(Stage(server, fleet, say), provider, http)
        await fleet.settle()


async def _second_way(stack: AsyncExitStack, server: Postgres, folder: Path) -> str:
    program = find_pgbouncer()
    if program is None:
        return server.url
    return await stack.enter_async_context(pooled(program, server.url, folder))


async def play_scenarios(
    scenarios: list[Scenario],
    *,
    at_once: int,
    replicas: int,
    minutes: float,
    broken: bool = False,
    logs: Path | None = None,
    say: Say,
    progress: Callable[[list[Result]], None],
) -> tuple[list[Result], list[str]]:
    """The results, as many as there was time for, and what was wrong when all was over."""
    results: list[Result] = []
    deadline = perf_counter() + minutes * 60

    def done(result: Result) -> None:
        results.append(result)
        progress(results)

    async with stage_set(replicas=replicas, broken=broken, logs=logs, say=say) as suite:
        in_time = (each for each in scenarios if perf_counter() < deadline)
        await suite.play_all(in_time, at_once, done)
        return results, await suite.aftermath()


async def play_broken(count: int, say: Say) -> list[Result]:
    """Scenarios in which a build without its first rule was killed between effect and record.

    `count` are played; one whose server another of them killed before is left out.
    """
    results, _ = await play_scenarios(
        [killed_at_its_record(seed) for seed in range(1, count + 1)],
        at_once=3,
        replicas=6,
        minutes=5,
        broken=True,
        say=say,
        progress=lambda _: None,
    )
    return [result for result in results if result.happened]
