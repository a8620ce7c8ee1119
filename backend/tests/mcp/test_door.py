"""Who may knock at `/mcp`, who is let in, and what a call may cost."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from psycopg import AsyncConnection

from backend.identity import key_set
from backend.tests.support import better_auth
from backend.tests.support.databases import scalar, statements_sent
from backend.tests.support.fixtures import Run, make_settings, running
from backend.tests.support.key_server import KeyServer, SigningKey, serving_keys
from backend.tests.support.mcp_clients import post, request_of
from backend.tests.web.test_errors import assert_envelope

SERVED: dict[str, Any] = {"mcp": True, "mcp_hosts": "test"}
UI = "http://localhost:3000"
LIST = request_of("tools/list")


def add(title: str, **meta: Any) -> dict[str, Any]:
    return request_of("tools/call", name="add_task", arguments={"title": title}, _meta=meta)


@pytest.fixture
async def app(shared_database_url: str) -> AsyncIterator[FastAPI]:
    async with running(make_settings(shared_database_url, **SERVED)) as app:
        yield app


def result(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()["result"]["structuredContent"]
    return content


# Knocking


async def test_both_spellings_of_the_path_answer_alike_and_neither_redirects(
    alice: httpx.AsyncClient,
) -> None:
    answers = [await post(alice, path, LIST) for path in ("/mcp", "/mcp/")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    for method in ("GET", "DELETE"):  # no stream and no session to end
        for path in ("/mcp", "/mcp/"):
            assert_envelope(await alice.request(method, path), 405, "METHOD_NOT_ALLOWED")


async def test_where_the_settings_do_not_ask_for_it_nothing_is_there(
    alice: httpx.AsyncClient, run: Run
) -> None:
    async with run(alice) as client:
        assert_envelope(await post(client, "/mcp", LIST), 404, "NOT_FOUND")
        found = await client.get("/.well-known/oauth-protected-resource/mcp")
        assert found.status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("test", 200),
        ("TEST:8000", 200),
        ("todo.example.com", 200),
        ("todo.example.com:443", 200),
        ("evil.example", 421),
        ("test.evil.example", 421),
        ("nottest", 421),
        ("test:80:80", 421),
        ("", 421),
    ],
)
async def test_only_hosts_of_the_settings_are_ours(
    alice: httpx.AsyncClient, run: Run, host: str, status: int
) -> None:
    async with run(alice, **SERVED, mcp_url="https://todo.example.com/mcp") as client:
        for path in ("/mcp", "/.well-known/oauth-protected-resource/mcp"):
            if path == "/mcp":
                answer = await post(client, path, LIST, Host=host)
            else:
                answer = await client.get(path, headers={"Host": host})
            assert answer.status_code == status
            if status == 421:
                assert_envelope(answer, 421, "MISDIRECTED_REQUEST")


@pytest.mark.parametrize(
    ("origin", "status"),
    [(UI, 200), ("http://evil.example", 403), ("null", 403), ("http://localhost:3001", 403)],
)
async def test_only_pages_of_the_settings_may_call(
    alice: httpx.AsyncClient, origin: str, status: int
) -> None:
    answer = await post(alice, "/mcp", LIST, Origin=origin)
    assert answer.status_code == status
    if status == 403:
        assert_envelope(answer, 403, "ORIGIN_NOT_ALLOWED")
        assert "access-control-allow-origin" not in answer.headers
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,mcp-protocol-version,mcp-method",
    }
    preflight = await alice.options("/mcp", headers=asked)
    assert preflight.status_code == (200 if status == 200 else 400)


# Sign-in


async def test_who_has_no_session_is_told_where_to_get_one(
    client: httpx.AsyncClient, run: Run, keys: KeyServer
) -> None:
    answer = await post(client, "/mcp", add("Milk"))
    assert_envelope(answer, 401, "INVALID_SESSION")
    metadata = "http://test/.well-known/oauth-protected-resource/mcp"
    assert answer.headers["www-authenticate"] == f'Bearer resource_metadata="{metadata}"'
    document = await client.get(metadata)
    assert document.json()["resource"] == "http://test/mcp"
    assert "authorization_servers" not in document.json()
    url = "https://todo.example.com/tools/mcp"
    async with run(client, **SERVED, mcp_url=url, better_auth_url=keys.address) as other:
        answer = await post(other, "/mcp", add("Milk"), Authorization="Bearer nobody's")
        assert (
            "/.well-known/oauth-protected-resource/tools/mcp" in answer.headers["www-authenticate"]
        )
        document = await other.get("/.well-known/oauth-protected-resource")
        assert document.json() == {
            "resource": url,
            "resource_name": "To-do list",
            "bearer_methods_supported": ["header"],
            "authorization_servers": [keys.address],
        }


@pytest.fixture
async def keys(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KeyServer]:
    monkeypatch.setattr(key_set, "COOL_DOWN_S", 0.0)
    async with serving_keys() as keys:
        yield keys


async def test_a_token_that_was_made_for_mcp_is_good_there_alone(
    client: httpx.AsyncClient, run: Run, keys: KeyServer
) -> None:
    key, url = SigningKey(), "https://todo.example.com/mcp"
    keys.listed = [key.jwk]

    def bearer(**claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {key.sign(keys.claims(**claims))}"}

    async with run(client, **SERVED, mcp_url=url, better_auth_url=keys.address) as other:
        cases: list[tuple[dict[str, Any], int, int]] = [
            ({}, 200, 200),
            ({"aud": url}, 200, 401),
            ({"aud": [url, "https://another.example"]}, 200, 401),
            ({"aud": "https://another.example/mcp"}, 401, 401),
            ({"aud": f"{url}/more"}, 401, 401),
            ({"aud": None}, 401, 401),
            ({"aud": url, "iss": "https://another.example"}, 401, 401),
            ({"aud": url, "exp": 1}, 401, 401),
        ]
        for claims, mcp, api in cases:
            headers = bearer(**claims)
            assert (await post(other, "/mcp", LIST, **headers)).status_code == mcp, claims
            assert (await other.get("/api/tasks", headers=headers)).status_code == api, claims


async def test_without_a_set_address_a_token_may_be_made_for_the_one_that_the_client_asks(
    client: httpx.AsyncClient, run: Run, keys: KeyServer
) -> None:
    key = SigningKey()
    keys.listed = [key.jwk]
    async with run(client, **SERVED, better_auth_url=keys.address) as other:
        for audience, status in [("http://test/mcp", 200), ("http://test.example/mcp", 401)]:
            token = {"Authorization": f"Bearer {key.sign(keys.claims(aud=audience))}"}
            assert (await post(other, "/mcp", LIST, **token)).status_code == status


async def test_bad_sign_ins_count_here_as_everywhere(
    client: httpx.AsyncClient, run: Run, alice_id: str, shared_database_url: str
) -> None:
    async with run(client, **SERVED, rate_limit_sign_in="2/minute") as other:
        bad = {"Authorization": "Bearer guess"}
        answers = [(await post(other, "/mcp", LIST, **bad)).status_code for _ in range(4)]
        assert answers == [401, 401, 429, 429]
        token = await better_auth.sign_in(shared_database_url, alice_id)
        good = {"Authorization": f"Bearer {token}"}
        assert (await post(other, "/mcp", LIST, **good)).status_code == 200


async def test_a_cookie_alone_counts_only_from_a_page_that_may_call(
    client: httpx.AsyncClient, alice_id: str, shared_database_url: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    cookie = {"Cookie": f"better-auth.session_token={token}.{'A' * 43}%3D"}
    assert (await post(client, "/mcp", LIST, **cookie)).status_code == 401
    assert (await post(client, "/mcp", LIST, **cookie, Origin=UI)).status_code == 200


# What a call may cost


async def test_calls_are_limited_as_the_persons_tasks_are(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, run: Run
) -> None:
    async with run(alice, **SERVED, rate_limit_tasks="3/minute") as client:
        assert (await client.get("/api/tasks")).status_code == 200
        for left in (1, 0):
            answer = await post(client, "/mcp", add("Milk"))
            assert result(answer)["success"] is True
            assert answer.headers["ratelimit"].startswith(f'"tasks";r={left};')
        refused = await post(client, "/mcp", add("Milk"))
        assert refused.json()["result"]["isError"] is True
        assert result(refused)["error_code"] == "RATE_LIMIT_EXCEEDED"
        assert 1 <= result(refused)["retry_after"] <= 60
        read = await post(client, "/mcp", request_of("resources/read", uri="todo://tasks/open"))
        assert read.json()["error"]["data"]["retry_after"] >= 1
        assert (await post(client, "/mcp", LIST)).status_code == 200  # costs no query of tasks
        assert (await client.get("/api/tasks")).status_code == 429
    assert result(await post(bob, "/mcp", add("Milk")))["success"] is True


async def test_the_days_tokens_are_no_matter_of_a_client_that_brings_its_own_model(
    alice: httpx.AsyncClient, run: Run
) -> None:
    async with run(alice, **SERVED, daily_token_budget=1) as client:
        for _ in range(3):
            assert result(await post(client, "/mcp", add("Milk")))["success"] is True


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps(add("x" * 5_000_000)).encode(), 413),
        (b"[" * 60_000, 400),
        (b"\xff", 400),
        (b"[]", 400),
        (json.dumps(add("x" * 60_000)).encode(), 200),
        (json.dumps(add("\ud800")).encode(), 200),
    ],
    ids=["5 MB", "deep", "no text", "a batch", "a long title", "half a surrogate"],
)
async def test_what_is_too_much_or_no_request_is_refused_and_changes_nothing(
    alice: httpx.AsyncClient, body: bytes, status: int
) -> None:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "add_task",
    }
    answer = await alice.post("/mcp", content=body, headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert result(answer)["error_code"] == "VALIDATION_ERROR"
    assert (await alice.get("/api/tasks")).json()["total"] == 0


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25", "2025-03-26", None])
async def test_a_client_that_leaves_in_mid_call_finds_the_change_and_its_record_or_neither(
    app: FastAPI,
    alice: httpx.AsyncClient,
    alice_id: str,
    shared_database_url: str,
    revision: str | None,
) -> None:
    headers = {"Accept": "application/json, text/event-stream"}
    if revision:
        headers |= {"MCP-Protocol-Version": revision}
    if revision == "2026-07-28":
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "add_task"}
    blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with await AsyncConnection.connect(shared_database_url) as holder:
        await holder.execute("SELECT pg_advisory_xact_lock(1414485833, hashtext(%s))", [alice_id])
        leaving = asyncio.create_task(alice.post("/mcp", json=add("Milk"), headers=headers))
        async with asyncio.timeout(20):
            while not await scalar(shared_database_url, blocked):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    assert result(await post(alice, "/mcp", add("After it")))["success"] is True
    titles = {task["title"] for task in (await alice.get("/api/tasks")).json()["tasks"]}
    listed = (await alice.get("/api/conversations")).json()["conversations"]
    assert sum(each["message_count"] for each in listed) == len(titles)


async def test_a_read_is_two_statements_and_a_change_five(
    app: FastAPI, alice: httpx.AsyncClient
) -> None:
    await post(alice, "/mcp", add("Milk"))
    with statements_sent() as sent:
        await post(alice, "/mcp", request_of("tools/call", name="list_tasks", arguments={}))
    assert len(sent) == 2
    with statements_sent() as sent:
        await post(alice, "/mcp", add("Bread"))
    assert len(sent) <= 5


async def test_words_of_the_person_and_tokens_are_in_no_log(
    alice: httpx.AsyncClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    async with run(alice, **SERVED, log_level="DEBUG") as client:
        await post(client, "/mcp", add("private title"))
        unknown = request_of("tools/call", name="nope", arguments={"title": "private title"})
        await post(client, "/mcp", unknown)
    log = capsys.readouterr().err
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["route"] for line in lines if line["message"] == "request"] == ["/mcp"] * 2
    assert "private" not in log
    assert alice.headers["authorization"].removeprefix("Bearer ") not in log
