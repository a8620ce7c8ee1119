"""Signed tokens and the session cookie: what is judged before any query, and from which page."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from backend.tests.support import better_auth
from backend.tests.support.databases import statements_sent
from backend.tests.support.fixtures import client_of, make_settings, running

SECRET = "a-secret-of-better-auth-0123456789"
UI = "http://localhost:3000"
NAME = "better-auth.session_token"
SECURE = f"__Secure-{NAME}"


@pytest.fixture(scope="module")
async def app(shared_database_url: str) -> AsyncIterator[FastAPI]:
    async with running(make_settings(shared_database_url, better_auth_secret=SECRET)) as app:
        yield app


@pytest.fixture(scope="module")
async def app_without_secret(shared_database_url: str) -> AsyncIterator[FastAPI]:
    async with running(make_settings(shared_database_url)) as app:
        yield app


@pytest.fixture
async def token(shared_database_url: str, alice_id: str) -> str:
    return await better_auth.sign_in(shared_database_url, alice_id)


@pytest.fixture
async def bobs_token(shared_database_url: str, bob_id: str) -> str:
    return await better_auth.sign_in(shared_database_url, bob_id)


PATHS = {"PUT": "/1", "DELETE": "/1", "PATCH": "/1/complete"}


async def ask(app: FastAPI, method: str = "GET", **headers: str) -> httpx.Response:
    body = {"title": "Mine"} if method in ("POST", "PUT") else None
    path = f"/api/tasks{PATHS.get(method, '')}"
    async with client_of(app) as client:
        return await client.request(method, path, json=body, headers=headers)


async def status_of(app: FastAPI, token: str) -> int:
    return (await ask(app, Authorization=f"Bearer {token}")).status_code


async def test_a_signed_token_is_its_owner_encoded_or_not(
    app: FastAPI, token: str, alice_id: str
) -> None:
    signed = better_auth.signed(token, SECRET)
    for form in (token, signed, quote(signed), quote(signed, safe="")):
        made = await ask(app, "POST", Authorization=f"Bearer {form}")
        assert made.json()["user_id"] == alice_id


async def test_a_wrong_signature_is_refused_before_any_query(
    app: FastAPI, token: str, bobs_token: str
) -> None:
    signed = better_auth.signed(token, SECRET)
    signature = signed.rpartition(".")[2]
    wrong = [
        f"{token}.",
        f"{token}.x",
        f"{token}.{'A' * 43}=",
        f"{token}.{signature[:-1]}",
        f"{token}.{signature}=",
        f"{token}.{signature.swapcase()}",
        f"{token}x.{signature}",
        f"{bobs_token}.{signature}",
        f".{signature}",
        f"{signed}.{signature}",
        f"{signed}%00",
        better_auth.signed(token, "another secret"),
        better_auth.signed(token, ""),
        better_auth.signed("' OR '1'='1", SECRET),
        better_auth.signed("x" * 513, SECRET),
    ]
    with statements_sent() as statements:
        for form in wrong:
            assert await status_of(app, form) == 401, form
            assert (await ask(app, Cookie=f"{NAME}={quote(form)}")).status_code == 401, form
        assert await status_of(app, quote(quote(signed, safe=""), safe="")) == 401
        assert statements == []
        assert await status_of(app, token) == 200
        assert statements


async def test_a_token_is_split_at_its_last_dot(
    app: FastAPI, shared_database_url: str, alice_id: str
) -> None:
    dotted = await better_auth.sign_in(shared_database_url, alice_id, prefix="a.b.")
    assert await status_of(app, better_auth.signed(dotted, SECRET)) == 200
    assert await status_of(app, quote(better_auth.signed(dotted, SECRET), safe="")) == 200
    assert await status_of(app, dotted) == 401


async def test_without_the_secret_the_database_alone_decides(
    app_without_secret: FastAPI, token: str
) -> None:
    signed = better_auth.signed(token, "whoever signed it")
    assert await status_of(app_without_secret, signed) == 200
    cookie = f"{NAME}={quote(signed)}"
    assert (await ask(app_without_secret, Cookie=cookie)).status_code == 200
    unknown = better_auth.signed("0" * 32, "whoever signed it")
    assert await status_of(app_without_secret, unknown) == 401
    # what does not even look signed is not taken for it
    for form in (f"{token}.", f"{token}.x", f"{token}.{'*' * 43}="):
        assert await status_of(app_without_secret, form) == 401
        assert (await ask(app_without_secret, Cookie=f"{NAME}={form}")).status_code == 401


@pytest.mark.parametrize("name", [NAME, SECURE])
async def test_the_cookie_is_its_owner(app: FastAPI, token: str, alice_id: str, name: str) -> None:
    cookie = f"theme=dark; {name}={quote(better_auth.signed(token, SECRET))}; other=a=b"
    made = await ask(app, "POST", Cookie=cookie, Origin=UI)
    assert made.json()["user_id"] == alice_id


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_cookie_alone_changes_something_only_from_an_allowed_page(
    app: FastAPI, token: str, method: str
) -> None:
    cookie = f"{NAME}={quote(better_auth.signed(token, SECRET))}"
    for origin in (
        "http://evil.example",
        "https://localhost:3000",
        "http://localhost:3001",
        "http://localhost:3000.evil.example",
        "http://localhost:3000/",
        "null",
        "",
    ):
        assert (await ask(app, method, Cookie=cookie, Origin=origin)).status_code == 401, origin
    assert (await ask(app, method, Cookie=cookie)).status_code == 401
    assert (await ask(app, method, Cookie=cookie, Referer=f"{UI}/")).status_code == 401
    assert (await ask(app, method, Cookie=cookie, Origin=UI)).status_code != 401
    assert (await ask(app, method, Authorization=f"Bearer {token}")).status_code != 401


async def test_two_origins_are_none(app: FastAPI, token: str) -> None:
    cookie = f"{NAME}={quote(better_auth.signed(token, SECRET))}"
    twice = [("Origin", UI), ("Origin", "http://evil.example"), ("Cookie", cookie)]
    async with client_of(app) as client:
        answer = await client.post("/api/tasks", json={"title": "x"}, headers=twice)
    assert answer.status_code == 401


async def test_reading_with_a_cookie_needs_no_origin(app: FastAPI, token: str) -> None:
    cookie = f"{NAME}={quote(better_auth.signed(token, SECRET))}"
    assert (await ask(app, Cookie=cookie)).status_code == 200


async def test_a_bearer_token_counts_before_a_cookie_good_or_bad(
    app: FastAPI, token: str, bobs_token: str, bob_id: str
) -> None:
    cookie = f"{NAME}={quote(better_auth.signed(token, SECRET))}"
    both = await ask(app, "POST", Cookie=cookie, Origin=UI, Authorization=f"Bearer {bobs_token}")
    assert both.json()["user_id"] == bob_id
    for bad in ("Bearer", "Bearer ", "bearer unknown", f"Bearer {token}.x", "BEARER a b"):
        assert (await ask(app, Cookie=cookie, Authorization=bad)).status_code == 401
    # another scheme is a proxy's affair
    other = await ask(app, Cookie=cookie, Authorization="Basic dXNlcjpwYXNz")
    assert other.status_code == 200


async def test_two_bearer_tokens_are_none(app: FastAPI, token: str, bobs_token: str) -> None:
    twice = [("Authorization", f"Bearer {each}") for each in (token, bobs_token)]
    async with client_of(app) as client:
        assert (await client.get("/api/tasks", headers=twice)).status_code == 401


async def test_cookies_of_one_name_count_only_where_they_agree(
    app: FastAPI, token: str, bobs_token: str, bob_id: str
) -> None:
    mine = quote(better_auth.signed(token, SECRET))
    bobs = quote(better_auth.signed(bobs_token, SECRET))
    assert (await ask(app, Cookie=f"{NAME}={mine}; {NAME}={mine}")).status_code == 200
    assert (await ask(app, Cookie=f"{NAME}={mine}; {NAME}={bobs}")).status_code == 401
    assert (await ask(app, Cookie=f"{SECURE}={mine}; {SECURE}={bobs}")).status_code == 401
    # only a page served over TLS can have set the one with the prefix
    both = f"{NAME}={mine}; {SECURE}={bobs}"
    made = await ask(app, "POST", Cookie=both, Origin=UI)
    assert made.json()["user_id"] == bob_id


async def test_what_is_no_signed_token_is_no_session_cookie(app: FastAPI, token: str) -> None:
    signed = quote(better_auth.signed(token, SECRET))
    for cookie in (
        "",
        NAME,
        f"{NAME}=",
        f"{NAME}={token}",
        f"{NAME.upper()}={signed}",
        f"x{NAME}={signed}",
        f"__Host-{NAME}={signed}",
        f"better-auth.session_data={signed}",
        f"{NAME}=a.b.c",
        f"{NAME}={'x' * 100_000}",
    ):
        assert (await ask(app, Cookie=cookie)).status_code == 401, cookie[:80]


async def test_the_cookies_name_may_be_set(shared_database_url: str, token: str) -> None:
    cookie = f"todo.session={quote(better_auth.signed(token, SECRET))}"
    settings = make_settings(
        shared_database_url, better_auth_secret=SECRET, better_auth_cookie="todo.session"
    )
    async with running(settings) as app:
        assert (await ask(app, Cookie=cookie)).status_code == 200
        assert (await ask(app, Cookie=f"__Secure-{cookie}")).status_code == 200
        assert (await ask(app, Cookie=cookie.replace("todo.session", NAME))).status_code == 401


async def test_the_api_document_describes_both_ways(app: FastAPI) -> None:
    async with client_of(app) as client:
        document = (await client.get("/openapi.json")).json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["cookie"] == {
        "type": "apiKey",
        "in": "cookie",
        "name": NAME,
        "description": schemes["cookie"]["description"],
    }
    either: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            signed_in = path.startswith("/api/") and not path.endswith(".ics")
            assert operation.get("security") == (either if signed_in else None)


async def test_our_own_page_is_an_allowed_one_where_it_is_served(
    shared_database_url: str, token: str, app: FastAPI
) -> None:
    cookie = f"{NAME}={quote(better_auth.signed(token, SECRET))}"
    settings = make_settings(shared_database_url, better_auth_secret=SECRET, web_page=True)
    async with running(settings) as with_page:
        assert (await ask(with_page, "POST", Cookie=cookie, Origin="http://test")).is_success
        for other in ("https://test", "http://test:81", "http://evil.example", "null"):
            answer = await ask(with_page, "POST", Cookie=cookie, Origin=other)
            assert answer.status_code == 401, other
    assert (await ask(app, "POST", Cookie=cookie, Origin="http://test")).status_code == 401
