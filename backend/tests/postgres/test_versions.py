"""The oldest Postgres that serves, in the C locale: a start, an adoption, and what a person does.

The newest is the embedded one, on which all other tests run.
"""

from collections.abc import AsyncIterator

import pytest
from agents.testing import ScriptedModel

from backend.models import Task
from backend.tests.conftest import client_of, make_settings, running
from backend.tests.postgres.test_poolers import everything
from backend.tests.support import better_auth
from backend.tests.support import earlier_backend as earlier
from backend.tests.support.adopting import adopt_again, rows_of
from backend.tests.support.databases import bring_up, execute, scalar, temporary_database
from backend.tests.support.debian_postgres import debian_postgres


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[str]:
    async with debian_postgres() as url:
        yield url


@pytest.fixture
async def url(server: str) -> AsyncIterator[str]:
    async with temporary_database(server) as url:
        yield url


async def test_it_is_the_oldest_that_serves(url: str) -> None:
    assert await scalar(url, "SELECT current_setting('server_version_num')::int / 10000") == 15


async def test_a_fresh_database_serves_a_person(url: str, model: ScriptedModel) -> None:
    await better_auth.execute(url, better_auth.TABLES)
    token = await better_auth.sign_in(url, await better_auth.add_user(url, "alice"))
    async with running(make_settings(url), model) as app, client_of(app, token) as client:
        await everything(client, model, times=2)


@pytest.mark.parametrize("form", ["instants", "zoneless, server in Karachi", "tags as an array"])
async def test_an_earlier_backends_database_is_adopted_twice(form: str, url: str) -> None:
    await execute(url, *earlier.statements(earlier.FORMS[form]))
    await bring_up(url)
    await adopt_again(url)
    tasks = await rows_of(url, Task)
    assert [task.title for task in tasks] == [row["title"] for row in earlier.TASKS]
