"""What is so of an app at the moment that somebody asks: its connections, runs, streams, work."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

from fastapi import FastAPI

from backend.config import Settings
from backend.database import Pool
from backend.telemetry import figures
from backend.telemetry.figures import NO_LABELS, Gauge, Labels
from backend.turns.runtime import Runtime

FEEL_EVERY = 0.25
"""Seconds between two looks at how late the event loop is."""


@asynccontextmanager
async def watched(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Have the gauges look at `app`, where figures are told; it is all set up by then."""
    if not (settings.metrics_to or settings.serves_metrics):
        yield
        return
    feeling = asyncio.create_task(_feel_lag())
    try:
        with ExitStack() as stack:
            for gauge, look, labels in _looks(app.state.pool, app.state.runtime, settings):
                stack.enter_context(gauge.watching(look, labels))
            yield
    finally:
        feeling.cancel()


def _looks(
    pool: Pool, runtime: Runtime, settings: Settings
) -> list[tuple[Gauge, Callable[[], float], Labels]]:
    places = settings.database_pool_size - 1
    used, idle = ({"db.client.connection.state": state} for state in ("used", "idle"))
    return [
        (figures.CONNECTIONS, lambda: pool.in_use, used),
        (figures.CONNECTIONS, lambda: pool.idle, idle),
        (figures.CONNECTIONS_MAX, lambda: pool.size, NO_LABELS),
        (figures.TURNS_RUNNING, lambda: len(runtime.runs.held()), NO_LABELS),
        (figures.PLACES_USED, lambda: places - runtime.places._value, NO_LABELS),
        (figures.PLACES, lambda: places, NO_LABELS),
        (figures.STREAMS_OPEN, lambda: runtime.live.seats.taken, NO_LABELS),
        (figures.AFTERWORK, lambda: runtime.afterwork.waiting, NO_LABELS),
    ]


async def _feel_lag() -> None:
    """Measure, until cancelled, how much later than it asked a sleeper is woken."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + FEEL_EVERY
        await asyncio.sleep(FEEL_EVERY)
        figures.LOOP_LAG.record(max(0.0, clock() - due))
