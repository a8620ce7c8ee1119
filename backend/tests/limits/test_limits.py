"""Limits per verified user, whatever the path and the token; and per address that fails."""

import re

import httpx
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI
from limits import parse_many

from backend.__main__ import _server_config
from backend.config import Settings
from backend.limits.counters import KEYS_MAX, Counters
from backend.tests.conftest import Run, make_settings, running
from backend.tests.support import better_auth
from backend.tests.support.scripting import says
from backend.tests.turns.test_failures import LOST


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


async def test_the_keys_a_process_remembers_are_bounded() -> None:
    counters = Counters()
    limits = parse_many("2/minute")
    for number in range(KEYS_MAX + 100):
        await counters.count(limits, f"sign-in:10.{number}")
    assert len(counters._here._memory.events) == KEYS_MAX
    assert (await counters.look(limits, f"sign-in:10.{KEYS_MAX + 99}")).left == 1
    assert (await counters.look(limits, "sign-in:10.0")).left == 2


# Failed sign-ins


def from_address(app: object, host: str, token: str, **headers: str) -> httpx.AsyncClient:
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
        async with from_address(app, "192.0.2.1", token) as client:
            refused = await client.get("/api/tasks")
        assert_limited(refused)  # right as it is, or the limit would tell which token is
        assert told(refused)[:4] == ("sign-in", 3, 60, 0)
        async with from_address(app, "192.0.2.2", token) as client:
            assert (await client.get("/api/tasks")).status_code == 200


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


async def test_a_refused_address_asks_the_database_nothing(
    three_failures: Settings,
) -> None:
    async with running(three_failures) as app:
        assert await failures(app, "192.0.2.1", 4) == [401, 401, 401, 429]
        await app.state.engine.dispose()
        assert await failures(app, "192.0.2.1", 3) == [429] * 3
        assert app.state.engine.pool.checkedin() == 0


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
