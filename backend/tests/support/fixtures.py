"""The real app on a real Postgres, reached over HTTP; only the model is scripted.

Tests share one database and keep apart by their users, which are new for each test, so no
test depends on another or cleans up after itself.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from shutil import disk_usage
from typing import Any

import httpx
import pytest
from agents import Model, ModelResponse
from agents.items import TResponseStreamEvent
from agents.testing import ScriptedModel
from fastapi import FastAPI
from hypothesis import settings as hypothesis

from backend.config import Settings
from backend.database import Sessions as OwnSessions
from backend.main import create_app
from backend.tests.support import better_auth
from backend.tests.support.databases import (
    Sessions,
    bring_up,
    database_url,
    keep_sessions,
    make_database,
    migrated_template,
    postgres_url,
    temporary_database,
)
from backend.tests.support.owners import argued_for, looked_at
from backend.tests.support.servers import forking
from backend.web.logs import configure_logging

__all__ = ["database_url", "make_database", "migrated_template", "postgres_url"]

MEMORY = Path("/dev/shm")  # noqa: S108  # it is not for one file with a name to be guessed
ROOM = 4 << 30
"""Bytes: each worker's server keeps up to one of them of what it has written."""

hypothesis.register_profile("short", max_examples=40, deadline=None)
hypothesis.register_profile("long", max_examples=2000, deadline=None)
hypothesis.load_profile("short")  # of `make hunt`

type Run = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
"""Makes a signed-in client's twin on another app: `async with run(alice, **settings)`."""


@pytest.fixture(scope="session", autouse=True)
def folders_in_memory() -> Iterator[None]:
    """Folders are made in memory, where there is room: on a disk files take ten times as long.

    A new database is 300 of them.
    """
    with pytest.MonkeyPatch.context() as patch:
        if MEMORY.is_dir() and disk_usage(MEMORY).free > ROOM:
            patch.setattr("tempfile.tempdir", str(MEMORY))
        yield


@pytest.fixture(scope="session", autouse=True)
async def forks(folders_in_memory: None) -> AsyncIterator[None]:
    """Servers in processes of their own are forked, save where their start is looked at."""
    async with forking():
        yield


@pytest.fixture(scope="session")
async def shared_database_url(postgres_url: str) -> AsyncIterator[str]:
    """The database the tests share: our tables and Better Auth's."""
    async with temporary_database(postgres_url) as url:
        await bring_up(url)
        async with better_auth.connections_kept(url):
            await better_auth.execute(url, better_auth.TABLES)
            yield url


@pytest.fixture(scope="session")
def unowned() -> Iterator[set[str]]:
    """The statements without an owner that were made since the last look."""
    with looked_at() as found:
        yield found


@pytest.fixture(autouse=True)
def statements_name_their_owners(unowned: set[str]) -> Iterator[None]:
    """No test has the service send one that is not argued for."""
    yield
    new = unowned - argued_for()
    unowned.clear()
    assert not new, f"name no owner, and are not in scale.md: {', '.join(sorted(new))}"


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
    """An app from its start to its end, which leaves the process's log as it is for the others."""
    app = create_app(settings, model=model)
    try:
        async with app.router.lifespan_context(app):
            yield app
    finally:
        configure_logging("WARNING")


_AT_HAND: ContextVar[Model] = ContextVar("the model of the test that asks")


class ModelAtHand(Model):
    """The model of an app that many tests share: that of the test whose request it is."""

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await _AT_HAND.get().get_response(*args, **kwargs)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        return _AT_HAND.get().stream_response(*args, **kwargs)


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
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that cannot be reached is tried again at once; else a second is waited in all."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


@pytest.fixture(scope="session")
def usual_settings(shared_database_url: str) -> Settings:
    """The contract's defaults, save for the turns at once."""
    return make_settings(shared_database_url)


@pytest.fixture
def settings(usual_settings: Settings) -> Settings:
    """The test's settings."""
    return usual_settings


@pytest.fixture(scope="session")
async def shared_app(usual_settings: Settings) -> AsyncIterator[FastAPI]:
    """The app of all tests that only ask it: a start and its connections cost more than they do."""
    async with running(usual_settings, ModelAtHand()) as app:
        yield app


TOUCHES = {"app", "own_sessions"}
"""What a test has that looks into its app, or changes it."""


@pytest.fixture
async def app(
    request: pytest.FixtureRequest, settings: Settings, model: ScriptedModel, shared_app: FastAPI
) -> AsyncIterator[FastAPI]:
    """The test's app: one of its own where it touches it, or has settings of its own."""
    touched = TOUCHES & inspect.signature(request.function).parameters.keys()
    if touched or settings is not shared_app.state.runtime.settings:
        async with running(settings, model) as app:
            yield app
        return
    configure_logging(settings.log_level)
    _AT_HAND.set(model)
    yield shared_app


@pytest.fixture
def own_sessions(app: FastAPI) -> OwnSessions:
    """The app's sessions, to call what the routes call."""
    sessions: OwnSessions = app.state.sessions
    return sessions


@pytest.fixture(scope="session")
async def sessions(shared_database_url: str) -> AsyncIterator[Sessions]:
    """Sessions beside the app's, to look at rows."""
    async with keep_sessions(shared_database_url) as sessions:
        yield sessions


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Nobody signed in."""
    async with client_of(app) as client:
        yield client


@pytest.fixture(scope="session")
def signed_up(shared_database_url: str) -> better_auth.SignedUp:
    return better_auth.SignedUp(shared_database_url)


@pytest.fixture
async def alice_signed_up(signed_up: better_auth.SignedUp) -> tuple[str, str]:
    """Her id and the token of her session."""
    return await signed_up.take("alice")


@pytest.fixture
async def bob_signed_up(signed_up: better_auth.SignedUp) -> tuple[str, str]:
    return await signed_up.take("bob")


@pytest.fixture
def alice_id(alice_signed_up: tuple[str, str]) -> str:
    return alice_signed_up[0]


@pytest.fixture
def bob_id(bob_signed_up: tuple[str, str]) -> str:
    return bob_signed_up[0]


@pytest.fixture
async def alice(app: FastAPI, alice_signed_up: tuple[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, alice_signed_up[1]) as client:
        yield client


@pytest.fixture
async def bob(app: FastAPI, bob_signed_up: tuple[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """The second user, for whom what is Alice's is not there."""
    async with client_of(app, bob_signed_up[1]) as client:
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
