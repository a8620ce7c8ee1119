"""What is done to a real server over the wire leaves it well, and is answered in the envelope."""

import asyncio
import gzip
import json
import re
import select
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI

from backend.tests.support import better_auth
from backend.tests.support.fixtures import Run, client_of
from backend.tests.support.scripting import calls, says
from backend.tests.support.servers import Server, serving
from backend.tests.support.wire import opened, parsed, request, send, trickle, with_length
from backend.web.middleware import BODY_MAX, FIELDS_MAX, SECURITY_HEADERS

pytestmark = pytest.mark.long

PATIENCE = 1.0
"""`REQUEST_SECONDS` of the server under attack."""


@dataclass
class Target:
    server: Server
    token: str
    log: Path

    @property
    def address(self) -> str:
        return self.server.address


@pytest.fixture(scope="module")
async def target(
    shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Target]:
    """One server for all that follows, with a person signed in."""
    user_id = await better_auth.add_user(shared_database_url, "alice")
    token = await better_auth.sign_in(shared_database_url, user_id)
    log = tmp_path_factory.mktemp("hardening") / "server.log"
    settings = {
        "OPENAI_MODEL": "offline",
        "REQUEST_SECONDS": str(PATIENCE),
        "LOG_LEVEL": "INFO",
    }
    nowhere = "http://127.0.0.1:1/v1"
    async with serving(shared_database_url, nowhere, log=str(log), **settings) as server:
        yield Target(server, token, log)


CHAT = "POST /api/chat HTTP/1.1"
JSON = "Content-Type: application/json"
HELLO = b'{"message": "hello"}'
CHUNKED = "Transfer-Encoding: chunked"


def body(text: bytes, *fields: str | bytes) -> bytes:
    return with_length(CHAT, JSON, *fields, body=text)


def get(path: str | bytes, *fields: str | bytes) -> bytes:
    path = path.encode() if isinstance(path, str) else path
    return request(b"GET %s HTTP/1.1" % path, *fields)


ATTACKS = {
    # bodies
    "deep arrays": (body(b"[" * 60_000), 422),
    "deep objects": (body(b'{"message":' * 5000 + b"1" + b"}" * 5000), 422),
    "a number of 60,000 digits": (body(b'{"message": 1' + b"0" * 60_000 + b"}"), 422),
    "a key twice, the last one wrong": (body(b'{"message": "hello", "message": 5}'), 422),
    "an id that is text": (body(b'{"message": "hello", "conversation_id": "abc"}'), 422),
    "an id that is a float": (body(b'{"message": "hello", "conversation_id": 1.5}'), 422),
    "an id that is a whole float": (body(b'{"message": "hello", "conversation_id": 1.0}'), 422),
    "an id that is true": (body(b'{"message": "hello", "conversation_id": true}'), 422),
    "an id that is infinite": (body(b'{"message": "hello", "conversation_id": 1e400}'), 422),
    "a huge id": (body(b'{"message": "hello", "conversation_id": ' + b"9" * 400 + b"}"), 404),
    "a negative id": (body(b'{"message": "hello", "conversation_id": -1}'), 404),
    "NUL": (body(b'{"message": "a\\u0000b"}'), 422),
    "half a surrogate": (body(b'{"message": "\\ud800"}'), 422),
    "no UTF-8": (body(b'{"message": "\xff"}'), 422),
    "no JSON": (with_length(CHAT, "Content-Type: application/xml", body=HELLO), 422),
    "a form": (
        with_length(CHAT, "Content-Type: application/x-www-form-urlencoded", body=b"message=hello"),
        422,
    ),
    "a form without its boundary": (
        with_length(CHAT, "Content-Type: multipart/form-data", body=HELLO),
        422,
    ),
    "no content type": (with_length(CHAT, body=HELLO), 422),
    "a compressed body": (body(gzip.compress(HELLO), "Content-Encoding: gzip"), 422),
    "a key of broken UTF-8": (body(HELLO, b"Idempotency-Key: \xed\xa0\x80"), 422),
    # lengths
    "a length of 10 MB": (request(CHAT, JSON, f"Content-Length: {10**7}"), 413),
    "a length of 10 MB, asked for first": (
        request(CHAT, JSON, f"Content-Length: {10**7}", "Expect: 100-continue"),
        413,
    ),
    "a length of 18 digits": (request(CHAT, JSON, "Content-Length: " + "9" * 18), 413),
    "a length of 40 digits": (request(CHAT, JSON, "Content-Length: " + "9" * 40), 400),
    "a negative length": (request(CHAT, JSON, "Content-Length: -1"), 400),
    "a length in words": (request(CHAT, JSON, "Content-Length: ten"), 400),
    "two lengths": (body(HELLO, "Content-Length: 5"), 400),
    "a length and chunks": (body(HELLO, CHUNKED), 400),
    "a body that was waited for": (body(HELLO, "Expect: 100-continue"), 200),
    "chunks": (request(CHAT, JSON, CHUNKED, body=b"14\r\n" + HELLO + b"\r\n0\r\n\r\n"), 200),
    "chunks without end": (
        request(CHAT, JSON, CHUNKED, body=(b"1000\r\n" + b"x" * 4096 + b"\r\n") * 40),
        413,
    ),
    "a chunk without a size": (request(CHAT, JSON, CHUNKED, body=b"zz\r\nxx\r\n"), 400),
    "a chunk of a huge size": (request(CHAT, JSON, CHUNKED, body=b"f" * 20 + b"\r\nx"), 400),
    "a coding under the chunks": (
        request(CHAT, JSON, "Transfer-Encoding: gzip, chunked", body=HELLO),
        400,
    ),
    "trailers without end": (
        request(CHAT, JSON, CHUNKED, body=b"14\r\n" + HELLO + b"\r\n0\r\n" + b"X-A: b\r\n" * 500),
        431,
    ),
    # heads
    "10,000 header fields": (get("/health", *[f"X-{n}: y" for n in range(10_000)]), 431),
    "10,000 empty fields": (get("/health", *["a:"] * 10_000), 431),
    "as many fields as may be": (get("/health", *[f"X-{n}: y" for n in range(97)]), 200),
    "a field of 1 MB": (get("/health", "X-A: " + "a" * 10**6), 431),
    "a token of 100 kB": (get("/api/tasks", "Authorization: Bearer " + "a" * 10**5), 0),
    "a path of 60 kB": (get("/" + "a" * 60_000), 404),
    "a path of 70 kB": (get("/" + "a" * 70_000), 400),
    "a field without a colon": (get("/health", "nothing"), 400),
    "a field over two lines": (get("/health", "X-A: b\r\n c"), 400),
    "a field with NUL": (get("/health", b"X-A: a\x00b"), 400),
    "bare line feeds": (b"GET /health HTTP/1.1\nHost: x\n\n", 400),
    "a token that is no text": (get("/api/tasks", b"Authorization: Bearer \xff\xfe"), 401),
    "a token that is missing": (get("/api/tasks", "Authorization: Bearer"), 401),
    "another scheme": (get("/api/tasks", "Authorization: Basic eDp5"), 401),
    "an upgrade to a web socket": (
        get("/health", "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        200,
    ),
    "an upgrade to HTTP/2": (get("/health", "Connection: upgrade", "Upgrade: h2c"), 200),
    # lines
    "HTTP/1.0": (request("GET /health HTTP/1.0"), 200),
    "HTTP/9.9": (request("GET /health HTTP/9.9"), 400),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (bytes.fromhex("16030100a5010000a10303") + b"x" * 100, 400),
    "every byte": (bytes(range(256)) * 4, 400),
    "a method that is none": (request("FOO /health HTTP/1.1"), 400),
    "OPTIONS": (request("OPTIONS /api/tasks HTTP/1.1"), 405),
    "TRACE": (request("TRACE /api/tasks HTTP/1.1"), 405),
    "CONNECT": (request("CONNECT service:443 HTTP/1.1"), 400),
    "the server as such": (request("OPTIONS * HTTP/1.1"), 404),
    "another server's address": (request("GET http://evil.example/api HTTP/1.1"), 404),
    "a path without a slash": (get("health"), 400),
    "a path upwards": (get("/api/../health"), 404),
    "a path encoded": (get("/%61pi/%74asks/%31%31"), 404),
    "NUL in the path": (get("/api/conversations/%00/messages"), 404),
    "NUL in a number's place": (get("/api/tasks/%00"), 422),
    "no UTF-8 in the path": (get("/api/conversations/%ff/messages"), 404),
    "a bare byte in the path": (get(b"/api/tasks/\xff"), 400),
    "a number of 5,000 digits": (get("/api/tasks/" + "9" * 5000), 422),
    "NUL in the query": (get("/api/tasks/search?q=%00"), 422),
    "no UTF-8 in the query": (get("/api/tasks/search?q=%ff"), 200),
    "3,000 times the same parameter": (get("/api/tasks/search?" + "q=a&" * 3000), 200),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_comes_over_the_wire_is_answered_in_the_envelope(
    target: Target, name: str
) -> None:
    data, status = ATTACKS[name]
    if b"authorization:" not in data.lower():
        token = f"Authorization: Bearer {target.token}\r\n".encode()
        data = data.replace(b"Host: service\r\n", b"Host: service\r\n" + token, 1)
    answer = await send(target.address, data)
    assert answer.status == (status or answer.status), answer
    if not status:
        assert answer.status in (401, 431)
    if answer.status >= 400:
        assert answer.code
    assert answer.headers["x-request-id"]
    assert "server" not in answer.headers
    assert {name: answer.headers[name.lower()] for name in SECURITY_HEADERS} == {
        name: value.lower() for name, value in SECURITY_HEADERS.items()
    }
    assert (await send(target.address, get("/health"))).status == 200


SLOW = {
    "a head": (b"GET /hea", b"l", 408),
    "header fields": (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n", 408),
    "nothing but empty lines": (b"\r\n", b"\r\n", 408),
    "a body": (b"Content-Length: 1000\r\n\r\n", b"x", 408),
    "a body that never begins": (b"Content-Length: 1000\r\n\r\n", b"", 408),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 408),
    "trailers": (
        b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + HELLO + b"\r\n0\r\nX-A: ",
        b"x",
        408,
    ),
    "a body that nobody reads": (
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        b"x",
        200,
    ),
    "nothing at all": (b"", b"", 0),
}


async def test_who_sends_too_slowly_is_answered_and_let_go(target: Target) -> None:
    start = f"{CHAT}\r\nHost: x\r\n{JSON}\r\nAuthorization: Bearer {target.token}\r\n".encode()

    async def attack(name: str) -> None:
        first, drop, status = SLOW[name]
        if first.startswith((b"Content-", b"Transfer-")):
            first = start + first
        began = asyncio.get_running_loop().time()
        answer = await trickle(target.address, first, drop)
        took = asyncio.get_running_loop().time() - began
        assert answer.status == status, (name, answer)
        assert took >= PATIENCE * 0.9, name
        if status == 408:
            assert answer.code == "REQUEST_TIMEOUT"

    async with asyncio.TaskGroup() as group:
        for name in SLOW:
            group.create_task(attack(name))


async def test_idle_connections_keep_nobody_out_and_are_closed(target: Target) -> None:
    idle = [await opened(target.address) for _ in range(300)]
    assert (await send(target.address, get("/health"))).status == 200
    assert [await reader.read() for reader, _ in idle] == [b""] * 300
    for _, writer in idle:
        writer.close()


async def test_who_does_not_read_is_let_go(target: Target, shared_database_url: str) -> None:
    reader_id = await better_auth.add_user(shared_database_url, "reader")
    token = await better_auth.sign_in(shared_database_url, reader_id)
    much = """INSERT INTO tasks (user_id, title, description, created_at, updated_at)
              SELECT %s, 'Much', repeat('é', 1000), now(), now() FROM generate_series(1, 4000)"""
    await better_auth.execute(shared_database_url, much, reader_id)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        address = urlsplit(target.address)
        await loop.sock_connect(client, (address.hostname, address.port))
        ask = get("/api/tasks", f"Authorization: Bearer {token}").replace(b"close", b"keep-alive")
        await loop.sock_sendall(client, ask * 2)
        began = loop.time()
        while await loop.run_in_executor(None, _is_open, client):
            assert loop.time() - began < 20
        assert loop.time() - began >= 2 * PATIENCE


def _is_open(client: socket.socket) -> bool:
    """Whether the other end has not reset the connection, looked at for a moment."""
    poll = select.poll()
    poll.register(client, select.POLLHUP | select.POLLERR)
    return not poll.poll(100)


async def test_a_slow_client_with_time_is_served(target: Target) -> None:
    reader, writer = await opened(target.address)
    for byte in body(HELLO, f"Authorization: Bearer {target.token}"):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert parsed(await reader.read()).status == 200
    writer.close()


async def test_10_megabytes_are_refused_before_they_are_sent(target: Target) -> None:
    reader, writer = await opened(target.address)
    token = f"Authorization: Bearer {target.token}"
    writer.write(request(CHAT, JSON, CHUNKED, token))
    sent = 0
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    while sent < 10**7 and not reader.at_eof() and not writer.is_closing():
        writer.write(chunk)
        sent += len(chunk)
        try:
            await asyncio.wait_for(reader.readuntil(b"\r\n"), 0.05)
        except TimeoutError:
            continue
        break
    assert sent < 10**6
    writer.close()


async def test_the_servers_log_is_whole_json_lines_without_a_fault(target: Target) -> None:
    for _ in range(3):
        await send(target.address, get("/%0a{%22level%22:%22forged%22}"))
    lines = [json.loads(line) for line in target.log.read_text().splitlines()]
    assert len(lines) > 3
    wrong = [line for line in lines if line["level"] not in ("INFO", "WARNING")]
    assert not wrong, wrong[0]["exception"][-700:]
    assert not [line for line in lines if "exception" in line]


FORGED = '{"level": "CRITICAL", "message": "forged"}'


async def test_no_input_forges_a_line_of_the_log(
    client: httpx.AsyncClient,
    shared_database_url: str,
    run: Run,
    model: ScriptedModel,
    app: FastAPI,
    capsys: pytest.CaptureFixture[str],
) -> None:
    eve = await better_auth.add_user(shared_database_url, f"eve\n{FORGED}\n")
    token = await better_auth.sign_in(shared_database_url, eve)
    newlines = f"a\n{FORGED}\r\n{FORGED}\u2028{FORGED}\x85{FORGED}"
    model.extend([calls(newlines, {}), calls("add_task", {"title": newlines}), says(newlines)])
    async with client_of(app, token) as signed_in, run(signed_in, log_level="DEBUG") as other:
        raw = newlines.encode()
        answer = await other.post(
            "/api/chat",
            json={"message": newlines},
            headers=[(b"X-Request-ID", raw), (b"User-Agent", raw), (b"Idempotency-Key", b"k")],
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-request-id"].isalnum()
        await other.get(f"/api/conversations/{quote(newlines)}/messages")
        await other.get("/api/tasks/a%0A%7B%7D", params={"q": newlines})
        await other.request(f"GET\n{FORGED}", "/api/tasks")
        forged = [(b"Authorization", b"Bearer " + raw)]
        assert (await other.get("/api/tasks", headers=forged)).status_code == 401
    lines = [json.loads(line) for line in capsys.readouterr().err.split("\n") if line]
    assert len([line for line in lines if line["message"] == "request"]) >= 5
    assert not [line for line in lines if line["level"] == "CRITICAL" or "logger" not in line]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
        ("OPTIONS", "/api/chat", 200),
        ("GET", "/api/tasks", 401),
        ("GET", "/nope", 404),
        ("DELETE", "/health", 405),
        ("GET", "/redoc", 404),
    ],
)
async def test_every_answer_is_guarded_by_its_headers(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    answer = await client.request(method, path, headers=asked if method == "OPTIONS" else {})
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_the_page_of_the_api_may_run_what_it_names_and_nothing_else(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/docs")
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    for script in re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL):
        digest = b64encode(sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy["script-src"]
    assert policy["script-src"].split()[0] == policy["style-src"] == "'self'"
    assert "://" not in answer.text + str(policy)
    for path, media_type in [
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/swagger-ui.css", "text/css"),
    ]:
        assert f'"{path}"' in answer.text
        file = await client.get(path)
        assert file.status_code == 200
        assert file.headers["content-type"].startswith(media_type)
    assert not re.search(r"<style|\son\w+=|\sstyle=", answer.text)


async def test_too_many_header_fields_are_refused_under_any_server(
    client: httpx.AsyncClient,
) -> None:
    fields = [(f"X-{number}", "y") for number in range(FIELDS_MAX + 1)]
    answer = await client.get("/health", headers=fields)
    assert answer.status_code == 431
    assert answer.json()["error"]["code"] == "REQUEST_HEADER_FIELDS_TOO_LARGE"


async def test_a_body_as_large_as_may_be_is_read(alice: httpx.AsyncClient) -> None:
    text = json.dumps({"title": "Buy milk"})
    answer = await alice.post(
        "/api/tasks",
        content=text + " " * (BODY_MAX - len(text)),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 201


async def test_a_405_names_every_method_of_its_path(alice: httpx.AsyncClient) -> None:
    async def allowed(path: str) -> Any:
        return (await alice.request("TRACE", path)).headers["allow"]

    assert await allowed("/api/tasks/1") == "GET, PUT, DELETE"
    assert await allowed("/api/tasks/search") == "GET"
    assert await allowed("/ready") == "GET, HEAD"
    assert (await alice.put("/api/tasks/search", json={})).status_code == 405
