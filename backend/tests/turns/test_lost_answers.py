"""An answer that nobody took is given again, not done again; one that was taken is done again.

Real servers and raw sockets: what a client's leaving looks like is a matter of the server.
"""

import asyncio
import json
import signal
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel
from psycopg import AsyncConnection

from backend.faults.waiting import until
from backend.journal.begin import Known
from backend.tests.support import better_auth
from backend.tests.support.databases import MakeDatabase
from backend.tests.support.fixtures import Run
from backend.tests.support.provider_wire import Hang, Request, Step
from backend.tests.support.scripted_provider import ScriptedProvider, answer_by_rule
from backend.tests.support.scripting import calls, says
from backend.tests.support.servers import Server, serving
from backend.tests.support.tcp_proxy import Trouble, tcp_proxy
from backend.tests.support.wire import opened, parsed, with_length
from backend.tests.test_chat import chat, messages_of

pytestmark = [pytest.mark.long, pytest.mark.waits]


@dataclass
class Stage:
    """Two replicas on one database, and a provider that is asked by rule and holds answers back."""

    url: str
    provider_url: str
    one: Server
    two: Server
    thinking: asyncio.Event
    go_on: asyncio.Event


@pytest.fixture(scope="module")
async def on(shared_database_url: str) -> AsyncIterator[Stage]:
    url = shared_database_url
    thinking, go_on = asyncio.Event(), asyncio.Event()

    def answer(request: Request) -> Step:
        """Hold back what is said once the task is there."""
        step = answer_by_rule(request)
        if step.calls:
            return step
        thinking.set()
        return Hang(step, go_on)

    async with (
        ScriptedProvider(then=answer) as provider,
        serving(url, provider.base_url) as one,
        serving(url, provider.base_url) as two,
    ):
        yield Stage(url, provider.base_url, one, two, thinking, go_on)


@dataclass
class Person:
    """Somebody with a browser, whose connections may be lost."""

    stage: Stage
    user_id: str
    token: str
    lost: list[tuple[StreamReader, StreamWriter]] = field(default_factory=list)

    async def begin(self, body: dict[str, Any]) -> StreamWriter:
        """Send a message at the first replica, until its task is there; the connection."""
        self.stage.thinking.clear()
        self.stage.go_on.clear()
        _, writer = await self.send(self.stage.one, body)
        await self.stage.thinking.wait()
        return writer

    async def send(self, server: Server, body: dict[str, Any]) -> tuple[StreamReader, StreamWriter]:
        data = json.dumps(body).encode()
        fields = f"Authorization: Bearer {self.token}", "Content-Type: application/json"
        connection = await opened(server.address)
        self.lost.append(connection)  # or it would be closed when it is collected
        connection[1].write(with_length("POST /api/chat HTTP/1.1", *fields, body=data))
        return connection

    async def rows(self) -> list[tuple[str, bool]]:
        """Status of each answer, oldest first, and whether it is known to have reached nobody."""
        rows = await better_auth.execute(
            self.stage.url,
            "SELECT status, repeats_until > clock_timestamp() FROM messages"
            " WHERE user_id = %s AND role = 'assistant' ORDER BY id",
            self.user_id,
        )
        return [(str(status), bool(repeats)) for status, repeats in rows]

    async def until(self, *rows: tuple[str, bool], limit: float = 30) -> None:
        async def are_there() -> bool:
            return await self.rows() == list(rows)

        await until(are_there, limit=limit)


@asynccontextmanager
async def person(on: Stage, name: str) -> AsyncIterator[Person]:
    user_id = await better_auth.add_user(on.url, name)
    somebody = Person(on, user_id, await better_auth.sign_in(on.url, user_id))
    try:
        yield somebody
    finally:
        for _, writer in somebody.lost:
            writer.close()


def leave(writer: StreamWriter, how: str) -> None:
    """A page that is reloaded closes its connection; a machine that goes to sleep cuts it."""
    if how == "reloaded":
        writer.close()
    else:
        writer.transport.abort()


async def is_waited_for(url: str, by: int = 1) -> bool:
    """Whether so many wait for a lock; what a server does by itself may wait beside them."""
    waits = "SELECT count(*) >= %s FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return await better_auth.execute(url, waits, by) == [(True,)]


async def tasks_of(client: httpx.AsyncClient) -> int:
    return int((await client.get("/api/tasks")).json()["total"])


async def test_a_message_whose_answer_was_lost_gets_it_when_it_is_sent_again(on: Stage) -> None:
    """While the run goes on or after it, with the conversation's id or without, at any replica."""
    ways = product(("cut", "reloaded"), (True, False), ("meanwhile", "afterwards"), (1, 2))
    for how, with_id, when, replica in ways:
        server = on.one if replica == 1 else on.two
        async with person(on, "alice") as alice, server.client(alice.token) as client:
            body: dict[str, Any] = {"message": "Add milk"}
            before: list[tuple[str, bool]] = []
            if with_id:
                on.go_on.set()
                body["conversation_id"] = (await chat(client, "hello"))["conversation_id"]
                before = [("complete", False)]
            leave(await alice.begin(body), how)
            if when == "afterwards":
                await alice.until(*before, ("running", True))
                on.go_on.set()
                await alice.until(*before, ("complete", True))
            again = asyncio.create_task(client.post("/api/chat", json=body))
            if when == "meanwhile":
                await alice.until(*before, ("running", True))
                on.go_on.set()
            answer = await again
            assert answer.status_code == 200, (how, with_id, when, replica)
            assert answer.headers["idempotency-replayed"] == "true"
            assert await tasks_of(client) == 1, (how, with_id, when, replica)
            said = await messages_of(client, answer.json()["conversation_id"])
            assert len(said) == 2 * len(before) + 2
            await alice.until(*before, ("complete", False))
            # it has been answered now: what is said again is done again
            await chat(client, **body)
            assert await tasks_of(client) == 2


async def test_who_leaves_just_before_the_answer_is_sent_has_not_taken_it(on: Stage) -> None:
    """The end of the turn is held up by a lock on its row, and meanwhile the client leaves."""
    async with person(on, "alice") as alice:
        writer = await alice.begin({"message": "Add milk"})
        async with await AsyncConnection.connect(on.url) as locking:
            lock = "SELECT id FROM messages WHERE user_id = %s FOR UPDATE"
            await locking.execute(lock, [alice.user_id])
            on.go_on.set()
            await until(partial(is_waited_for, on.url), limit=30)
            leave(writer, "reloaded")
            await until(partial(is_waited_for, on.url, by=2), limit=30)  # to say that it has left
        await alice.until(("complete", True))
        async with on.two.client(alice.token) as two, on.one.client(alice.token) as one:
            await chat(two, "Add milk")
            await alice.until(("complete", False))  # the other replica knows it by the row alone
            await chat(one, "Add milk")
        assert len(await alice.rows()) == 2


NOTED = """
    CREATE TABLE noted (step serial, repeats boolean);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO noted (repeats) VALUES (NEW.repeats_until > clock_timestamp());
        RETURN NULL;
      END
    $$;
    CREATE TRIGGER noting AFTER UPDATE ON messages
      FOR EACH ROW WHEN (OLD.repeats_until IS DISTINCT FROM NEW.repeats_until)
      EXECUTE FUNCTION note();
"""


async def test_that_its_client_has_left_is_written_once_and_not_again_by_who_is_late(
    on: Stage, make_database: MakeDatabase, migrated_template: str
) -> None:
    """Who saw the client leave says so, and so does who could not send it the answer."""
    url = await make_database(migrated_template)
    await better_auth.execute(url, better_auth.TABLES + NOTED)
    async with serving(url, on.provider_url) as one:
        async with person(replace(on, url=url, one=one), "alice") as alice:
            writer = await alice.begin({"message": "Add milk"})
            async with await AsyncConnection.connect(url) as locking:
                await locking.execute("SELECT id FROM messages FOR UPDATE")
                on.go_on.set()
                await until(partial(is_waited_for, url), limit=30)
                leave(writer, "reloaded")
                await until(partial(is_waited_for, url, by=2), limit=30)
            await alice.until(("complete", True))
        assert await one.stop() == 0
    noted = await better_auth.execute(url, "SELECT repeats FROM noted ORDER BY step")
    assert noted == [(True,)]


async def test_that_an_answer_is_lost_is_known_at_once_however_busy_its_server_is(
    on: Stage,
) -> None:
    """Requests that wait for a locked row have all of the server's connections for seconds."""
    async with (
        person(on, "alice") as alice,
        on.one.client(alice.token) as one,
        on.two.client(alice.token) as two,
        await AsyncConnection.connect(on.url) as locking,
    ):
        writer = await alice.begin({"message": "Add milk"})
        (task,) = (await two.get("/api/tasks")).json()["tasks"]
        lock = "SELECT id FROM tasks WHERE user_id = %s FOR UPDATE"
        await locking.execute(lock, [alice.user_id])
        path = f"/api/tasks/{task['id']}/complete"
        waiters = [asyncio.create_task(one.patch(path)) for _ in range(20)]
        await until(partial(is_waited_for, on.url, by=10), limit=30)
        leave(writer, "reloaded")
        await alice.until(("running", True), limit=2.5)  # a connection is waited for for 3 s
        on.go_on.set()
        again = await two.post("/api/chat", json={"message": "Add milk"})
        assert again.headers["idempotency-replayed"] == "true"
        assert await tasks_of(two) == 1
        await locking.rollback()
        await asyncio.gather(*waiters)


def test_one_renewal_of_a_lease_may_be_late_news_of_a_process_that_stands_still() -> None:
    known, lease = Known(here=[(7, 1)]), datetime(2026, 1, 31, tzinfo=UTC)
    renewed = [lease + timedelta(seconds=2 * n) for n in range(3)]
    seen = (lease, lease, renewed[1], renewed[1], renewed[2])
    assert [known.lives(8, 1, each) for each in seen] == [False, False, False, False, True]
    assert not known.lives(8, 2, renewed[2])
    assert known.lives(7, 1, lease)


async def test_whose_mark_does_not_get_through_says_with_its_lease_that_nobody_waits(
    on: Stage,
) -> None:
    """Its connection is lost at each try, and only renewals reach the database."""
    async with (
        tcp_proxy(on.url) as wire,
        serving(wire.url, on.provider_url) as one,
        person(replace(on, one=one), "alice") as alice,
        on.two.client(alice.token) as client,
    ):
        writer = await alice.begin({"message": "Add milk"})
        for _ in range(20):
            wire.on(b"SET repeats_until", Trouble.BLACK_HOLE)
        leave(writer, "reloaded")
        await alice.until(("running", True))
        again = asyncio.create_task(client.post("/api/chat", json={"message": "Add milk"}))
        on.go_on.set()
        assert (await again).headers["idempotency-replayed"] == "true"
        assert await tasks_of(client) == 1


async def test_those_who_join_get_the_one_answer_whoever_of_them_leaves(on: Stage) -> None:
    async with person(on, "alice") as alice:
        leave(await alice.begin({"message": "Add milk"}), "cut")
        await alice.until(("running", True))
        async with on.one.client(alice.token) as one, on.two.client(alice.token) as two:
            joining = [asyncio.create_task(chat(at, "Add milk")) for at in (one, two) * 3]
            answered, _ = await asyncio.wait(joining, timeout=0.5)
            assert not answered
            joining.pop().cancel()
            on.go_on.set()
            answers = await asyncio.gather(*joining)
            assert len({answer["conversation_id"] for answer in answers}) == 1
            assert await tasks_of(one) == 1


async def test_a_resend_that_a_server_took_up_late_came_before_the_answer_was_given(
    on: Stage,
) -> None:
    """It lies at a socket of a server that stands still, while another one is answered."""
    async with person(on, "alice") as alice, on.one.client(alice.token) as client:
        leave(await alice.begin({"message": "Add milk"}), "cut")
        on.go_on.set()
        await alice.until(("complete", True))
        on.two.process.send_signal(signal.SIGSTOP)
        try:
            reader, _ = await alice.send(on.two, {"message": "Add milk"})
            await chat(client, "Add milk")
            await alice.until(("complete", False))
        finally:
            on.two.process.send_signal(signal.SIGCONT)
        answer = parsed(await reader.read())
        assert answer.headers["idempotency-replayed"] == "true"
        assert await tasks_of(client) == 1
        # what is said once it was answered is done again
        await chat(client, "Add milk")
        assert await tasks_of(client) == 2


async def test_a_resend_that_comes_while_an_answer_is_being_saved_is_the_same_message(
    on: Stage,
) -> None:
    """The end of the second attempt is held up by a lock on the conversation."""
    async with (
        person(on, "alice") as alice,
        on.two.client(alice.token) as client,
        on.one.client(alice.token) as another,
    ):
        leave(await alice.begin({"message": "Add milk"}), "cut")
        await alice.until(("running", True))
        lapse = "UPDATE messages SET lease_until = clock_timestamp(), attempt = attempt + 1"
        await better_auth.execute(on.url, f"{lapse} WHERE user_id = %s", alice.user_id)
        on.thinking.clear()
        taking_up = asyncio.create_task(chat(client, "Add milk"))
        await on.thinking.wait()
        async with await AsyncConnection.connect(on.url) as locking:
            lock = "SELECT id FROM conversations WHERE user_id = %s FOR UPDATE"
            await locking.execute(lock, [alice.user_id])
            on.go_on.set()
            await until(partial(is_waited_for, on.url), limit=30)
            again = asyncio.create_task(chat(another, "Add milk"))
            await until(partial(is_waited_for, on.url, by=2), limit=30)
        assert (await again)["conversation_id"] == (await taking_up)["conversation_id"]
        assert await tasks_of(client) == 1
        await chat(client, "Add milk")
        assert await tasks_of(client) == 2


async def test_another_text_another_place_and_another_person_are_no_repeat(
    on: Stage,
) -> None:
    async with (
        person(on, "alice") as alice,
        person(on, "bob") as bob,
        on.one.client(alice.token) as client,
        on.two.client(bob.token) as bobs,
    ):
        on.go_on.set()
        elsewhere = (await chat(client, "hello"))["conversation_id"]
        leave(await alice.begin({"message": "Add milk"}), "reloaded")
        on.go_on.set()
        await alice.until(("complete", False), ("complete", True))
        await chat(bobs, "Add milk")
        await chat(client, "Add milk", conversation_id=elsewhere)
        await chat(client, "Add bread")
        assert [repeats for _, repeats in await alice.rows()] == [False, True, False, False]


async def test_what_is_remembered_of_a_lost_answer_is_forgotten_after_ten_minutes(
    on: Stage,
) -> None:
    async with person(on, "alice") as alice:
        leave(await alice.begin({"message": "Add milk"}), "reloaded")
        on.go_on.set()
        await alice.until(("complete", True))
        later = "UPDATE messages SET repeats_until = repeats_until - interval '10 minutes'"
        await better_auth.execute(on.url, f"{later} WHERE user_id = %s", alice.user_id)
        async with on.one.client(alice.token) as client:
            await chat(client, "Add milk")
            assert await tasks_of(client) == 2


async def test_many_resends_of_a_failed_message_at_once_are_one_turn(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    """At two replicas, more than the places there are; who waited is given the one answer."""
    released = asyncio.Event()

    async def think(_: object) -> ModelStep:
        await released.wait()
        return ModelStep(output=says("It is added."))

    model.extend([calls("add_task", {"title": "Milk"}), ModelStep.raise_error(RuntimeError())])
    assert (await alice.post("/api/chat", json={"message": "Add milk"})).status_code == 503
    model.extend([ModelStep.respond(think)])
    often = {"rate_limit_chat": "1000/minute"}
    async with run(alice, **often) as one, run(alice, **often) as two:
        sent = [
            asyncio.create_task(client.post("/api/chat", json={"message": "Add milk"}))
            for client in (one, two) * 10
        ]
        done, _ = await asyncio.wait(sent, timeout=0.5)
        assert not done
        released.set()
        answers = [(await each).json() for each in sent]
    assert {answer["response"] for answer in answers} == {"It is added."}
    assert await tasks_of(alice) == 1
    assert len(await messages_of(alice, answers[0]["conversation_id"])) == 2


async def test_resends_that_come_before_the_answer_is_there_are_one_turn_however_fast_it_is(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), ModelStep.raise_error(RuntimeError())])
    assert (await alice.post("/api/chat", json={"message": "Add milk"})).status_code == 503
    model.extend([says("It is added.")])
    async with run(alice, rate_limit_chat="1000/minute") as replica:
        sent = (replica.post("/api/chat", json={"message": "Add milk"}) for _ in range(30))
        answers = await asyncio.gather(*sent)
    assert {answer.json()["response"] for answer in answers} == {"It is added."}
    model.extend([calls("add_task", {"title": "Milk"}), says("Another.")])
    assert (await chat(alice, "Add milk"))["response"] == "Another."
    assert await tasks_of(alice) == 2
