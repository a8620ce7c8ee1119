"""The keys of JWTs: fetched when they are wanted, shared, kept for a while, and out of reach."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from backend.identity import key_set
from backend.tests.identity.test_auth_jwt import ask, status_of
from backend.tests.support import better_auth
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.key_server import KeyServer, SigningKey, serving_keys


@pytest.fixture
async def keys() -> AsyncIterator[KeyServer]:
    async with serving_keys() as keys:
        yield keys


@pytest.fixture
def key(keys: KeyServer) -> SigningKey:
    """A key that the issuer lists."""
    key = SigningKey()
    keys.listed = [key.jwk]
    return key


@pytest.fixture
async def app(shared_database_url: str, keys: KeyServer) -> AsyncIterator[FastAPI]:
    settings = make_settings(shared_database_url, better_auth_url=keys.address)
    async with running(settings) as app:
        yield app


def assert_unavailable(answer: httpx.Response) -> None:
    """The client's word that it may come again, and not that it should sign in anew."""
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert answer.headers["retry-after"] == "5"
    assert "127.0.0.1" not in answer.text


async def test_keys_are_fetched_with_the_first_jwt_and_kept(
    app: FastAPI, keys: KeyServer, key: SigningKey
) -> None:
    assert keys.fetches == 0
    for _ in range(3):
        assert await status_of(app, key.sign(keys.claims())) == 200
    assert keys.fetches == 1


async def test_requests_at_once_share_one_fetch(
    app: FastAPI, keys: KeyServer, key: SigningKey
) -> None:
    keys.gate.clear()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(app, key.sign(keys.claims()))) for _ in range(20)]
        await keys.asked.wait()
        keys.gate.set()
    assert [task.result().status_code for task in asked] == [200] * 20
    assert keys.fetches == 1


async def test_unknown_keys_cause_one_fetch_and_then_none_for_a_while(
    app: FastAPI, keys: KeyServer, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await status_of(app, key.sign(keys.claims())) == 200
    monkeypatch.setattr(key_set, "COOL_DOWN_S", 0.0)
    assert await status_of(app, SigningKey().sign(keys.claims())) == 401
    assert keys.fetches == 2
    monkeypatch.undo()
    for _ in range(10):
        assert await status_of(app, SigningKey().sign(keys.claims())) == 401
    assert keys.fetches == 2


async def test_a_key_that_is_no_longer_listed_counts_until_the_set_is_fetched_anew(
    app: FastAPI, keys: KeyServer, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "COOL_DOWN_S", 0.0)
    assert await status_of(app, key.sign(keys.claims())) == 200
    keys.listed = []
    assert await status_of(app, key.sign(keys.claims())) == 200
    monkeypatch.setattr(key_set, "FRESH_S", 0.0)
    assert await status_of(app, key.sign(keys.claims())) == 401


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, None),
        (404, None),
        (302, None),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"keys": {}}'),
        (200, b"\xff"),
        (200, b"[" * 100_000),
        (200, b'{"keys": []}' + b" " * key_set.SET_MAX),
    ],
    ids=lambda value: f"{value!r:.20}",
)
async def test_a_set_that_cannot_be_read_is_a_503_and_is_asked_for_again(
    app: FastAPI,
    keys: KeyServer,
    key: SigningKey,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes | None,
) -> None:
    keys.status, keys.body = status, body
    for _ in range(3):
        assert_unavailable(await ask(app, key.sign(keys.claims())))
    assert keys.fetches == 1
    assert [r.getMessage() for r in caplog.records if "JWKS" in r.message] != []
    keys.status, keys.body = 200, None
    monkeypatch.setattr(key_set, "COOL_DOWN_S", 0.0)
    assert await status_of(app, key.sign(keys.claims())) == 200


async def test_a_set_that_does_not_come_in_time_is_a_503(
    app: FastAPI, keys: KeyServer, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "FETCH_S", 0.02)
    keys.gate.clear()
    assert_unavailable(await ask(app, key.sign(keys.claims())))


async def test_while_the_set_is_out_of_reach_all_else_is_judged_as_ever(
    shared_database_url: str, alice_id: str
) -> None:
    nowhere = "http://127.0.0.1:1"
    token = await better_auth.sign_in(shared_database_url, alice_id)
    key, claims = SigningKey(), KeyServer().claims(iss=nowhere, aud=nowhere)
    async with running(make_settings(shared_database_url, better_auth_url=nowhere)) as app:
        assert_unavailable(await ask(app, key.sign(claims)))
        assert await status_of(app, token) == 200
        for wrong in (
            key.sign(claims | {"exp": 1}),
            key.sign(claims | {"aud": "other"}),
            f"{key.sign(claims)}.x",
            "unknown",
        ):
            assert await status_of(app, wrong) == 401


async def test_known_keys_outlast_an_outage_of_the_set_but_not_for_ever(
    app: FastAPI, keys: KeyServer, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "COOL_DOWN_S", 0.0)
    assert await status_of(app, key.sign(keys.claims())) == 200
    keys.status = 500
    monkeypatch.setattr(key_set, "FRESH_S", 0.0)
    assert await status_of(app, key.sign(keys.claims())) == 200
    # a new key may have been listed meanwhile: that cannot be known
    assert_unavailable(await ask(app, SigningKey().sign(keys.claims())))
    monkeypatch.setattr(key_set, "STALE_S", 0.0)
    assert_unavailable(await ask(app, key.sign(keys.claims())))
    assert keys.fetches == 4


async def test_a_client_that_leaves_does_not_take_the_fetch_of_others_with_it(
    app: FastAPI, keys: KeyServer, key: SigningKey
) -> None:
    keys.gate.clear()
    leaving = asyncio.create_task(ask(app, key.sign(keys.claims())))
    await keys.asked.wait()
    staying = asyncio.create_task(ask(app, key.sign(keys.claims())))
    await asyncio.sleep(0)
    leaving.cancel()
    keys.gate.set()
    assert (await staying).status_code == 200


async def test_no_log_line_holds_a_token_a_cookie_or_the_secret(
    shared_database_url: str,
    keys: KeyServer,
    key: SigningKey,
    alice_id: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "a-secret-of-better-auth-0123456789"
    token = await better_auth.sign_in(shared_database_url, alice_id)
    settings = make_settings(
        shared_database_url,
        better_auth_url=keys.address,
        better_auth_secret=secret,
        log_level="DEBUG",
    )
    signed, forged = better_auth.signed(token, secret), better_auth.signed(token, "another")
    sent = [key.sign(keys.claims()), SigningKey().sign(keys.claims()), token, signed, forged]
    async with running(settings) as app:
        for each in sent:
            assert await status_of(app, each) in (200, 401)
        async with client_of(app) as client:
            cookie = f"better-auth.session_token={signed}"
            assert (await client.get("/api/tasks", headers={"Cookie": cookie})).status_code == 200
    log = capsys.readouterr().err
    assert '"status": 401' in log
    for private in (secret, token, *(part for each in sent for part in each.split("."))):
        assert private not in log
