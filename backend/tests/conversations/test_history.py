"""What was said before: the newest messages of a conversation of one's own, oldest first."""

from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.tests.support.databases import Sessions
from backend.tests.support.scripting import says
from backend.tests.test_chat import chat, messages_of


async def insert(sessions: Sessions, sql: str, **values: Any) -> int:
    async with sessions.begin() as session:
        connection = await session.connection()
        return int((await connection.execute(text(sql), values)).scalar_one())


async def conversation_of(sessions: Sessions, user_id: str) -> int:
    sql = "INSERT INTO conversations (user_id) VALUES (:user) RETURNING id"
    return await insert(sessions, sql, user=user_id)


async def message_in(
    sessions: Sessions, conversation_id: int, user_id: str, role: str, content: str, **more: Any
) -> int:
    """A message as another backend writes it: only the columns the contract names, and `more`."""
    columns = {
        "conversation_id": conversation_id,
        "user_id": user_id,
        "role": role,
        "content": content,
        **more,
    }
    names = ", ".join(columns)
    values = ", ".join(f":{name}" for name in columns)
    sql = f"INSERT INTO messages ({names}) VALUES ({values}) RETURNING id"
    return await insert(sessions, sql, **columns)


async def test_the_newest_messages_come_oldest_first(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("a1"), says("a2"), says("a3")])
    turn = await chat(alice, "m1")
    for message in ("m2", "m3"):
        await chat(alice, message, conversation_id=turn["conversation_id"])
    path = f"/api/conversations/{turn['conversation_id']}/messages"
    newest = (await alice.get(path, params={"limit": 3})).json()
    assert [message["content"] for message in newest] == ["a2", "m3", "a3"]
    everything = (await alice.get(path)).json()
    assert [message["content"] for message in everything] == ["m1", "a1", "m2", "a2", "m3", "a3"]
    fields = {"id", "role", "content", "tool_calls", "said", "created_at", "undone_at"}
    assert set(everything[0]) == fields | {"approvals", "replaced", "stopped_at"}


async def test_fifty_messages_come_unless_another_number_is_asked_for(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    conversation_id = await conversation_of(sessions, alice_id)
    for number in range(101):
        await message_in(sessions, conversation_id, alice_id, "user", f"m{number}")
    path = f"/api/conversations/{conversation_id}/messages"
    assert len((await alice.get(path)).json()) == 50
    hundred = (await alice.get(path, params={"limit": 100})).json()
    assert [hundred[0]["content"], hundred[-1]["content"], len(hundred)] == ["m1", "m100", 100]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many", "1.5", ""])
async def test_a_limit_out_of_bounds_is_invalid(alice: httpx.AsyncClient, limit: str) -> None:
    answer = await alice.get("/api/conversations/1/messages", params={"limit": limit})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"] == "query.limit"


@pytest.mark.parametrize(
    "conversation_id",
    [
        *("0", "-1", "9223372036854775807", "9223372036854775808", "1" * 500),
        *("abc", "undefined", "null", "1.5", "1e3", "+1", " 1", "1 ", "%31%00", "٣"),
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
async def test_an_id_of_any_shape_that_is_not_ones_own_is_not_found(
    alice: httpx.AsyncClient, conversation_id: str
) -> None:
    answer = await alice.get(f"/api/conversations/{conversation_id}/messages")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "CONVERSATION_NOT_FOUND"


async def test_a_deleted_conversation_is_not_found(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    model.extend([says("Hello.")])
    conversation_id = (await chat(alice, "hi"))["conversation_id"]
    sql = "UPDATE conversations SET deleted_at = now() WHERE id = :id RETURNING id"
    await insert(sessions, sql, id=conversation_id)
    path = f"/api/conversations/{conversation_id}/messages"
    assert (await alice.get(path)).status_code == 404
    again = {"message": "hi", "conversation_id": conversation_id}
    assert (await alice.post("/api/chat", json=again)).status_code == 404


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (None, None),
        ("[]", None),
        ("not json", None),
        ("[" * 100_000, None),
        ('[{"tool": "x", "args": {"a": ' + "[" * 900 + "]" * 900 + "}}]", None),
        ('[{"tool": "x\\ud83d"}]', [{"tool": "x?", "args": {}, "result": {}}]),
        ('{"tool": "x"}', None),
        ('[1, null, {"args": {}}]', None),
        ('[{"tool": "x"}]', [{"tool": "x", "args": {}, "result": {}}]),
        ('[{"tool": "x", "args": 1, "result": []}]', [{"tool": "x", "args": {}, "result": {}}]),
        (
            '[{"tool": "add_task", "args": {"title": "T"}, "result": {"success": true}, "x": 1}]',
            [{"tool": "add_task", "args": {"title": "T"}, "result": {"success": True}}],
        ),
    ],
)
async def test_tool_calls_of_another_backend_are_read_as_far_as_they_make_sense(
    alice: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    sessions: Sessions,
    stored: str | None,
    shown: list[dict[str, Any]] | None,
) -> None:
    conversation_id = await conversation_of(sessions, alice_id)
    await message_in(sessions, conversation_id, alice_id, "user", "hi")
    await message_in(
        sessions, conversation_id, alice_id, "assistant", "Hello.", tool_calls_json=stored
    )
    assert (await messages_of(alice, conversation_id))[1]["tool_calls"] == shown
    model.extend([says("Still here.")])
    await chat(alice, "again", conversation_id=conversation_id)


async def lease(sessions: Sessions, message_id: int, until: str) -> None:
    sql = "UPDATE messages SET lease_until = now() + CAST(:until AS interval) WHERE id = :id"
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.execute(text(sql), {"until": until, "id": message_id})


async def test_a_run_that_is_under_way_shows_the_message_and_no_answer_yet(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    conversation_id = await conversation_of(sessions, alice_id)
    await message_in(sessions, conversation_id, alice_id, "user", "hi")
    answer = await message_in(
        sessions, conversation_id, alice_id, "assistant", "Done so far: x.", status="running"
    )
    await lease(sessions, answer, "1 minute")
    assert [m["content"] for m in await messages_of(alice, conversation_id)] == ["hi"]


@pytest.mark.parametrize(("so_far", "shown"), [("", ["hi"]), ("Done: x.", ["hi", "Done: x."])])
async def test_a_run_whose_process_let_its_lease_lapse_is_read_as_failed(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, so_far: str, shown: list[str]
) -> None:
    conversation_id = await conversation_of(sessions, alice_id)
    await message_in(sessions, conversation_id, alice_id, "user", "hi")
    answer = await message_in(
        sessions, conversation_id, alice_id, "assistant", so_far, status="running"
    )
    await lease(sessions, answer, "-1 second")
    assert [m["content"] for m in await messages_of(alice, conversation_id)] == shown
