"""The real app on a real Postgres, reached over HTTP; only the model is scripted.

Tests share one database and keep apart by their users, which are new for each test, so no
test depends on another or cleans up after itself.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from agents import Model
from agents.testing import ScriptedModel
from fastapi import FastAPI

from backend.config import Settings
from backend.database import Sessions as OwnSessions
from backend.main import create_app
from backend.tests.support import better_auth
from backend.tests.support.databases import (
    Sessions,
    bring_up,
    database_url,
    make_database,
    migrated_template,
    open_sessions,
    postgres_url,
    temporary_database,
)

__all__ = ["database_url", "make_database", "migrated_template", "postgres_url"]

type Run = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
"""Makes a signed-in client's twin on another app: `async with run(alice, **settings)`."""


@pytest.fixture(scope="session")
async def shared_database_url(postgres_url: str) -> AsyncIterator[str]:
    """The database the tests share: our tables and Better Auth's."""
    async with temporary_database(postgres_url) as url:
        await bring_up(url)
        await better_auth.execute(url, better_auth.TABLES)
        yield url


def make_settings(url: str, **values: Any) -> Settings:
    """Settings for a database, from nothing else: neither the environment nor a `.env`."""
    given: dict[str, Any] = {
        "openai_api_key": "a-key",
        "log_level": "WARNING",
        "chat_concurrency": 100,
        "rate_limit_sign_in": "10000/minute",
        "ai_summaries": False,
    }
    return Settings(_env_file=None, database_url=url, **given | values)


@asynccontextmanager
async def running(settings: Settings, model: Model | None = None) -> AsyncIterator[FastAPI]:
    """An app from its start to its end."""
    app = create_app(settings, model=model)
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI, token: str | None = None) -> httpx.AsyncClient:
    """A client of `app`, signed in where a token is given."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=60,
    )


async def settled(client: httpx.AsyncClient) -> None:
    """Wait until the app behind `client` has done what its turns left to do."""
    transport: Any = client._transport
    await transport.app.state.runtime.afterwork.drain(seconds=20)


@pytest.fixture
def model() -> ScriptedModel:
    """The model of the test's app; a test puts its steps in with `model.extend`."""
    return ScriptedModel([])


@pytest.fixture
def settings(shared_database_url: str) -> Settings:
    """The test's settings: the contract's defaults, save for the turns at once."""
    return make_settings(shared_database_url)


@pytest.fixture
async def app(settings: Settings, model: ScriptedModel) -> AsyncIterator[FastAPI]:
    async with running(settings, model) as app:
        yield app


@pytest.fixture
def own_sessions(app: FastAPI) -> OwnSessions:
    """The app's sessions, to call what the routes call."""
    sessions: OwnSessions = app.state.sessions
    return sessions


@pytest.fixture
async def sessions(shared_database_url: str) -> AsyncIterator[Sessions]:
    """Sessions beside the app's, to look at rows."""
    async with open_sessions(shared_database_url) as sessions:
        yield sessions


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Nobody signed in."""
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def alice_id(shared_database_url: str) -> str:
    return await better_auth.add_user(shared_database_url, "alice")


@pytest.fixture
async def bob_id(shared_database_url: str) -> str:
    return await better_auth.add_user(shared_database_url, "bob")


@pytest.fixture
async def alice(
    app: FastAPI, shared_database_url: str, alice_id: str
) -> AsyncIterator[httpx.AsyncClient]:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    async with client_of(app, token) as client:
        yield client


@pytest.fixture
async def bob(
    app: FastAPI, shared_database_url: str, bob_id: str
) -> AsyncIterator[httpx.AsyncClient]:
    """The second user, for whom what is Alice's is not there."""
    token = await better_auth.sign_in(shared_database_url, bob_id)
    async with client_of(app, token) as client:
        yield client


@pytest.fixture
def run(shared_database_url: str, model: ScriptedModel) -> Run:
    """Another app on the same database, with other settings, for the same person."""

    @asynccontextmanager
    async def twin(
        client: httpx.AsyncClient, model: Model | None = model, **values: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        token = client.headers.get("authorization", "").removeprefix("Bearer ")
        async with (
            running(make_settings(shared_database_url, **values), model) as app,
            client_of(app, token) as other,
        ):
            yield other

    return twin
