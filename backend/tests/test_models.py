"""The tables by their own defaults: what a row is that names only what it must."""

from typing import Any

import httpx
from agents.testing import ScriptedModel
from sqlalchemy import text
from sqlmodel import select

from backend.models import Conversation, Message, MessageStatus, Task
from backend.tests.support.databases import Sessions
from backend.tests.support.scripting import says
from backend.tests.test_chat import chat, messages_of


async def one_row(sessions: Sessions, sql: str, **values: Any) -> Any:
    async with sessions.begin() as session:
        connection = await session.connection()
        return (await connection.execute(text(sql), values)).one()


async def test_a_message_of_the_earlier_backend_is_a_complete_message(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    conversation = await one_row(
        sessions, "INSERT INTO conversations (user_id) VALUES (:u) RETURNING id", u=alice_id
    )
    row = await one_row(
        sessions,
        "INSERT INTO messages (conversation_id, user_id, role, content)"
        " VALUES (:c, :u, 'assistant', 'Hello.') RETURNING id, status, tool_calls_json, created_at",
        c=conversation.id,
        u=alice_id,
    )
    assert (row.status, row.tool_calls_json) == (MessageStatus.COMPLETE, None)
    assert row.created_at.tzinfo is not None
    assert [m["content"] for m in await messages_of(alice, conversation.id)] == ["Hello."]


async def test_the_model_is_given_what_the_earlier_backend_wrote_during_a_change_over(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    conversation = await one_row(
        sessions, "INSERT INTO conversations (user_id) VALUES (:u) RETURNING id", u=alice_id
    )
    await one_row(
        sessions,
        "INSERT INTO messages (conversation_id, user_id, role, content)"
        " VALUES (:c, :u, 'user', 'Remember this.') RETURNING id",
        c=conversation.id,
        u=alice_id,
    )
    model.extend([says("Yes.")])
    await chat(alice, "Do you?", conversation_id=conversation.id)
    first: Any = model.calls[0].input[0]
    assert first["content"] == "Remember this."


async def test_rows_are_made_read_and_softly_deleted_as_models(
    alice_id: str, sessions: Sessions
) -> None:
    async with sessions.begin() as session:
        conversation = Conversation(user_id=alice_id)
        task = Task(user_id=alice_id, title="Milk")
        session.add_all([conversation, task])
        await session.flush()
        assert conversation.id is not None
        session.add(
            Message(conversation_id=conversation.id, user_id=alice_id, role="user", content="hi")
        )
    async with sessions() as session:
        stored = (await session.exec(select(Task).where(Task.user_id == alice_id))).one()
        assert (stored.priority, stored.tags, stored.completed) == ("medium", [], False)
        assert stored.created_at.tzinfo is not None
        assert stored.deleted_at is None
        message = (await session.exec(select(Message).where(Message.user_id == alice_id))).one()
        assert (message.status, message.attempt) == ("complete", 1)
