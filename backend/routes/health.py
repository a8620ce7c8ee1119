"""Whether the process lives, and whether it can serve. Monitors ask with HEAD as well."""

import asyncio
import math
import time
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from backend.database import READY_S, Pool, is_ready
from backend.errors import DatabaseUnavailable, Stopping
from backend.web.openapi import HEALTH_ERRORS, READY_ERRORS

router = APIRouter(tags=["health"])

LOOK_EVERY_S = 1.0
"""Seconds from one look at the database to the next, however many ask, since anybody may."""


class Health(BaseModel):
    status: Literal["ok", "ready"]


class Readiness:
    """The last look at the database, for all who ask while it is fresh; `app.state.readiness`."""

    def __init__(self) -> None:
        self._looked = -math.inf
        self._ready = False
        self._looking: asyncio.Task[None] | None = None

    async def look(self, pool: Pool) -> bool:
        """Whether it was ready, or is within `READY_S`, whoever else asks or leaves meanwhile."""
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return self._ready
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(pool))
        looking = self._looking
        await asyncio.wait({looking}, timeout=READY_S)
        return looking.done() and self._ready

    async def _look(self, pool: Pool) -> None:
        self._ready = False
        self._ready = await is_ready(pool)
        self._looked = time.monotonic()


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Liveness", responses=HEALTH_ERRORS)
async def health() -> Health:
    """The process answers; nothing else is asked."""
    return Health(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Readiness", responses=READY_ERRORS)
async def ready(request: Request) -> Health:
    """The database answers and has our schema, and nobody has told the service to stop.

    It is looked at once a second at the most, so the answer may be a second old.
    """
    if request.app.state.stopping:
        raise Stopping
    if not await request.app.state.readiness.look(request.app.state.pool):
        raise DatabaseUnavailable
    return Health(status="ready")
