"""Whatever is sent to the API, its OpenAPI document describes the answer, and none is a 5xx.

schemathesis reads the document of a running service and so takes in every operation that is
listed there: by itself, with what is just valid and just not, then one behind the other along
the document's links. `python -m backend.tests.web.test_schemathesis SEED EXAMPLES` hunts longer.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.routing import compile_path

from backend.postgres.embedded import start_embedded
from backend.tests.support import better_auth
from backend.tests.support.databases import temporary_database
from backend.tests.support.servers import Server, serving
from backend.tests.test_chat import chat, messages_of

pytestmark = pytest.mark.long

SEED = 20_261_125
PHASES = ("examples", "coverage", "fuzzing", "stateful")
WITHOUT_COVERAGE = ("examples", "fuzzing", "stateful")
"""Without each value that the document names or rules out, which are most of the requests.

So not each operation is sent something that succeeds.
"""
FORMS = [
    (WITHOUT_COVERAGE, 1),
    pytest.param(PHASES, 5, marks=pytest.mark.e2e),
    pytest.param(PHASES, 100, marks=pytest.mark.hunt),
]
"""The phases, and the requests an operation that one of them makes up."""

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
]
"""All but those by which 422 is only for what JSON Schema can say.

Some rules are beyond it (at most 20 different tags), and numbers and truth values are read
from texts.
"""


BY_CHANCE = {
    "DELETE /api/tasks/{task_id}/steps/{step_id}",
    "GET /api/calendar/{secret}.ics",
}
"""What only succeeds once for each step, or with a secret that is told once."""
CONVERSATIONS = 8
STEPS = 50
KNOWN = """
[headers]
Authorization = "Bearer {token}"
[dictionaries]
conversations.values = {conversations}
messages.values = {messages}
standing.values = {standing}
waiting.values = {waiting}
approvals.values = {approvals}
tasks.values = {tasks}
doomed.values = {doomed}
steps.values = {steps}
[parameters]
"path.conversation_id" = {{ dictionary = "conversations", probability = 0.8 }}
"path.chat_id" = {{ dictionary = "conversations", probability = 0.8 }}
"path.message_id" = {{ dictionary = "messages", probability = 0.8 }}
[[operations]]
include-name = "POST /api/messages/{{message_id}}/regenerate"
[operations.parameters]
"path.message_id" = {{ dictionary = "standing", probability = 0.8 }}
[[operations]]
include-name = "POST /api/messages/{{message_id}}/approvals"
[operations.parameters]
"path.message_id" = {{ dictionary = "waiting", probability = 0.8 }}
"body.decisions[*].id" = {{ dictionary = "approvals", probability = 0.8 }}
[[operations]]
include-path = "/api/tasks/{{task_id}}/steps/{{step_id}}"
[operations.parameters]
"path.task_id" = {{ dictionary = "tasks", probability = 0.8 }}
"path.step_id" = {{ dictionary = "steps", probability = 0.8 }}
[[operations]]
include-name = "DELETE /api/tasks/{{task_id}}"
[operations.parameters]
"path.task_id" = {{ dictionary = "doomed", probability = 1.0 }}
[[operations]]
include-name = "DELETE /api/account"
[operations.headers]
Authorization = "Bearer {who_goes}"
"""


@asynccontextmanager
async def service(postgres_url: str) -> AsyncIterator[tuple[Server, tuple[str, str]]]:
    """The service on a database of its own, with the offline model, and two persons' tokens."""
    unlimited = dict.fromkeys(
        ("RATE_LIMIT_CHAT", "RATE_LIMIT_HISTORY", "RATE_LIMIT_TASKS", "RATE_LIMIT_SIGN_IN"),
        "1000000/minute",
    )
    async with temporary_database(postgres_url) as url:
        await better_auth.execute(url, better_auth.TABLES)
        token, who_goes = [
            await better_auth.sign_in(url, await better_auth.add_user(url, name))
            for name in ("alice", "bob")
        ]
        nowhere = "http://127.0.0.1:1/v1"
        offline = {"OPENAI_MODEL": "offline", "APPROVAL_TOOLS": "delete_task"}
        async with serving(url, nowhere, **offline, **unlimited) as server:
            yield server, (token, who_goes)


async def known(server: Server, token: str, who_goes: str) -> str:
    """Settings that name conversations and answers that are there, which chance would not.

    Whose account is deleted is somebody else, `who_goes`.

    Among them answers in conversations of their own, which nothing else comes to change, a call
    that waits for the person, and steps of a task, which is not among those that are deleted.
    """
    conversations, messages, standing = [], [], []
    async with server.client(token) as client:
        # first, since it is the newest that are deleted by what was learnt of them
        steps = [{"title": "Pack"}] * STEPS
        move = (
            await client.post("/api/tasks", json={"title": "Move house", "steps": steps})
        ).json()
        for _ in range(CONVERSATIONS):
            conversation_id = (await chat(client, "Add buy milk"))["conversation_id"]
            _, answer = await messages_of(client, conversation_id)
            conversations.append(str(conversation_id))
            messages.append(str(answer["id"]))
        for _ in range(CONVERSATIONS):
            _, answer = await messages_of(client, (await chat(client, "Hello"))["conversation_id"])
            standing.append(str(answer["id"]))
        task = (await client.post("/api/tasks", json={"title": "Buy bread"})).json()["id"]
        doomed = [each["id"] for each in (await client.get("/api/tasks")).json()["tasks"]]
        doomed.remove(move["id"])
        waiting = await chat(client, f"Delete task {task}", approvals=True)
    return KNOWN.format(
        token=token,
        who_goes=who_goes,
        conversations=conversations,
        messages=messages,
        standing=standing,
        waiting=[str(waiting["message_id"])],
        approvals=[each["id"] for each in waiting["approvals"]],
        tasks=[move["id"]],
        doomed=doomed,
        steps=[step["id"] for step in move["steps"]],
    )


async def examine(
    server: Server,
    tokens: tuple[str, str],
    seed: int,
    examples: int,
    folder: Path,
    phases: Sequence[str] = PHASES,
) -> str:
    """What schemathesis says at the end; `report.json` and `report.har` are then in `folder`."""
    (folder / "schemathesis.toml").write_text(await known(server, *tokens))
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        "run",
        f"{server.address}/openapi.json",
        f"--phases={','.join(phases)}",
        f"--checks={','.join(CHECKS)}",
        f"--seed={seed}",
        f"--max-examples={examples}",
        "--generation-database=none",
        "--continue-on-failure",
        "--no-shrink",
        "--no-color",
        "--report=json,har",
        "--report-json-path=report.json",
        "--report-har-path=report.har",
        cwd=folder,
        stdout=PIPE,
        stderr=STDOUT,
    )
    said, _ = await process.communicate()
    return said.decode()


def never_answered_well(document: dict[str, Any], archive: dict[str, Any]) -> set[str]:
    """The operations of the document without a 2xx in the archive."""
    good = {
        (entry["request"]["method"], urlsplit(entry["request"]["url"]).path)
        for entry in archive["log"]["entries"]
        if entry["response"]["status"] // 100 == 2
    }
    operations = {
        f"{method.upper()} {path}": compile_path(path)[0]
        for path, methods in document["paths"].items()
        for method in methods
    }
    return {
        name
        for name, pattern in operations.items()
        if not any(name.startswith(f"{method} ") and pattern.match(path) for method, path in good)
    }


@pytest.mark.parametrize(("phases", "examples"), FORMS)
async def test_every_answer_is_one_that_the_document_describes(
    postgres_url: str, tmp_path: Path, phases: Sequence[str], examples: int
) -> None:
    async with service(postgres_url) as (server, tokens):
        said = await examine(server, tokens, SEED, examples, tmp_path, phases)
        async with server.client() as client:
            document = (await client.get("/openapi.json")).json()
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["failures"], report["errors"], report["exit_code"]) == ([], [], 0), said
    status = {name: report["phases"][name]["status"] for name in phases}
    assert status == dict.fromkeys(phases, "success"), said
    if phases == PHASES:
        archive = json.loads((tmp_path / "report.har").read_text())
        assert never_answered_well(document, archive) <= BY_CHANCE


async def main() -> None:
    with (
        TemporaryDirectory(prefix="hunt-") as folder,
        start_embedded(Path(folder, "postgres"), durable=False) as postgres,
    ):
        async with service(postgres.url) as (server, tokens):
            seed, examples = map(int, sys.argv[1:])
            sys.stdout.write(await examine(server, tokens, seed, examples, Path(folder)))


if __name__ == "__main__":
    asyncio.run(main())
