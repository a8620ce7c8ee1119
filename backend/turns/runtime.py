"""What lives as long as the app, for whoever takes or serves a turn."""

import asyncio
from dataclasses import dataclass

from backend.agent.models.catalog import Providers
from backend.agent.toolsets import Toolsets
from backend.config import Settings
from backend.database import Sessions
from backend.turns.afterwork import Afterwork
from backend.turns.live import Live
from backend.turns.runs import Runs


@dataclass(frozen=True, slots=True)
class Runtime:
    """What lives as long as the app and every turn needs."""

    settings: Settings
    sessions: Sessions
    autocommit: Sessions
    """For what is one statement, and so a transaction by itself."""
    marks: Sessions
    """The same on a connection of its own, for whether an answer was taken: a resend asks soon."""
    providers: Providers
    runs: Runs
    live: Live
    places: asyncio.Semaphore
    afterwork: Afterwork
    toolsets: Toolsets
