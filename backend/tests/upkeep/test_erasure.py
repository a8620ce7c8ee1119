"""All of a person deleted: every row of theirs, none of another's, whoever dies in the middle."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI
from psycopg import AsyncConnection, DatabaseError

from backend.database import Sessions as OwnSessions
from backend.journal.outside import OutsideCall
from backend.mcp.calls import call_tool
from backend.postgres.session import REFUSED
from backend.routes import ui_chat
from backend.tests.journal.test_quotas import Thinking, answer_of
from backend.tests.support import better_auth
from backend.tests.support.databases import temporary_database
from backend.tests.support.fixtures import Run, settled
from backend.tests.support.rows import fingerprint, rows_of, rows_of_nobody, seed, tables_of_people
from backend.tests.support.scripting import says
from backend.tests.support.servers import Server, serving
from backend.tests.support.task_calls import add, listed
from backend.tests.test_chat import chat
from backend.upkeep.erasing import begin_erasure, carry_on

pytestmark = pytest.mark.long

NOWHERE = "http://127.0.0.1:1/v1"
BEING_DELETED = "ACCOUNT_BEING_DELETED"


async def erase(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/api/account")
    assert (answer.status_code, answer.content) == (204, b""), answer.text


async def test_every_row_of_the_person_goes_and_none_of_anyone_else(
    alice: httpx.AsyncClient,
    bob: httpx.AsyncClient,
    alice_id: str,
    bob_id: str,
    shared_database_url: str,
    model: ScriptedModel,
) -> None:
    for user_id in (alice_id, bob_id):
        await seed(shared_database_url, user_id, 60)
    assert set(await rows_of(shared_database_url, alice_id)) == set(tables_of_people())
    before = await fingerprint(shared_database_url, bob_id)
    await erase(alice)
    assert await rows_of(shared_database_url, alice_id) == {}
    assert await rows_of_nobody(shared_database_url) == 0
    assert await fingerprint(shared_database_url, bob_id) == before
    assert await listed(alice) == []
    await erase(alice)
    # and then they may begin anew
    await add(alice, "Buy milk")
    model.extend([says("Welcome.")])
    await chat(alice, "Hello")
    assert await rows_of(shared_database_url, alice_id) == {
        "tasks": 1,
        "conversations": 1,
        "messages": 2,
    }


async def test_an_erasure_keeps_no_name_of_whom_it_was_and_its_mark_goes_after_midnight(
    alice: httpx.AsyncClient, alice_id: str, app: FastAPI, shared_database_url: str
) -> None:
    await erase(alice)
    marks = "FROM erasures WHERE user_hash = encode(sha256(%s::bytea), 'hex')"
    ((user_id, day),) = await better_auth.execute(
        shared_database_url, f"SELECT user_id, day {marks}", alice_id
    )
    assert (user_id, day is not None) == (None, True)
    await app.state.upkeep.clear()
    assert await better_auth.execute(shared_database_url, f"SELECT 1 {marks}", alice_id)
    await better_auth.execute(
        shared_database_url, "UPDATE erasures SET day = day - 1 WHERE erased_at IS NOT NULL"
    )
    await app.state.upkeep.clear()
    assert not await better_auth.execute(shared_database_url, f"SELECT 1 {marks}", alice_id)


async def test_nothing_new_of_the_person_is_taken_while_it_goes_on(
    alice: httpx.AsyncClient,
    bob: httpx.AsyncClient,
    alice_id: str,
    own_sessions: OwnSessions,
    model: ScriptedModel,
    shared_database_url: str,
) -> None:
    model.extend([says("Hello.")])
    task = await add(alice, "Buy milk", steps=[{"title": "Find the shop"}])
    step = task["steps"][0]["id"]
    turn = await chat(alice, "Hi")
    here = f"/api/conversations/{turn['conversation_id']}"
    project = (await alice.post("/api/projects", json={"name": "Home"})).json()["id"]
    await begin_erasure(own_sessions, alice_id)
    await better_auth.execute(
        shared_database_url,
        "UPDATE erasures SET closed_at = now() WHERE user_id = %s",
        alice_id,
    )
    before = await fingerprint(shared_database_url, alice_id)
    writes: list[tuple[str, str, object]] = [
        ("POST", "/api/tasks", {"title": "New"}),
        ("PUT", f"/api/tasks/{task['id']}", {"title": "Other"}),
        ("PATCH", f"/api/tasks/{task['id']}/complete", None),
        ("DELETE", f"/api/tasks/{task['id']}", None),
        ("POST", f"/api/tasks/{task['id']}/steps", {"title": "Next"}),
        ("PATCH", f"/api/tasks/{task['id']}/steps/{step}", {"done": True}),
        ("POST", "/api/projects", {"name": "Work"}),
        ("PATCH", f"/api/projects/{project}", {"name": "Work"}),
        ("DELETE", f"/api/projects/{project}", None),
        ("POST", "/api/conversations", {}),
        ("PATCH", here, {"title": "Other"}),
        ("POST", f"{here}/archive", None),
        ("DELETE", here, None),
        ("POST", "/api/chat", {"message": "Hello"}),
        ("POST", "/api/chat", {"message": "More", "conversation_id": turn["conversation_id"]}),
        ("POST", "/api/calendar", None),
        (
            "POST",
            ui_chat.PATH,
            {
                "id": "c1",
                "messages": [
                    {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
                ],
            },
        ),
    ]
    for method, path, body in writes:
        answer = await alice.request(method, path, json=body)
        assert answer.status_code == 409, (method, path, answer.text)
        assert answer.json()["error"]["code"] == BEING_DELETED
        assert int(answer.headers["retry-after"]) >= 1
    outside = OutsideCall(alice_id, "a client")
    done = await call_tool(own_sessions, outside, "add_task", {"title": "From outside"})
    assert done["success"] is False
    assert await fingerprint(shared_database_url, alice_id) == before
    await add(bob, "Mine")
    await erase(alice)
    assert await rows_of(shared_database_url, alice_id) == {}


async def test_deletion_is_no_way_round_the_budget_of_the_day(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    model.extend([answer_of("Once.", 60), answer_of("Twice.", 60), says("Bob's.")])
    async with run(alice, daily_token_budget=100) as her, run(bob, daily_token_budget=100) as his:
        await chat(her, "one")
        await erase(her)
        await chat(her, "two")
        for _ in range(2):
            await erase(her)
            refused = await her.post("/api/chat", json={"message": "three"})
            assert refused.status_code == 429
            details = refused.json()["error"]["details"]
            assert (details["limit"], details["used_tokens"]) == ("daily_token_budget", 120)
        assert (await her.get("/api/usage")).json()["days"] == []
        await chat(his, "mine")


async def test_a_turn_that_runs_is_stopped_first_wherever_it_runs(
    alice: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    run: Run,
    shared_database_url: str,
) -> None:
    thinking = Thinking()
    model.extend([answer_of("Before.", 40), *thinking.steps(1)])
    async with run(alice) as elsewhere:
        await chat(alice, "one")
        running = asyncio.create_task(elsewhere.post("/api/chat", json={"message": "two"}))
        await thinking.wait_for(1)
        await erase(alice)
        answer = await running
        thinking.go_on.set()
    assert answer.status_code < 500, answer.text
    assert await rows_of(shared_database_url, alice_id) == {}
    assert await rows_of_nobody(shared_database_url) == 0


async def test_what_was_being_written_when_it_began_is_waited_for_and_goes_too(
    alice: httpx.AsyncClient, alice_id: str, shared_database_url: str
) -> None:
    async with await AsyncConnection.connect(shared_database_url) as other:
        await other.execute("INSERT INTO tasks (user_id, title) VALUES (%s, 'late')", [alice_id])
        deleting = asyncio.create_task(alice.delete("/api/account"))
        begun = "SELECT EXISTS (SELECT FROM erasures WHERE user_id = %s)"
        while await better_auth.execute(shared_database_url, begun, alice_id) != [(True,)]:
            assert not deleting.done()
        # who comes now is refused, and waits for nobody
        assert (await alice.post("/api/tasks", json={"title": "later"})).status_code == 409
        assert not deleting.done()
    assert (await deleting).status_code == 204
    assert await rows_of(shared_database_url, alice_id) == {}


async def test_what_a_turn_left_to_do_writes_nothing_of_who_is_gone(
    alice: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    run: Run,
    shared_database_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    thinking = Thinking()
    model.extend([says("Hello!"), says("Yes."), *thinking.steps(1)])
    async with run(alice, ai_summaries=True) as client:
        turn = await chat(client, "Please add oat milk")
        await settled(client)
        await chat(client, "and?", conversation_id=turn["conversation_id"])
        await thinking.wait_for(1)  # a model is being asked for a title
        await erase(client)
        thinking.go_on.set()
        await settled(client)
    assert await rows_of(shared_database_url, alice_id) == {}
    assert "ERROR" not in caplog.text


async def test_what_takes_longer_than_is_waited_for_goes_on(
    alice: httpx.AsyncClient,
    alice_id: str,
    app: FastAPI,
    shared_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.routes.account.ERASED_WITHIN_S", 0.05)
    await seed(shared_database_url, alice_id, 20)
    async with await AsyncConnection.connect(shared_database_url) as other:
        await other.execute("SELECT FROM tasks WHERE user_id = %s FOR UPDATE", [alice_id])
        answer = await alice.delete("/api/account")
        assert (answer.status_code, answer.headers["retry-after"]) == (202, "5")
    await asyncio.gather(*app.state.upkeep.under_way)
    assert await rows_of(shared_database_url, alice_id) == {}


async def test_without_a_session_nothing_is_deleted(client: httpx.AsyncClient) -> None:
    assert (await client.delete("/api/account")).status_code == 401


async def test_whoever_writes_with_other_schemas_in_his_path_is_held_as_well(
    alice_id: str, bob_id: str, own_sessions: OwnSessions, shared_database_url: str
) -> None:
    new = "INSERT INTO public.tasks (user_id, title) VALUES (%s, 'from elsewhere')"
    await begin_erasure(own_sessions, alice_id)
    async with await AsyncConnection.connect(shared_database_url, autocommit=True) as other:
        await other.execute("SET search_path = ''")  # as a dump that is restored has it
        await other.execute(new, [bob_id])
        with pytest.raises(DatabaseError) as refused:
            await other.execute(new, [alice_id])
    assert refused.value.sqlstate == REFUSED
    await carry_on(own_sessions, alice_id)


# Real processes


@pytest.fixture
async def own_database(postgres_url: str, migrated_template: str) -> AsyncIterator[str]:
    async with temporary_database(postgres_url, migrated_template) as url:
        await better_auth.execute(url, better_auth.TABLES)
        yield url


async def write_on(server: Server, token: str, until: asyncio.Event) -> int:
    """Make tasks and talk until told to stop, refused, or the server is gone; the tasks made."""
    made = 0
    async with server.client(token) as client:
        while not until.is_set():
            try:
                answer = await client.post("/api/tasks", json={"title": f"Task {made}"})
                if answer.status_code == 201:
                    made += 1
                    talk = await client.post("/api/chat", json={"message": f"Add thing {made}"})
                    made += talk.status_code == 200
            except httpx.TransportError:
                return made
            if answer.status_code == 409:
                return made
    return made


async def test_under_load_and_kills_no_row_of_the_person_is_left_and_every_row_of_others(
    own_database: str,
) -> None:
    url = own_database
    alice_id, alice = await better_auth.sign_up(url, "alice")
    bob_id, bob = await better_auth.sign_up(url, "bob")
    for user_id in (alice_id, bob_id):
        await seed(url, user_id, 1500)
    ((now,),) = await better_auth.execute(url, "SELECT clock_timestamp()::text")
    before = await fingerprint(url, bob_id, str(now))
    done = asyncio.Event()
    quick = {"OPENAI_MODEL": "offline"}
    async with serving(url, NOWHERE, **quick) as first, serving(url, NOWHERE, **quick) as second:
        hers = [asyncio.create_task(write_on(each, alice, done)) for each in (first, second) * 2]
        his = [asyncio.create_task(write_on(each, bob, done)) for each in (second,) * 2]
        # the deletion comes as far as the tasks, and its process dies there
        async with await AsyncConnection.connect(url) as other:
            await other.execute("SELECT FROM tasks WHERE user_id = %s FOR UPDATE", [alice_id])
            async with first.client(alice) as client:
                deleting = asyncio.create_task(client.delete("/api/account"))
                while "messages" in await rows_of(url, alice_id):
                    assert not deleting.done()
                await first.kill()
                with pytest.raises(httpx.TransportError):
                    await deleting
        await asyncio.gather(*hers)
        assert (await rows_of(url, alice_id))["tasks"]
        async with second.client(alice) as client:
            assert (await client.post("/api/tasks", json={"title": "x"})).status_code == 409
            await erase(client)
            assert await rows_of(url, alice_id) == {}
            assert await rows_of_nobody(url) == 0
            assert (await client.post("/api/tasks", json={"title": "x"})).status_code == 201
        done.set()
        made = sum(await asyncio.gather(*his))
        assert made > 0
        async with second.client(bob) as client:
            assert (await client.get("/api/tasks")).json()["total"] == 1000 + made
    after = await fingerprint(url, bob_id, str(now))
    assert {**after, "spending": ""} == {**before, "spending": ""}


async def test_a_deletion_whose_process_died_is_taken_up_by_any_other(own_database: str) -> None:
    url = own_database
    alice_id, alice = await better_auth.sign_up(url, "alice")
    await seed(url, alice_id, 40)
    async with serving(url, NOWHERE, OPENAI_MODEL="offline") as first:
        async with await AsyncConnection.connect(url) as other:
            await other.execute("SELECT FROM tasks WHERE user_id = %s FOR UPDATE", [alice_id])
            async with first.client(alice) as client:
                deleting = asyncio.create_task(client.delete("/api/account"))
                while "messages" in await rows_of(url, alice_id):
                    assert not deleting.done()
                await first.kill()
                with pytest.raises(httpx.TransportError):
                    await deleting
        assert await rows_of(url, alice_id)
    async with serving(url, NOWHERE, OPENAI_MODEL="offline"), asyncio.timeout(30):
        while await rows_of(url, alice_id):
            pass
