"""The database goes away: the request in hand is answered honestly, the next ones recover."""

import asyncio

import httpx
from agents.testing import ModelStep, ScriptedModel
from fastapi import FastAPI

from backend.postgres.pool import Pool
from backend.tests.support import better_auth
from backend.tests.support.databases import MakeDatabase
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.scripting import calls, says
from backend.tests.test_chat import chat, messages_of

TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND application_name = 'todo-chat'
"""


async def own_database(make_database: MakeDatabase, template: str) -> tuple[str, str]:
    """A database of the test's own, whose connections it may kill, and a token on it."""
    url = await make_database(template)
    await better_auth.execute(url, better_auth.TABLES)
    return url, await better_auth.sign_in(url, await better_auth.add_user(url, "alice"))


async def test_killed_connections_are_replaced_without_anyone_seeing_it(
    make_database: MakeDatabase, migrated_template: str, model: ScriptedModel
) -> None:
    url, token = await own_database(make_database, migrated_template)
    async with running(make_settings(url), model) as app, client_of(app, token) as client:
        await asyncio.gather(*(client.get("/api/tasks") for _ in range(5)))
        await better_auth.execute(url, TERMINATE)
        model.extend([calls("add_task", {"title": "Milk"}), says("Added.")])
        assert (await chat(client, "Add milk"))["response"] == "Added."


async def test_connections_killed_while_the_model_thinks_do_not_harm_the_turn(
    make_database: MakeDatabase, migrated_template: str, model: ScriptedModel
) -> None:
    url, token = await own_database(make_database, migrated_template)

    async def kill(_: object) -> ModelStep:
        await better_auth.execute(url, TERMINATE)
        return ModelStep(output=says("Added."))

    model.extend([calls("add_task", {"title": "Milk"}), ModelStep.respond(kill)])
    async with running(make_settings(url), model) as app, client_of(app, token) as client:
        turn = await chat(client, "Add milk")
        contents = [m["content"] for m in await messages_of(client, turn["conversation_id"])]
        assert contents == ["Add milk", "Added."]


async def test_a_database_that_is_gone_for_the_end_of_a_turn_is_waited_for(
    make_database: MakeDatabase, migrated_template: str, model: ScriptedModel
) -> None:
    url, token = await own_database(make_database, migrated_template)
    name = url.rpartition("/")[2].partition("?")[0]
    server = url.replace(f"/{name}", "/postgres")

    async def shut_out(_: object) -> ModelStep:
        await better_auth.execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await better_auth.execute(server, TERMINATE.replace("current_database()", f"'{name}'"))
        asyncio.get_running_loop().call_later(0.3, asyncio.ensure_future, let_in())
        return ModelStep(output=says("Added."))

    async def let_in() -> None:
        await better_auth.execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    model.extend([calls("add_task", {"title": "Milk"}), ModelStep.respond(shut_out)])
    async with running(make_settings(url), model) as app, client_of(app, token) as client:
        assert (await chat(client, "Add milk"))["response"] == "Added."


async def test_a_full_pool_is_a_503_in_the_envelope(
    alice: httpx.AsyncClient, app: FastAPI, model: ScriptedModel
) -> None:
    pool: Pool = app.state.pool
    pool.checkout_s = 0.1
    held = [await pool.take() for _ in range(pool.size)]
    answer = await alice.get("/api/tasks")
    for connection in held:
        pool.give_back(connection)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert (await alice.get("/api/tasks")).status_code == 200
