"""Who is calling: Better Auth's session token, and nothing that only looks like one."""

from uuid import uuid4

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests.support import better_auth
from backend.tests.support.databases import MakeDatabase
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.scripting import says

ROUTES = [
    ("POST", "/api/chat"),
    ("GET", "/api/conversations/1/messages"),
    ("GET", "/api/tasks"),
    ("GET", "/api/tasks/search?q=x"),
    ("POST", "/api/tasks"),
    ("GET", "/api/tasks/1"),
    ("PUT", "/api/tasks/1"),
    ("DELETE", "/api/tasks/1"),
    ("PATCH", "/api/tasks/1/complete"),
]

NO_SESSION = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer unknown0123456789abcdefghijklmno",
    "Basic dXNlcjpwYXNz",
    "Token abc",
    "Bearer two words",
    "Bearer ' OR '1'='1",
    "Bearer %00",
    "Bearer é",
    "Bearer " + "x" * 100_000,
    "\x7f",
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_wants_a_session_before_it_reads_the_body(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(
        method, path, content=b"{not json", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "INVALID_SESSION"
    assert answer.json()["detail"] == {
        "code": "INVALID_SESSION",
        "message": answer.json()["error"]["message"],
    }


@pytest.mark.parametrize("header", NO_SESSION)
async def test_what_is_no_session_token_is_refused(
    client: httpx.AsyncClient, header: str | None
) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode())]
    answer = await client.get("/api/tasks", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "INVALID_SESSION"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_taken_in_any_case(
    client: httpx.AsyncClient, shared_database_url: str, alice_id: str, scheme: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    answer = await client.get("/api/tasks", headers={"Authorization": f"{scheme} {token}"})
    assert answer.status_code == 200


async def test_an_expired_session_is_refused(
    client: httpx.AsyncClient, shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id, valid_for="-1 second")
    answer = await client.get("/api/tasks", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_signing_out_is_seen_at_the_next_request(
    alice: httpx.AsyncClient, shared_database_url: str, alice_id: str
) -> None:
    assert (await alice.get("/api/tasks")).status_code == 200
    await better_auth.execute(
        shared_database_url, 'DELETE FROM "session" WHERE "userId" = %s', alice_id
    )
    assert (await alice.get("/api/tasks")).status_code == 401


@pytest.mark.parametrize("server_zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize(("valid_for", "status"), [("1 minute", 200), ("-1 minute", 401)])
async def test_a_zoneless_expiry_is_utc_whatever_the_servers_zone(
    make_database: MakeDatabase,
    migrated_template: str,
    server_zone: str,
    valid_for: str,
    status: int,
) -> None:
    url = await make_database(migrated_template)
    zoneless = better_auth.TABLES.replace("timestamptz", "timestamp")
    await better_auth.execute(url, zoneless)
    await better_auth.execute(
        url,
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''{server_zone}''',"
        " current_database()); END $$",
    )
    user_id = await better_auth.add_user(url, "alice")
    token = uuid4().hex
    await better_auth.execute(
        url,
        """INSERT INTO "session" ("id", "token", "userId", "expiresAt")
           VALUES (%s, %s, %s, (now() AT TIME ZONE 'UTC') + %s::interval)""",
        token,
        token,
        user_id,
        valid_for,
    )
    # without prepared statements, as behind a pooler, where the connection keeps the zone
    for suffix in ("", "&prepare_threshold=0"):
        async with running(make_settings(url + suffix)) as app, client_of(app, token) as client:
            assert (await client.get("/api/tasks")).status_code == status


async def test_a_turn_belongs_to_who_asked_for_it(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello.")])
    turn = (await alice.post("/api/chat", json={"message": "hi"})).json()
    path = f"/api/conversations/{turn['conversation_id']}/messages"
    assert (await alice.get(path)).status_code == 200
    assert (await bob.get(path)).status_code == 404
