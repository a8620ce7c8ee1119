"""Each Postgres from the oldest that serves, in the C locale: start, adoption, a person's day.

The newest is the embedded one, on which all other tests run.
"""

from collections.abc import AsyncIterator

import pytest
from agents.testing import ScriptedModel

from backend.models import Task
from backend.tests.postgres.test_poolers import everything
from backend.tests.support import better_auth
from backend.tests.support import earlier_backend as earlier
from backend.tests.support.adopting import adopt_again, rows_of
from backend.tests.support.databases import bring_up, execute, scalar, temporary_database
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.postgres_versions import VERSIONS, postgres_of

pytestmark = [pytest.mark.long, pytest.mark.e2e]


@pytest.fixture(scope="module", params=VERSIONS)
async def version(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(scope="module")
async def server(version: int) -> AsyncIterator[str]:
    async with postgres_of(version) as url:
        yield url


@pytest.fixture
async def url(server: str) -> AsyncIterator[str]:
    async with temporary_database(server) as url:
        yield url


async def test_it_is_that_version(server: str, version: int) -> None:
    running = "SELECT current_setting('server_version_num')::int / 10000"
    assert await scalar(server, running) == version


async def test_a_fresh_database_serves_a_person(url: str, model: ScriptedModel) -> None:
    await better_auth.execute(url, better_auth.TABLES)
    token = await better_auth.sign_in(url, await better_auth.add_user(url, "alice"))
    async with running(make_settings(url), model) as app, client_of(app, token) as client:
        await everything(client, model, times=2)


@pytest.mark.parametrize(
    "form",
    [
        "zoneless, server in Karachi",
        *(pytest.param(name, marks=pytest.mark.hunt) for name in ("instants", "tags as an array")),
    ],
)
async def test_an_earlier_backends_database_is_adopted_twice(form: str, url: str) -> None:
    await execute(url, *earlier.statements(earlier.FORMS[form]))
    await bring_up(url)
    await adopt_again(url)
    tasks = await rows_of(url, Task)
    assert [task.title for task in tasks] == [row["title"] for row in earlier.TASKS]
