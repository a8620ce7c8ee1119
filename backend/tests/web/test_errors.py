"""One shape for every error, and no input that makes one of ours."""

from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests.support.scripting import says

JSON = {"Content-Type": "application/json"}


def assert_envelope(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) == {"error", "detail"}
    assert set(body["error"]) == {"code", "message", "details"}
    assert body["error"]["code"] == code
    assert body["detail"] == {"code": code, "message": body["error"]["message"]}
    assert answer.headers["x-request-id"]
    return body


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/chat/", "/api/tasks/", "/nope", "/api/tasks/1/"]
)
async def test_a_path_that_is_none_is_404_and_never_a_redirect(
    alice: httpx.AsyncClient, path: str
) -> None:
    assert_envelope(await alice.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/chat"), ("DELETE", "/api/tasks"), ("POST", "/health")]
)
async def test_a_method_a_route_does_not_have_is_405(
    alice: httpx.AsyncClient, method: str, path: str
) -> None:
    assert_envelope(await alice.request(method, path), 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"\xff\xfe",
        b'{"message": "\xc3"}',
        b'{"message": "\\ud800"}',
        b'{"message": "a\\u0000b"}',
        b'{"message": NaN}',
        b'{"message": "hi", "conversation_id": 1e999}',
        b'{"message": "hi", "conversation_id": NaN}',
        b'{"message": "hi", "conversation_id": 1' + b"0" * 5000 + b"}",
        b"[" * 30_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    ],
)
async def test_a_body_that_cannot_be_read_is_422(alice: httpx.AsyncClient, body: bytes) -> None:
    answer = await alice.post("/api/chat", content=body, headers=JSON)
    assert_envelope(answer, 422, "VALIDATION_ERROR")


async def test_a_body_that_does_not_say_it_is_json_is_422(alice: httpx.AsyncClient) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "garbage"}):
        answer = await alice.post("/api/chat", content=b'{"message": "hi"}', headers=headers)
        assert_envelope(answer, 422, "VALIDATION_ERROR")


async def test_details_list_field_message_and_type_and_never_the_input(
    alice: httpx.AsyncClient,
) -> None:
    answer = await alice.post("/api/chat", json={"message": "", "conversation_id": "s3cret"})
    body = assert_envelope(answer, 422, "VALIDATION_ERROR")
    assert [set(detail) for detail in body["error"]["details"]] == [
        {"field", "message", "type"}
    ] * 2
    assert {detail["field"] for detail in body["error"]["details"]} == {
        "message",
        "conversation_id",
    }
    assert "s3cret" not in answer.text


async def test_a_body_of_10_megabytes_is_refused_without_being_read(
    alice: httpx.AsyncClient,
) -> None:
    sent = 0

    async def body() -> Any:
        nonlocal sent
        for _ in range(160):
            sent += 65_536
            yield b"x" * 65_536

    answer = await alice.post("/api/chat", content=body(), headers=JSON)
    assert_envelope(answer, 413, "CONTENT_TOO_LARGE")
    assert sent <= 3 * 65_536
    declared = await alice.post("/api/chat", content=b"x" * 70_000, headers=JSON)
    assert_envelope(declared, 413, "CONTENT_TOO_LARGE")


async def test_a_fault_of_our_own_is_a_500_with_cors_and_without_a_word_of_it(
    capsys: pytest.CaptureFixture[str],
    alice: httpx.AsyncClient,
    app: Any,
    model: ScriptedModel,
) -> None:
    model.extend([says("Hello.")])
    del app.state.runtime
    answer = await alice.post(
        "/api/chat", json={"message": "my words"}, headers={"Origin": "http://localhost:3000"}
    )
    body = assert_envelope(answer, 500, "INTERNAL_SERVER_ERROR")
    assert body["error"]["details"] is None
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "Traceback" not in answer.text
    assert "runtime" not in answer.text
    log = capsys.readouterr().err
    assert answer.headers["x-request-id"] in log
    assert "runtime.py" in log
    assert "my words" not in log


async def test_the_order_of_judgement_is_401_422_429_404(
    alice: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    bad = {"message": "", "conversation_id": 1}
    assert (await client.post("/api/chat", json=bad)).status_code == 401
    missing = {"message": "hi", "conversation_id": 2**62}
    for _ in range(10):
        assert (await alice.post("/api/chat", json=missing)).status_code == 404
        assert (await alice.post("/api/chat", json=bad)).status_code == 422
    assert (await alice.post("/api/chat", json=missing)).status_code == 429
    assert (await alice.post("/api/chat", json=bad)).status_code == 422
