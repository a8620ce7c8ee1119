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
from backend.faults.fleet import PATIENT_LIMIT, RUN_LIMIT, Fleet, application, environment
from backend.faults.pooler import find_pgbouncer, pooler
from backend.faults.postgres import NAME, Postgres, postgres
from backend.faults.provider import Provider
from backend.faults.scenario import Scenario
from backend.faults.seeds import STARVED_EVERY, killed_at_its_record, starved
from backend.faults.stage import Say, Stage
from backend.faults.starving import WAYS
from backend.faults.waiting import until
from backend.faults.watch import Watch
from backend.tests.support import better_auth
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.servers import the_nursery
from backend.tests.support.tcp_proxy import tcp_proxy

READY_LIMIT = 10.0
"""Seconds after the last fault within which every replica must say that it is ready."""
IDLE_LIMIT = 12.0
"""Seconds after which a transaction that nobody goes on with has been left open.

Longer than one of the database's processes is frozen, which cannot end what it has open.
"""

NOT_KEPT = httpx.Limits(max_keepalive_connections=0)

_LEFT_OPEN = """
    SELECT pid FROM pg_stat_activity
    WHERE state LIKE 'idle in transaction%%' AND application_name <> %s
    AND state_change < clock_timestamp() - make_interval(secs => %s)
"""


@dataclass
class Suite:
    stage: Stage
    provider: Provider
    http: httpx.AsyncClient
    watch: Watch

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
        return wrong + self.watch.wrong + await self._left_open(1.0)

    async def _ready(self, address: str) -> bool:
        return (await self.http.get(f"{address}/ready")).status_code == 200

    async def _left_open(self, seconds: float) -> list[str]:
        if self.stage.fleet.frozen:  # which may be in the middle of a transaction
            return []
        left = await self.stage.postgres.ask(_LEFT_OPEN, NAME, seconds)
        return [f"a connection is idle in transaction ({row['pid']})" for row in left]


class _Transport(httpx.AsyncHTTPTransport):
    """Says of a connection that is reset as soon as it is made that it was lost."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except AttributeError as error:  # anyio asks the socket that is gone who its peer is
            raise httpx.ConnectError("reset when it was made") from error


@asynccontextmanager
async def stage_set(
    replicas: int,
    patient: int,
    *,
    build: str | None = None,
    logs: Path | None = None,
    say: Say,
) -> AsyncIterator[Suite]:
    """Postgres, PgBouncer where it is installed, a provider, and `replicas` servers.

    `patient` more give a run the time that outlasts a lease. Every second server reaches the
    database through PgBouncer. What they log goes into `logs`.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="todo-chat-faults-")))
        provider = Provider()
        model = await stack.enter_async_context(ScriptedProvider(then=provider.step))
        forks = await stack.enter_async_context(the_nursery())
        server = await stack.enter_async_context(postgres(folder / "postgres"))
        pooled_url, process = await _second_way(stack, server, folder)
        limits = [*[RUN_LIMIT] * replicas, *[PATIENT_LIMIT] * patient]
        wires = [
            await stack.enter_async_context(
                tcp_proxy(_as(application(slot), (server.url, pooled_url)[slot % 2]))
            )
            for slot in range(len(limits))
        ]
        environments = [
            environment(wire.url, model.base_url, limit)
            for wire, limit in zip(wires, limits, strict=True)
        ]
        fleet = Fleet(forks, logs or folder, environments, build)
        stack.push_async_callback(fleet.end)
        await fleet.fill()
        http = httpx.AsyncClient(timeout=PATIENCE, transport=_Transport(limits=NOT_KEPT))
        await stack.enter_async_context(http)
        stage = Stage(
            server,
            fleet,
            wires,
            ordinary=range(replicas),
            patient=(replicas, replicas + 1),
            pooler=process,
            say=say,
        )
        async with _watched(server, fleet, http) as watch:
            yield Suite(stage, provider, http, watch)
        await fleet.settle()


@asynccontextmanager
async def _watched(server: Postgres, fleet: Fleet, http: httpx.AsyncClient) -> AsyncIterator[Watch]:
    user = await better_auth.add_user(server.url, "watch")
    watch = Watch(fleet, http, await better_auth.sign_in(server.url, user))
    watching = asyncio.create_task(watch.keep())
    try:
        yield watch
    finally:
        watching.cancel()
        # or a connection that is just being made would outlive its client
        await asyncio.wait({watching})
    if not watching.cancelled():
        watching.result()


def _as(name: str, database_url: str) -> str:
    return f"{database_url}{'&' if '?' in database_url else '?'}application_name={name}"


async def _second_way(
    stack: AsyncExitStack, server: Postgres, folder: Path
) -> tuple[str, int | None]:
    """The address through the pooler, and its process; the server's own where there is none."""
    program = find_pgbouncer()
    if program is None:
        return server.url, None
    return await stack.enter_async_context(pooler(program, server.url, folder))


async def play_scenarios(
    scenarios: list[Scenario],
    *,
    at_once: int,
    replicas: int,
    minutes: float,
    build: str | None = None,
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

    patient = 2 * any(scenario.patient for scenario in scenarios)
    async with stage_set(replicas, patient, build=build, logs=logs, say=say) as suite:
        in_time = (each for each in scenarios if perf_counter() < deadline)
        await suite.play_all(in_time, at_once, done)
        return results, await suite.aftermath()


async def play_broken(build: str, count: int, say: Say) -> list[Result]:
    """Scenarios in which a build without one of its rules met with what the rule is for.

    `count` are played; one whose server another of them killed before is left out.
    """
    if build == "leases":
        scenarios = [starved(STARVED_EVERY * (1 + WAYS * number)) for number in range(count)]
    else:
        streamed = build == "told"
        scenarios = [killed_at_its_record(seed, streamed) for seed in range(1, count + 1)]
    results, _ = await play_scenarios(
        scenarios,
        at_once=3,
        replicas=2 if build == "leases" else 6,
        minutes=5,
        build=build,
        say=say,
        progress=lambda _: None,
    )
    return [result for result in results if result.happened]
