"""Limits per verified user, whatever the path and the token; and per address that fails."""

import asyncio
import re
import threading
import time
from contextlib import AsyncExitStack

import httpx
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI
from limits import parse_many

from backend.__main__ import _server_config
from backend.config import Settings
from backend.limits import windows
from backend.limits.counters import Counters
from backend.rate_limiter import SUSPECTS_AT_ONCE
from backend.tests.support import better_auth
from backend.tests.support.databases import statements_sent
from backend.tests.support.fixtures import Run, make_settings, running
from backend.tests.support.scripting import says
from backend.tests.turns.test_failures import LOST

JSON = {"Content-Type": "application/json"}


def assert_limited(answer: httpx.Response) -> None:
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def test_chat_takes_ten_messages_a_minute_and_others_are_not_held(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello.")] * 11)
    for _ in range(10):
        assert (await alice.post("/api/chat", json={"message": "hi"})).status_code == 200
    assert_limited(await alice.post("/api/chat", json={"message": "hi"}))
    assert (await bob.post("/api/chat", json={"message": "hi"})).status_code == 200
    assert (await alice.get("/api/tasks")).status_code == 200


async def test_the_ids_of_the_history_share_one_bucket(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    for number in range(30):
        assert (await alice.get(f"/api/conversations/{number}/messages")).status_code == 404
    assert_limited(await alice.get("/api/conversations/31/messages"))
    assert (await bob.get("/api/conversations/31/messages")).status_code == 404


async def test_the_task_routes_share_one_bucket(alice: httpx.AsyncClient, run: Run) -> None:
    async with run(alice, rate_limit_tasks="3/minute") as client:
        assert (await client.get("/api/tasks")).status_code == 200
        assert (await client.get("/api/tasks/1")).status_code == 404
        assert (await client.post("/api/tasks", json={"title": "Milk"})).status_code == 201
        assert_limited(await client.get("/api/tasks/search"))


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
async def test_a_spoofed_address_changes_nothing(
    alice: httpx.AsyncClient, run: Run, header: str
) -> None:
    async with run(alice, rate_limit_history="2/minute") as client:
        path = "/api/conversations/1/messages"
        for number in range(2):
            spoofed = {header: f"10.0.0.{number}"}
            assert (await client.get(path, headers=spoofed)).status_code == 404
        assert_limited(await client.get(path, headers={header: "10.0.0.9"}))


async def test_a_second_session_of_the_same_person_is_the_same_bucket(
    alice: httpx.AsyncClient, alice_id: str, run: Run, shared_database_url: str
) -> None:
    async with run(alice, rate_limit_history="1/minute") as client:
        path = "/api/conversations/1/messages"
        assert (await client.get(path)).status_code == 404
        token = await better_auth.sign_in(shared_database_url, alice_id)
        other = {"Authorization": f"Bearer {token}"}
        assert_limited(await client.get(path, headers=other))


# What answers tell of a limit


def told(answer: httpx.Response) -> tuple[str, int, int, int, int]:
    """The name, the quota and its window, the calls left and the seconds to the next ones."""
    policy = re.fullmatch(r'"([a-z-]+)";q=(\d+);w=(\d+)', answer.headers["ratelimit-policy"])
    left = re.fullmatch(r'"([a-z-]+)";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    assert policy
    assert left
    assert policy[1] == left[1]
    return policy[1], int(policy[2]), int(policy[3]), int(left[2]), int(left[3])


async def test_every_counted_answer_tells_the_limit_and_what_is_left(
    alice: httpx.AsyncClient, run: Run
) -> None:
    async with run(alice, rate_limit_tasks="5/minute") as client:
        for left, (method, path, body, status) in enumerate(
            [
                ("PATCH", "/api/tasks/1/complete", None, 404),
                ("DELETE", "/api/tasks/1", None, 404),
                ("POST", "/api/messages/1/undo", None, 404),
                ("POST", "/api/tasks", {"title": "Milk"}, 201),
                ("GET", "/api/tasks", None, 200),
                ("GET", "/api/tasks", None, 429),
            ]
        ):
            answer = await client.request(method, path, json=body)
            assert answer.status_code == status
            name, quota, window, remaining, seconds = told(answer)
            assert (name, quota, window, remaining) == ("tasks", 5, 60, max(0, 4 - left))
            assert 1 <= seconds <= 60
        assert answer.headers["retry-after"] == str(seconds)


async def test_an_answer_tells_of_the_limit_when_the_model_or_the_service_fails(
    alice: httpx.AsyncClient, model: ScriptedModel, app: FastAPI
) -> None:
    model.extend([LOST])
    lost = await alice.post("/api/chat", json={"message": "hi"})
    assert lost.status_code == 503
    assert told(lost)[:4] == ("chat", 10, 60, 9)
    app.state.runtime = None  # a fault of our own
    broken = await alice.post("/api/chat", json={"message": "hi"})
    assert broken.status_code == 500
    assert told(broken)[:4] == ("chat", 10, 60, 8)


async def test_of_several_limits_the_tightest_is_told_and_each_holds(
    alice: httpx.AsyncClient, run: Run
) -> None:
    async with run(alice, rate_limit_tasks="2/second;3/hour") as client:
        assert told(await client.get("/api/tasks"))[:4] == ("tasks", 2, 1, 1)
        answers = [await client.get("/api/tasks") for _ in range(20)]
        assert [answer.status_code for answer in answers].count(200) <= 2
        assert answers[-1].status_code == 429


async def test_what_is_not_counted_tells_of_no_limit(alice: httpx.AsyncClient) -> None:
    for path in ("/health", "/nope", "/api/tasks?completed=perhaps"):
        assert "ratelimit" not in (await alice.get(path)).headers


async def test_a_page_in_a_browser_may_read_the_limits(alice: httpx.AsyncClient) -> None:
    answer = await alice.get("/api/tasks", headers={"Origin": "http://localhost:3000"})
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(exposed)


# What a process remembers


async def left(counters: Counters, key: str) -> int:
    """The calls that `key`, which may make four a minute, has left after one more."""
    return (await counters.count(parse_many("4/minute"), key)).left


async def test_past_its_bound_a_process_forgets_whoever_has_called_least_lately(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "KEYS_MAX", 3)
    counters = Counters()
    for key, remaining in [
        ("sign-in:idle", 3),
        ("sign-in:busy", 3),
        ("sign-in:other", 3),
        ("sign-in:busy", 2),
        ("sign-in:one more", 3),
        ("sign-in:busy", 1),
        ("sign-in:idle", 3),
    ]:
        assert await left(counters, key) == remaining


async def test_addresses_without_end_make_nobody_forget_what_a_person_has_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "KEYS_MAX", 3)
    counters = Counters()
    assert await left(counters, "chat:alice") == 3
    for number in range(10):
        await left(counters, f"sign-in:2001:db8:{number:x}::/64")
    assert await left(counters, "chat:alice") == 2


def test_with_twenty_thousand_keys_a_call_is_counted_as_fast_as_with_one() -> None:
    threads, calls = threading.active_count(), windows.RecentCalls()
    for number in range(windows.KEYS_MAX):
        calls.acquire_entry(str(number), 10, 60)
    times = []
    for number in range(1000):
        started = time.perf_counter()
        calls.acquire_entry(f"new {number}", 10, 60)
        times.append(time.perf_counter() - started)
    assert len(calls) == windows.KEYS_MAX
    assert sorted(times)[990] < 0.001
    assert threading.active_count() == threads  # `limits` has a timer go through all of them


def test_calls_leave_the_memory_with_their_window(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, now = windows.RecentCalls(), 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    for at in (1000.0, 1001.0, 1002.0):
        now = at
        assert calls.acquire_entry("a", 3, 60)
    assert not calls.acquire_entry("a", 3, 60)
    now = 1060.5
    assert calls.acquire_entry("a", 3, 60)
    assert calls.get_moving_window("a", 3, 60) == (1001.0, 3)
    now = 2000.0
    assert calls.get_moving_window("a", 3, 60) == (2000.0, 0)


# What is not valid


async def test_calls_that_are_not_valid_are_counted_together_and_apart_from_the_others(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, run: Run
) -> None:
    async with run(alice, rate_limit_tasks="3/minute") as client:
        for answer in (
            await client.post("/api/tasks", json={"title": ""}),
            await client.get("/api/conversations?limit=none"),
            await client.post("/api/chat", content=b"\xff", headers=JSON),
        ):
            assert answer.status_code == 422
        refused = await client.post("/api/tasks", json={"title": ""})
        assert_limited(refused)
        assert told(refused)[:4] == ("invalid", 3, 60, 0)
        assert told(await client.get("/api/tasks"))[:4] == ("tasks", 3, 60, 2)
    assert (await bob.post("/api/tasks", json={"title": ""})).status_code == 422


async def test_who_has_sent_too_many_that_are_not_valid_has_long_bodies_left_unread(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, run: Run
) -> None:
    long = b'{"title": "Milk"' + b" " * 20_000 + b"}"

    async def post(client: httpx.AsyncClient, body: bytes) -> int:
        return (await client.post("/api/tasks", content=body, headers=JSON)).status_code

    async with run(alice, rate_limit_tasks="3/minute") as client, run(bob) as other:
        for _ in range(3):
            assert await post(client, b"{}") == 422
        assert await post(client, long) == 201
        assert await post(client, b"{}") == 429
        refused = await client.post("/api/tasks", content=long, headers=JSON)
        assert_limited(refused)
        assert await post(client, b'{"title": "Milk"}') == 201
        assert await post(other, long) == 201


async def test_long_bodies_that_are_not_valid_are_fewer(alice: httpx.AsyncClient) -> None:
    long = {"title": "", "description": "x" * 20_000}
    statuses = [(await alice.post("/api/tasks", json=long)).status_code for _ in range(12)]
    assert statuses == [422] * 10 + [429] * 2
    assert (await alice.post("/api/tasks", json={"title": ""})).status_code == 422


MANY_FAULTS = {
    "tags": b'{"title": "Milk", "tags": [' + b"1," * 20_000 + b"1]}",
    "tags among good ones": b'{"title": "Milk", "tags": [' + b'"a",{},' * 5_000 + b'"a"]}',
    "fields": b'{"title": 1, "description": 2, "priority": 3, "due_date": 4, "tags": ["a"'
    + b",null" * 9_000
    + b'], "recurrence_pattern": 5}',
}


@pytest.mark.parametrize("body", MANY_FAULTS.values(), ids=MANY_FAULTS)
async def test_a_body_of_many_faults_is_told_the_first_twenty(
    alice: httpx.AsyncClient, body: bytes
) -> None:
    answer = await alice.post("/api/tasks", content=body, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.json()["error"]["details"]) == 20
    assert len(answer.content) < 4000


# Pages for everybody


async def test_a_long_page_is_sent_to_one_address_so_often_and_always_said_to_be_the_same(
    app: FastAPI,
) -> None:
    page = "/openapi.json"
    unpacked = {"Accept-Encoding": "identity"}
    async with from_address(app, "192.0.2.60") as client, from_address(app, "192.0.2.61") as other:
        for left in reversed(range(60)):
            answer = await client.get(page, headers=unpacked)
            assert told(answer)[:4] == ("pages", 60, 60, left)
        assert_limited(await client.get(page, headers=unpacked))
        same = {"If-None-Match": answer.headers["etag"]}
        assert (await client.get(page, headers=same)).status_code == 304
        assert (await client.get(page, headers={"Accept-Encoding": "gzip"})).status_code == 200
        assert (await client.head(page, headers=unpacked)).status_code == 200
        assert (await client.get("/docs")).status_code == 200
        assert (await other.get(page, headers=unpacked)).status_code == 200


# Failed sign-ins


def from_address(app: object, host: str, token: str = "", **headers: str) -> httpx.AsyncClient:
    """A client of `app` at another address."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=(host, 4711)),  # type: ignore[arg-type]
        base_url="http://test",
        headers={"Authorization": f"Bearer {token}", **headers},
    )


async def failures(app: object, host: str, times: int, **headers: str) -> list[int]:
    async with from_address(app, host, "nobody's", **headers) as client:
        return [(await client.get("/api/tasks")).status_code for _ in range(times)]


@pytest.fixture
def three_failures(shared_database_url: str) -> Settings:
    return make_settings(shared_database_url, rate_limit_sign_in="3/minute")


async def test_an_address_that_fails_too_often_is_refused_and_others_are_not(
    three_failures: Settings, shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    async with running(three_failures) as app:
        assert await failures(app, "192.0.2.1", 5) == [401, 401, 401, 429, 429]
        async with from_address(app, "192.0.2.1", "nobody's") as client:
            refused = await client.get("/api/tasks")
        assert_limited(refused)
        assert told(refused)[:4] == ("sign-in", 3, 60, 0)
        for address in ("192.0.2.1", "192.0.2.2"):
            async with from_address(app, address, token) as client:
                passed = await client.get("/api/tasks")
            assert passed.status_code == 200
            assert told(passed)[0] == "tasks"


async def test_a_tab_that_polls_with_an_old_session_holds_up_nobody_of_its_office(
    three_failures: Settings, shared_database_url: str, alice_id: str, bob_id: str
) -> None:
    tokens = [await better_auth.sign_in(shared_database_url, who) for who in (alice_id, bob_id)]
    async with running(three_failures) as app, AsyncExitStack() as stack:
        polling, *people = [
            await stack.enter_async_context(from_address(app, "192.0.2.1", token))
            for token in ("yesterday's", *tokens)
        ]
        async with asyncio.TaskGroup() as group:
            asked = [
                [group.create_task(client.get("/api/tasks")) for _ in range(20)]
                for client in (polling, *people)
            ]
        old, *right = [[each.result().status_code for each in tasks] for tasks in asked]
        assert sorted(old) == [401] * 3 + [429] * 17
        assert right == [[200] * 20] * 2


@pytest.mark.parametrize("name", ["sid", "__Secure-sid"])
@pytest.mark.parametrize("more", ["", "; sid=another.one"])
async def test_a_bad_cookie_of_the_name_that_is_set_counts_as_a_failure(
    shared_database_url: str, name: str, more: str
) -> None:
    settings = make_settings(
        shared_database_url, rate_limit_sign_in="3/minute", better_auth_cookie="sid"
    )
    async with running(settings) as app, from_address(app, "192.0.2.1", "") as client:
        del client.headers["authorization"]
        client.headers["cookie"] = f"theme=dark; {name}=guess.{'A' * 43}={more}"
        answers = [(await client.get("/api/tasks")).status_code for _ in range(5)]
        assert answers == [401, 401, 401, 429, 429]
        client.headers["cookie"] = "better-auth.session_token=of.somebody"  # not the name here
        assert (await client.get("/api/tasks")).status_code == 401


async def test_signing_in_and_bringing_no_session_at_all_are_no_failures(
    three_failures: Settings, shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    async with running(three_failures) as app:
        async with from_address(app, "192.0.2.1", token) as client:
            assert {(await client.get("/api/tasks")).status_code for _ in range(6)} == {200}
            del client.headers["authorization"]
            assert {(await client.get("/api/tasks")).status_code for _ in range(6)} == {401}
            client.headers["cookie"] = "theme=dark"
            assert {(await client.get("/api/tasks")).status_code for _ in range(6)} == {401}
        assert await failures(app, "192.0.2.1", 1) == [401]


async def test_a_flood_of_guesses_holds_two_connections_at_the_most(
    three_failures: Settings,
) -> None:
    async with running(three_failures) as app:
        await failures(app, "192.0.2.1", 4)
        async with asyncio.timeout(10):
            while app.state.pool.in_use:  # noqa: ASYNC110 by what a start has to do; it tells nobody
                await asyncio.sleep(0)
        held: list[int] = []

        def note(statement: str) -> None:
            if "session" in statement:
                held.append(app.state.pool.in_use)

        with statements_sent(note):
            async with from_address(app, "192.0.2.1", "a-guess") as client:
                answers = await asyncio.gather(*(client.get("/api/tasks") for _ in range(60)))
        assert {answer.status_code for answer in answers} == {429}
        assert len(held) == 60
        assert max(held) <= SUSPECTS_AT_ONCE


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "192.0.2.2", False),
    ],
)
async def test_addresses_of_one_ipv6_network_count_as_one(
    three_failures: Settings, one: str, other: str, same: bool
) -> None:
    async with running(three_failures) as app:
        await failures(app, one, 3)
        assert await failures(app, other, 1) == [429 if same else 401]


async def test_a_forwarded_address_counts_from_a_proxy_of_ours_alone(
    shared_database_url: str,
) -> None:
    settings = make_settings(
        shared_database_url, rate_limit_sign_in="3/minute", forwarded_allow_ips="10.0.0.0/8"
    )
    async with running(settings) as app:
        served = _server_config(app, settings)
        served.load()
        ours, not_ours = "10.1.2.3", "192.0.2.9"
        for number in range(3):
            spoofed = {"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": "198.51.100.9"}
            assert await failures(served.loaded_app, not_ours, 1, **spoofed) == [401]
        assert await failures(
            served.loaded_app, not_ours, 1, **{"X-Forwarded-For": "198.51.100.9"}
        ) == [429]
        # what the client wrote itself stands before what our proxy has added
        for number in range(3):
            through = {"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.1"}
            assert await failures(served.loaded_app, ours, 1, **through) == [401]
        through = {"X-Forwarded-For": "198.51.100.1"}
        assert await failures(served.loaded_app, ours, 1, **through) == [429]
        through = {"X-Forwarded-For": "198.51.100.2"}
        assert await failures(served.loaded_app, ours, 1, **through) == [401]


async def test_refused_calls_are_not_counted(client: httpx.AsyncClient, app: object) -> None:
    for _ in range(40):
        assert (await client.get("/api/conversations/1/messages")).status_code == 401
