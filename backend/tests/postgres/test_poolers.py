"""Behind a pooler that hands each transaction to another connection, without a hint of it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.faults.pooler import find_pgbouncer, pooled
from backend.tests.support import better_auth
from backend.tests.support.databases import MakeDatabase, execute
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.forgetful import forgetful_pooler
from backend.tests.support.scripting import calls, says
from backend.tests.test_chat import chat, messages_of


@asynccontextmanager
async def pgbouncer(url: str) -> AsyncIterator[str]:
    program = find_pgbouncer()
    if program is None:
        pytest.skip("pgbouncer is not installed")
    with TemporaryDirectory(prefix="pgbouncer-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103  # it runs as another account where this is root
        async with pooled(program, url, Path(folder)) as address:
            yield address.removesuffix("?pgbouncer=true")


POOLERS = {"pgbouncer": pgbouncer, "forgetful": forgetful_pooler}


async def everything(client: httpx.AsyncClient, model: ScriptedModel, times: int) -> None:
    """What a person does, `times` times: a turn with a tool, its history, a search, an undo."""
    for _ in range(times):
        model.extend([calls("add_task", {"title": "Äpfel"}), says("Added.")])
        turn = await chat(client, "Add apples")
        newest = (await messages_of(client, turn["conversation_id"]))[-1]
        found = await client.get("/api/conversations", params={"q": "apples"})
        assert turn["conversation_id"] in [each["id"] for each in found.json()["conversations"]]
        undone = await client.post(f"/api/messages/{newest['id']}/undo")
        assert undone.status_code == 200, undone.text
        listed = await asyncio.gather(*(client.get("/api/tasks") for _ in range(6)))
        assert [(answer.status_code, answer.json()["total"]) for answer in listed] == [(200, 0)] * 6


@pytest.mark.parametrize("pooler", POOLERS)
async def test_nothing_fails_behind_a_pooler_that_knows_no_prepared_statements(
    pooler: str, make_database: MakeDatabase, migrated_template: str, model: ScriptedModel
) -> None:
    url = await make_database(migrated_template)
    await better_auth.execute(url, better_auth.TABLES)
    token = await better_auth.sign_in(url, await better_auth.add_user(url, "alice"))
    async with (
        POOLERS[pooler](url) as address,
        running(make_settings(address), model) as app,
        client_of(app, token) as client,
    ):
        await everything(client, model, times=4)


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
@pytest.mark.parametrize("pooler", [None, "pgbouncer"])
async def test_another_default_isolation_makes_no_difference(
    isolation: str,
    pooler: str | None,
    make_database: MakeDatabase,
    migrated_template: str,
    model: ScriptedModel,
) -> None:
    url = await make_database(migrated_template)
    name = url.split("?")[0].rpartition("/")[2]
    await execute(url, f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    await better_auth.execute(url, better_auth.TABLES)
    token = await better_auth.sign_in(url, await better_auth.add_user(url, "alice"))
    through = POOLERS[pooler] if pooler else directly
    async with (
        through(url) as address,
        running(make_settings(address), model) as app,
        client_of(app, token) as client,
    ):
        task = (await client.post("/api/tasks", json={"title": "Milk"})).json()
        path = f"/api/tasks/{task['id']}/complete"
        answers = await asyncio.gather(*(client.patch(path) for _ in range(12)))
        assert {answer.status_code for answer in answers} == {200}


@asynccontextmanager
async def directly(url: str) -> AsyncIterator[str]:
    yield url
