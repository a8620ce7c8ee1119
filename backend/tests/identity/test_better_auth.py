"""Sign-in with what the real Better Auth issues: sessions, cookies and JWTs.

Skipped, in so many words, where Node or npm's registry is out of reach.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from backend.identity import key_set
from backend.tests.support.better_auth import execute
from backend.tests.support.databases import temporary_database
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.npm import install
from backend.tests.support.real_better_auth import (
    FOLDER,
    SECRET,
    BetterAuth,
    Person,
    serving_better_auth,
)

pytestmark = pytest.mark.long

UI = "http://localhost:3000"
FORMS = ["plain", "signed", "encoded", "cookie", "jwt"]
SIGNED_OUT = [form for form in FORMS if form != "jwt"]


@pytest.fixture(scope="module")
async def better_auth(postgres_url: str, migrated_template: str) -> AsyncIterator[BetterAuth]:
    install(FOLDER, "the real Better Auth")
    async with (
        temporary_database(postgres_url, migrated_template) as url,
        serving_better_auth(url) as server,
    ):
        yield server


@pytest.fixture
async def app(better_auth: BetterAuth) -> AsyncIterator[FastAPI]:
    async with service(better_auth) as app:
        yield app


@pytest.fixture
async def person(better_auth: BetterAuth) -> AsyncIterator[Person]:
    """Someone new, who may be signed out; a sign-up costs a fifth of a second of hashing."""
    async with better_auth.person() as person:
        yield person


@pytest.fixture(scope="module")
async def resident(better_auth: BetterAuth) -> AsyncIterator[Person]:
    """Someone who stays signed in for all tests."""
    async with better_auth.person() as person:
        yield person


@pytest.fixture(scope="module")
async def neighbour(better_auth: BetterAuth) -> AsyncIterator[Person]:
    """The second user, for whom what is the first one's is not there."""
    async with better_auth.person() as person:
        yield person


@pytest.fixture(scope="module")
async def renamed(better_auth: BetterAuth) -> AsyncIterator[Person]:
    """Someone of a Better Auth whose table and columns have other names."""
    async with better_auth.person("/renamed") as person:
        yield person


def service(better_auth: BetterAuth, **values: Any) -> AbstractAsyncContextManager[FastAPI]:
    """Our app on Better Auth's database, told of its secret and address."""
    given = {"better_auth_secret": SECRET, "better_auth_url": better_auth.origin} | values
    return running(make_settings(better_auth.database_url, **given))


async def headers_of(person: Person, form: str) -> dict[str, str]:
    """What a request carries for a person who is signed in by one of the `FORMS`."""
    if form == "cookie":
        return {"Cookie": person.cookie, "Origin": UI}
    tokens = {"plain": person.token, "signed": person.signed, "encoded": quote(person.signed)}
    return {"Authorization": f"Bearer {tokens.get(form) or await person.jwt()}"}


async def ask(app: FastAPI, headers: dict[str, str]) -> httpx.Response:
    async with client_of(app) as client:
        return await client.get("/api/tasks", headers=headers)


async def ask_with(app: FastAPI, token: str) -> int:
    return (await ask(app, {"Authorization": f"Bearer {token}"})).status_code


@pytest.mark.parametrize("form", FORMS)
async def test_each_form_is_the_person_it_was_given_to(
    app: FastAPI, resident: Person, neighbour: Person, form: str
) -> None:
    headers = await headers_of(resident, form)
    async with client_of(app) as client:
        made = await client.post("/api/tasks", json={"title": "Mine"}, headers=headers)
    assert made.status_code == 201
    assert made.json()["user_id"] == resident.user_id
    assert made.json() in (await ask(app, headers)).json()["tasks"]
    assert (await ask(app, await headers_of(neighbour, form))).json()["total"] == 0


@pytest.mark.e2e
@pytest.mark.parametrize("form", FORMS)
async def test_using_a_session_changes_nothing_in_it(
    app: FastAPI, resident: Person, better_auth: BetterAuth, form: str
) -> None:
    row = """SELECT to_jsonb(s) || to_jsonb(u) FROM "session" s JOIN "user" u ON u.id = "userId"
             WHERE u.id = %s"""
    before = await execute(better_auth.database_url, row, resident.user_id)
    assert (await ask(app, await headers_of(resident, form))).status_code == 200
    assert await execute(better_auth.database_url, row, resident.user_id) == before


async def test_the_cookie_that_is_set_over_tls_counts(better_auth: BetterAuth) -> None:
    async with better_auth.person("/secure") as person, service(better_auth) as app:
        assert person.cookie.startswith("__Secure-better-auth.session_token=")
        assert (await ask(app, {"Cookie": person.cookie})).status_code == 200


@pytest.mark.parametrize("form", SIGNED_OUT)
async def test_signing_out_is_seen_at_the_next_request(
    app: FastAPI, person: Person, form: str
) -> None:
    headers = await headers_of(person, form)
    assert (await ask(app, headers)).status_code == 200
    await person.sign_out()
    assert (await ask(app, headers)).status_code == 401


async def test_a_jwt_outlives_its_session_until_it_expires(app: FastAPI, person: Person) -> None:
    token = await person.jwt()
    await person.sign_out()
    assert await ask_with(app, token) == 200


@pytest.mark.parametrize("form", SIGNED_OUT)
async def test_an_expired_session_is_refused(
    app: FastAPI, person: Person, better_auth: BetterAuth, form: str
) -> None:
    headers = await headers_of(person, form)
    expire = """UPDATE "session" SET "expiresAt" = now() - interval '1 second' WHERE token = %s"""
    await execute(better_auth.database_url, expire, person.token)
    assert (await ask(app, headers)).status_code == 401


async def test_a_jwt_that_it_signed_counts_only_in_its_time_and_for_us(
    app: FastAPI, better_auth: BetterAuth
) -> None:
    assert await ask_with(app, await better_auth.sign(sub="someone")) == 200
    for claims in (
        {"exp": 1_000_000_000},
        {"nbf": 9_000_000_000},
        {"iat": 9_000_000_000, "exp": 9_000_000_900},
        {"aud": "https://other.example.com"},
        {"iss": "https://other.example.com"},
    ):
        assert await ask_with(app, await better_auth.sign(sub="someone", **claims)) == 401


@pytest.mark.e2e
async def test_a_new_key_counts_at_once_and_an_old_one_as_long_as_it_is_listed(
    app: FastAPI, person: Person, better_auth: BetterAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "COOL_DOWN_S", 0.0)
    old = await person.jwt()
    assert await ask_with(app, old) == 200

    keys = "jwks_api_auth"
    retire = f"""UPDATE {keys} SET "expiresAt" = now() - interval '1 second'"""
    await execute(better_auth.database_url, retire)
    new = await person.jwt()
    assert await ask_with(app, new) == 200
    assert await ask_with(app, old) == 200

    await execute(better_auth.database_url, f'DELETE FROM {keys} WHERE "expiresAt" < now()')
    monkeypatch.setattr(key_set, "FRESH_S", 0.0)
    assert await ask_with(app, old) == 401
    assert await ask_with(app, new) == 200


@pytest.mark.e2e
@pytest.mark.parametrize("path", ["/es256", "/es512", "/ps256", "/rs256"])
async def test_each_of_its_algorithms_is_known(better_auth: BetterAuth, path: str) -> None:
    keys = f"{better_auth.origin}{path}/jwks"
    async with (
        better_auth.person(path) as person,
        service(better_auth, better_auth_jwks_url=keys) as app,
    ):
        token = await person.jwt()
        assert await ask_with(app, token) == 200
        async with service(better_auth) as elsewhere:
            assert await ask_with(elsewhere, token) == 401


@pytest.mark.e2e
@pytest.mark.parametrize("form", FORMS)
async def test_a_table_and_columns_of_other_names_are_read_as_set(
    better_auth: BetterAuth, renamed: Person, resident: Person, form: str
) -> None:
    names = {
        "better_auth_session_table": "sessions",
        "better_auth_session_columns": "secret,user_id,expires_at",
        "better_auth_jwks_url": f"{better_auth.origin}/renamed/jwks",
    }
    async with service(better_auth, **names) as app:
        assert (await ask(app, await headers_of(renamed, form))).status_code == 200
        assert await ask_with(app, resident.token) == 401
