"""Whether the process lives, and whether it can serve."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from backend.database import is_ready
from backend.errors import DatabaseUnavailable, Stopping
from backend.web.openapi import HEALTH_ERRORS, READY_ERRORS

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: Literal["ok", "ready"]


@router.get("/health", summary="Liveness", responses=HEALTH_ERRORS)
async def health() -> Health:
    """The process answers; nothing else is asked."""
    return Health(status="ok")


@router.get("/ready", summary="Readiness", responses=READY_ERRORS)
async def ready(request: Request) -> Health:
    """The database answers and has our schema, and nobody has told the service to stop."""
    if request.app.state.stopping:
        raise Stopping
    if not await is_ready(request.app.state.engine):
        raise DatabaseUnavailable
    return Health(status="ready")
