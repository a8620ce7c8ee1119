"""A whole conversation as a download: complete, streamed, and whole or seen not to be."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI
from sqlalchemy import text

from backend.conversations.export import PAGE
from backend.tests.conversations.test_conversations import PATH, make, opened
from backend.tests.conversations.test_history import conversation_of, message_in
from backend.tests.support import better_auth
from backend.tests.support.databases import Sessions, execute, open_sessions
from backend.tests.support.fixtures import make_settings, running
from backend.tests.support.scripting import calls, says
from backend.tests.test_chat import chat, messages_of

SPOKEN = re.compile(r"^## (You|Assistant), ", re.MULTILINE)


async def exported(client: httpx.AsyncClient, number: object, **query: str) -> httpx.Response:
    answer = await client.get(f"{PATH}/{number}/export", params=query)
    assert answer.status_code == 200, answer.text
    return answer


async def markdown(client: httpx.AsyncClient, number: object) -> str:
    return (await exported(client, number, format="markdown")).text


async def say_many(sessions: Sessions, number: int, user_id: str, messages: int) -> None:
    sql = """INSERT INTO messages (conversation_id, user_id, role, content)
        SELECT :id, :user, 'user', 'm' || n FROM generate_series(1, :messages) n"""
    async with sessions.begin() as session:
        values = {"id": number, "user": user_id, "messages": messages}
        await (await session.connection()).execute(text(sql), values)


async def test_the_json_is_the_conversation_with_all_its_messages(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = await make(alice, title='Lists, "quoted" & more')
    model.extend([calls("add_task", {"title": "Milk"}), says("Added."), says("Hello.")])
    await chat(alice, "Add milk", conversation_id=made["id"])
    await chat(alice, "hello", conversation_id=made["id"])
    answer = await exported(alice, made["id"])
    whole = await opened(alice, made["id"])
    del whole["next"], whole["usage"]
    assert answer.json() == whole
    assert answer.headers["Content-Type"] == "application/json"
    named = f'attachment; filename="conversation-{made["id"]}.json"'
    assert answer.headers["Content-Disposition"] == named
    assert (await exported(alice, made["id"], format="json")).text == answer.text


@pytest.mark.parametrize("messages", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 50])
async def test_every_message_is_in_it_once_whatever_the_number(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, messages: int
) -> None:
    number = await conversation_of(sessions, alice_id)
    await say_many(sessions, number, alice_id, messages)
    expected = [f"m{each}" for each in range(1, messages + 1)]
    found = (await exported(alice, number)).json()["messages"]
    assert [message["content"] for message in found] == expected
    page = await markdown(alice, number)
    assert re.findall(r"^m\d+$", page, re.MULTILINE) == expected
    plural = "" if messages == 1 else "s"
    assert page.endswith(f"\nEnd of the conversation: {messages} message{plural}.\n")


async def test_the_markdown_says_who_spoke_when_and_what_the_tools_did(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = await make(alice, title="Shopping")
    steps = [calls("add_task", {"title": "Milk"}), calls("delete_task", {"task_id": 2**60})]
    model.extend([*steps, says("Added.\n\nAnything else?")])
    await chat(alice, "Add milk", conversation_id=made["id"])
    user, assistant = await messages_of(alice, made["id"])
    await alice.post(f"/api/messages/{assistant['id']}/undo")
    undone = (await messages_of(alice, made["id"]))[1]["undone_at"]
    last = await opened(alice, made["id"])
    task_id = assistant["tool_calls"][0]["result"]["task_id"]
    answer = await exported(alice, made["id"], format="markdown")
    assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert f'conversation-{made["id"]}.md"' in answer.headers["Content-Disposition"]
    assert answer.text == "\n".join(
        [
            *("# Shopping", "", f"- Begun: {made['created_at']}"),
            *(f"- Last active: {last['updated_at']}", "- Answered by: openai, gpt\\-4o\\-mini"),
            *("", f"## You, {user['created_at']}", "", "```text", "Add milk", "```"),
            *("", f"## Assistant, {assistant['created_at']}", ""),
            *("```text", "Added.", "", "Anything else?", "```", "", "Done by tools:", ""),
            f'- add\\_task: Added \\"Milk\\" as task {task_id}\\.',
            *("- delete\\_task: Task not found", "", f"Taken back: {undone}"),
            *("", "---", "", "End of the conversation: 2 messages.", ""),
        ]
    )


@pytest.mark.parametrize(
    "said",
    [
        "```\n## Assistant, 2026-01-01T00:00:00Z\n\nI owe you money.",
        "~~~\n# Title\n",
        "`````\n```\n``````",
        "<script>alert(1)</script>\n\n<!--",
        "> quote\n\n---\n\nEnd of the conversation: 1 message.",
        "\r```\r## You, now\r",
        "    indented\n\n- list\n1. one\n![x](http://192.0.2.1/x.png)",
        "",
    ],
)
async def test_no_text_breaks_out_of_its_block(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, said: str
) -> None:
    number = await conversation_of(sessions, alice_id)
    for role in ("user", "assistant"):
        await message_in(sessions, number, alice_id, role, said)
    outside: list[str] = []
    fence = ""
    for line in re.split(r"\r\n|\r|\n", await markdown(alice, number)):
        if not fence and (opening := re.fullmatch(r"(`{3,})text", line)):
            fence = opening[1]
        elif fence and re.fullmatch(r" {0,3}`+\s*", line) and len(line.strip()) >= len(fence):
            fence = ""
        elif not fence:
            outside.append(line)
    assert not fence
    assert [line[:6] for line in outside if line.startswith("## ")] == ["## You", "## Ass"]
    assert outside.count("---") == 1
    assert not [line for line in outside if "<" in line or "![" in line or "~~~" in line]


@pytest.mark.parametrize(
    ("title", "heading"),
    [
        ("Plans\n\n## You, now", "# Plans \\#\\# You\\, now"),
        ("<img src=x> `code` [a](b)", "# \\<img src\\=x\\> \\`code\\` \\[a\\]\\(b\\)"),
        ("*bold* _and_ \\ more", "# \\*bold\\* \\_and\\_ \\\\ more"),
    ],
)
async def test_a_title_is_one_line_without_markup(
    alice: httpx.AsyncClient, title: str, heading: str
) -> None:
    made = await make(alice, title=title)
    assert (await markdown(alice, made["id"])).splitlines()[0] == heading


async def test_what_a_tool_said_is_one_line_without_markup(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    number = await conversation_of(sessions, alice_id)
    recorded = [
        {"tool": "a\n## x", "args": {}, "result": {"message": "<b>\n# y"}},
        {"tool": "b", "args": {}, "result": {"message": {"deep": ["`"]}}},
        {"tool": "c", "args": {}, "result": {}},
    ]
    stored = json.dumps(recorded)
    await message_in(sessions, number, alice_id, "assistant", "ok", tool_calls_json=stored)
    page = await markdown(alice, number)
    assert "- a \\#\\# x: \\<b\\> \\# y\n" in page
    assert "- c: no result\n" in page
    assert len(SPOKEN.findall(page)) == 1


@pytest.mark.parametrize("wanted", ["", "pdf", "JSON", "json,markdown"])
async def test_another_format_is_invalid(alice: httpx.AsyncClient, wanted: str) -> None:
    made = await make(alice)
    answer = await alice.get(f"{PATH}/{made['id']}/export", params={"format": wanted})
    assert answer.status_code == 422


async def test_a_run_under_way_and_one_that_did_nothing_are_left_out_as_in_the_history(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    number = await conversation_of(sessions, alice_id)
    await message_in(sessions, number, alice_id, "user", "hi")
    for status in ("running", "failed"):
        await message_in(sessions, number, alice_id, "assistant", "", status=status)
    assert (await exported(alice, number)).json()["messages"] == await messages_of(alice, number)


# In the middle of a download


async def download(
    app: FastAPI, token: str, path: str, meanwhile: Callable[[int], Awaitable[None]]
) -> tuple[bytes, bool]:
    """What arrives, and whether to its end; `meanwhile` runs at each part, by its number."""
    received: list[bytes] = []
    ended = False

    async def send(message: Any) -> None:
        nonlocal ended
        if message["type"] == "http.response.body":
            received.append(message.get("body", b""))
            ended = not message.get("more_body", False)
            await meanwhile(len(received))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    try:
        await app(scope, receive, send)
    except Exception:  # a server hears of it and closes the connection
        return b"".join(received), False
    return b"".join(received), ended


async def long_conversation(sessions: Sessions, user_id: str) -> str:
    number = await conversation_of(sessions, user_id)
    await say_many(sessions, number, user_id, 2 * PAGE + 1)
    return f"{PATH}/{number}/export"


async def test_a_reader_who_is_slow_holds_no_connection(
    app: FastAPI, shared_database_url: str, alice_id: str, sessions: Sessions
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    held: list[int] = []

    async def look(_: int) -> None:
        held.append(app.state.pool.in_use)

    path = await long_conversation(sessions, alice_id)
    body, ended = await download(app, token, path, look)
    assert ended
    assert len(json.loads(body)["messages"]) == 2 * PAGE + 1
    assert len(held) >= 4
    assert set(held) == {0}


async def test_one_that_breaks_off_is_not_taken_for_whole(database_url: str) -> None:
    await execute(database_url, *better_auth.TABLES.split(";"))
    user_id = await better_auth.add_user(database_url, "alice")
    token = await better_auth.sign_in(database_url, user_id)

    async def break_it(part: int) -> None:
        if part == 2:
            await execute(database_url, "ALTER TABLE messages RENAME TO elsewhere")

    settings = make_settings(database_url)
    async with running(settings) as app, open_sessions(database_url) as sessions:
        path = await long_conversation(sessions, user_id)
        body, ended = await download(app, token, path, break_it)
    assert not ended
    assert body.startswith(b'{"id":')
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
