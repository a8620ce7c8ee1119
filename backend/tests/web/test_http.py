"""What every answer carries: CORS, a request id, gzip; health, readiness, the API document."""

import asyncio
import json
import zlib
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI

from backend.database import VERSION_TABLE, create_pool
from backend.main import create_app
from backend.tests.support.databases import statements_sent
from backend.tests.support.fixtures import Run, make_settings
from backend.tests.support.scripting import calls, says
from backend.tests.test_chat import chat
from backend.tests.web.test_errors import assert_envelope

UI = "http://localhost:3000"


async def test_the_preflight_of_every_call_is_answered(client: httpx.AsyncClient) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        answer = await client.options(
            "/api/chat",
            headers={
                "Origin": UI,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == UI
        assert answer.headers["access-control-allow-credentials"] == "true"


def preflight(headers: str, method: str = "POST", origin: str = UI) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


@pytest.mark.parametrize(
    "headers",
    [
        "authorization,baggage,content-type,sentry-trace",
        "traceparent,tracestate",
        "x-datadog-trace-id,x-datadog-parent-id,x-datadog-sampling-priority,x-datadog-origin",
        "b3,x-b3-traceid,x-b3-sampled",
        "request-id,request-context,x-correlation-id",
        "ot-tracer-traceid,ot-tracer-spanid,ot-tracer-sampled",
        "x-instana-t,x-instana-s,x-instana-l",
        "newrelic,x-newrelic-id,x-newrelic-transaction",
        "x-posthog-session-id,x-posthog-distinct-id",
        "x-highlight-request,x-honeycomb-trace,x-openreplay-sessiontoken",
    ],
)
async def test_a_page_may_send_what_tracing_libraries_add(
    client: httpx.AsyncClient, headers: str
) -> None:
    answer = await client.options("/api/chat", headers=preflight(headers))
    assert answer.status_code == 200
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert set(headers.split(",")) <= set(allowed)


async def test_further_headers_may_be_sent_where_the_settings_name_them(
    client: httpx.AsyncClient, run: Run
) -> None:
    asked = preflight("x-requested-with,x-tenant")
    assert (await client.options("/api/chat", headers=asked)).status_code == 400
    async with run(client, allowed_headers="X-Requested-With, x-tenant") as other:
        assert (await other.options("/api/chat", headers=asked)).status_code == 200


@pytest.mark.parametrize(
    ("asked", "which"),
    [
        (preflight("x-secret"), "headers"),
        (preflight("authorization", method="PROPFIND"), "method"),
        (preflight("authorization", origin="http://evil.example"), "origin"),
    ],
)
async def test_a_preflight_that_is_refused_says_so_in_the_envelope(
    client: httpx.AsyncClient, asked: dict[str, str], which: str
) -> None:
    answer = await client.options("/api/chat", headers=asked)
    assert_envelope(answer, 400, "PREFLIGHT_REFUSED")
    assert answer.json()["error"]["details"] == {"refused": [which]}
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (None if which == "origin" else UI)


@pytest.mark.parametrize("path", ["/api/tasks", "/nope", "/health"])
async def test_cors_headers_are_on_errors_too_and_only_for_allowed_origins(
    client: httpx.AsyncClient, path: str
) -> None:
    allowed = await client.get(path, headers={"Origin": UI})
    assert allowed.headers["access-control-allow-origin"] == UI
    assert allowed.headers["access-control-allow-credentials"] == "true"
    for origin in ("http://evil.example", "http://localhost:3001", "null"):
        other = await client.get(path, headers={"Origin": origin})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123_x.y", True), ("", False), ("x" * 65, False), ("a b", False), ("é", False)],
)
async def test_a_request_id_is_kept_if_it_is_short_and_plain(
    client: httpx.AsyncClient, given: str, kept: bool
) -> None:
    answer = await client.get("/health", headers=[(b"X-Request-ID", given.encode())])
    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.headers["x-request-id"].isascii()


async def test_log_lines_are_json_with_the_request_id_and_no_words_of_the_person(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model.extend([calls("add_task", {"title": "private title"}), says("private answer")])
    async with run(alice, log_level="DEBUG") as client:
        answer = await client.post(
            "/api/chat", json={"message": "private message"}, headers={"X-Request-ID": "my-id"}
        )
        assert answer.status_code == 200
    log = capsys.readouterr().err
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines()]
    (access,) = [line for line in lines if line["message"] == "request"]
    assert (access["method"], access["route"], access["status"]) == ("POST", "/api/chat", 200)
    assert all(line["request_id"] == "my-id" for line in lines if line["message"] == "request")
    token = alice.headers["authorization"].removeprefix("Bearer ")
    for secret in ("private", token, "a-key"):
        assert secret not in log


async def test_large_answers_are_compressed(alice: httpx.AsyncClient) -> None:
    for number in range(10):
        await alice.post("/api/tasks", json={"title": f"Task {number}"})
    answer = await alice.get("/api/tasks", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["total"] == 10


async def test_health_and_readiness_need_no_session(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).json() == {"status": "ok"}
    assert (await client.get("/ready")).json() == {"status": "ready"}


@pytest.mark.parametrize(
    "path",
    [
        *("/health", "/ready", "/ready?from=monitor", "/docs", "/openapi.json"),
        *("/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"),
    ],
)
async def test_monitors_may_ask_with_head(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.head(path)
    assert answer.status_code == 200
    assert answer.headers["content-length"] == (await client.get(path)).headers["content-length"]
    refused = await client.put(path.partition("?")[0])
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_calendars_may_ask_for_a_feed_with_head(alice: httpx.AsyncClient) -> None:
    path = (await alice.post("/api/calendar")).json()["url"].partition("http://test")[2]
    answer, whole = await alice.head(path), await alice.get(path)
    assert (answer.status_code, answer.headers["etag"]) == (200, whole.headers["etag"])
    assert (await alice.head(path.replace(".ics", "x.ics"))).status_code == 404


async def test_the_database_is_looked_at_once_however_many_ask_whether_it_is_ready(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    with statements_sent() as statements:
        answers = await asyncio.gather(*(client.get("/ready") for _ in range(50)))
        answers += [await client.head("/ready") for _ in range(50)]
    looks = [each for each in statements if VERSION_TABLE in each]
    assert {answer.status_code for answer in answers} == {200}
    assert len(looks) <= 1 + int(max(answer.elapsed.total_seconds() for answer in answers))


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/docs", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"]
)
async def test_what_is_the_same_for_everybody_is_made_and_packed_once(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    first = await client.get(path, headers={"Accept-Encoding": "gzip"})
    assert first.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in first.headers["vary"].lower()
    monkeypatch.setattr(json, "dumps", None)
    monkeypatch.setattr(zlib, "compressobj", None)
    again = await client.get(path, headers={"Accept-Encoding": "gzip"})
    assert again.content == first.content
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == first.content
    same = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


async def test_readiness_tells_when_the_database_is_gone(
    client: httpx.AsyncClient, app: Any
) -> None:
    await app.state.pool.close()
    lost = "postgresql://nobody@127.0.0.1:1/nothing"
    app.state.pool = create_pool(make_settings(lost), lost)
    answer = await client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert (await client.get("/health")).status_code == 200


async def test_the_api_document_shows_every_route_with_its_errors(
    client: httpx.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()
    assert "/api/chat" in document["paths"]
    answers = document["paths"]["/api/chat"]["post"]["responses"]
    refused = {"400", "408", "413", "431"}
    assert set(answers) == {"200", "401", "404", "409", "422", "429", "500", "503"} | refused
    examples = answers["503"]["content"]["application/json"]["examples"]
    assert set(examples) == {"AI_SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE"}
    assert "HTTPValidationError" not in json.dumps(document)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            signed_in = path.startswith("/api/") and not path.endswith(".ics")
            assert ("security" in operation) == signed_in


async def test_two_apps_live_in_one_process(
    settings: Any, model: ScriptedModel, alice: httpx.AsyncClient, run: Run
) -> None:
    model.extend([says("One."), says("Two.")])
    async with run(alice, rate_limit_chat="1/minute") as other:
        first = await chat(alice, "first")
        await chat(other, "second", conversation_id=first["conversation_id"])
        assert (await other.post("/api/chat", json={"message": "third"})).status_code == 429


def test_making_an_app_opens_nothing() -> None:
    app = create_app(make_settings("postgresql://nobody@127.0.0.1:1/nothing"))
    assert not hasattr(app.state, "engine")
