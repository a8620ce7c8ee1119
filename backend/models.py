"""The tables this service owns, and the limits of their fields.

Better Auth's tables (`user`, `session`, `account`, `verification`) live in the same
database and are not ours: they are read in `backend/identity/` and nowhere declared here.
"""

from datetime import UTC, datetime, time
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    Time,
    text,
)
from sqlmodel import Field, SQLModel

from backend.columns import (
    count,
    counter,
    flag,
    identity,
    instant,
    items,
    partial_index,
    reference,
    required,
    search_index,
    word,
)

TITLE_MAX = 200
DESCRIPTION_MAX = 1000
TAGS_MAX = 20
TAG_MAX = 50
MESSAGE_MAX = 2000
USER_ID_MAX = 255
PROVIDER_MAX = 50
MODEL_MAX = 200
KEY_MAX = 255
CLIENT_ID_MAX = 255
ZONE_MAX = 64
TOOLSETS_MAX = 500
STEPS_MAX = 50
ID_MAX = 2**63 - 1
"""The largest value of a `bigint` column."""


def utc_now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)


class Priority(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Recurrence(StrEnum):
    NONE = "none"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"


class MessageStatus(StrEnum):
    """How far the run behind a message has come; a user's message is always complete."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPLETE = "complete"
    FAILED = "failed"


def stamp() -> Any:
    """When the row was written, unless it says otherwise."""
    return Field(default_factory=utc_now, sa_column=instant(default="clock_timestamp()"))


class Task(SQLModel, table=True):
    """One thing to do. `completed_at` is set exactly while `completed` is true."""

    __tablename__ = "tasks"
    __table_args__: ClassVar[Any] = (
        Index("ix_tasks_user_active", "user_id", "deleted_at", "created_at", "id"),
        partial_index("ix_tasks_deleted", "deleted_at", where="deleted_at IS NOT NULL"),
        partial_index("ix_tasks_project", "project_id", where="project_id IS NOT NULL"),
    )

    id: int | None = Field(default=None, sa_column=identity())
    user_id: str = Field(sa_column=required(USER_ID_MAX))
    title: str = Field(sa_column=required(TITLE_MAX))
    description: str = Field(default="", sa_column=required(DESCRIPTION_MAX, ""))
    completed: bool = Field(default=False, sa_column=flag())
    completed_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    priority: str = Field(default=Priority.MEDIUM, sa_column=required(10, Priority.MEDIUM))
    due_date: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    due_is_date: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=True))
    """Whether `due_date`, midnight UTC, means that day; null is a row of an earlier release."""
    time_zone: str | None = Field(default=None, sa_column=word(ZONE_MAX))
    """By whose clock it recurs; null where it was not known."""
    tags: list[str] = Field(default_factory=list, sa_column=items())
    project_id: int | None = Field(default=None, sa_column=reference("projects.id"))
    steps: list[Any] = Field(default_factory=list, sa_column=items())
    """In their order, each `{"id", "title", "done"}`; the ids are counted by the task."""
    recurrence_pattern: str = Field(
        default=Recurrence.NONE, sa_column=required(10, Recurrence.NONE)
    )
    recurrence_day: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=True))
    """The day of the month a monthly series means (31), where a short month cut it (28)."""
    recurrence_time: time | None = Field(default=None, sa_column=Column(Time, nullable=True))
    """The time of day a series means (02:30), where a clock put forward made it another (03:30)."""
    previous_id: int | None = Field(default=None, sa_column=reference("tasks.id", unique=True))
    """The occurrence whose completion made this one; unique, so each has one next at most."""
    created_at: datetime = stamp()
    updated_at: datetime = stamp()
    deleted_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class Conversation(SQLModel, table=True):
    """A thread of turns between one person and the assistant."""

    __tablename__ = "conversations"
    __table_args__: ClassVar[Any] = (
        Index("ix_conversations_user_active", "user_id", "deleted_at", "updated_at"),
        partial_index(
            "ix_conversations_listed",
            *("user_id", "updated_at", "id"),
            where="deleted_at IS NULL AND archived_at IS NULL",
        ),
        partial_index(
            "ix_conversations_archived",
            *("user_id", "updated_at", "id"),
            where="deleted_at IS NULL AND archived_at IS NOT NULL",
        ),
        partial_index(
            "ux_conversations_user_client",
            *("user_id", "client_id"),
            where="client_id IS NOT NULL",
            unique=True,
        ),
        partial_index("ix_conversations_deleted", "deleted_at", where="deleted_at IS NOT NULL"),
        partial_index("ix_conversations_project", "project_id", where="project_id IS NOT NULL"),
        search_index("ix_conversations_search", "title", where="title IS NOT NULL"),
    )

    id: int | None = Field(default=None, sa_column=identity())
    user_id: str = Field(sa_column=required(USER_ID_MAX))
    message_count: int = Field(default=0, sa_column=counter())
    """Rows begun here."""
    title: str | None = Field(default=None, sa_column=Column(String(TITLE_MAX), nullable=True))
    provider: str | None = Field(default=None, sa_column=word(PROVIDER_MAX))
    """The name of a configured provider; null follows the settings."""
    model: str | None = Field(default=None, sa_column=word(MODEL_MAX))
    """A model of that provider; null follows the settings."""
    project_id: int | None = Field(default=None, sa_column=reference("projects.id"))
    toolsets: str | None = Field(default=None, sa_column=word(TOOLSETS_MAX))
    """The names of its toolsets, with commas between them; null follows the settings."""
    client_id: str | None = Field(default=None, sa_column=word(CLIENT_ID_MAX))
    """What the client calls it, where it gave it a name of its own; never digits alone."""
    origin: str | None = Field(default=None, sa_column=word(CLIENT_ID_MAX))
    """The client outside, over MCP, whose changes it holds; null where people chat."""
    archived_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    context_from: int | None = Field(default=None, sa_column=count())
    """The oldest message that the model is still given as it was said; null is the first."""
    summary: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    """What was said before, in short; for the model alone."""
    summary_to: int | None = Field(default=None, sa_column=count())
    """The newest message that the summary covers."""
    created_at: datetime = stamp()
    updated_at: datetime = stamp()
    deleted_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class Message(SQLModel, table=True):
    """One side of a turn. An assistant's row is also the journal of the run that wrote it.

    `tool_calls_json` is a JSON array of `{"tool", "args", "result"}` in the order the calls
    were made, or NULL where none was; each entry was committed with the change it tells of. One
    that changed tasks has a further key `undo`, which neither a model nor a client is shown.
    """

    __tablename__ = "messages"
    __table_args__: ClassVar[Any] = (
        Index("ix_messages_conversation_created", "conversation_id", "created_at"),
        partial_index(
            "ux_messages_user_key",
            *("user_id", "idempotency_key"),
            where="idempotency_key IS NOT NULL",
            unique=True,
        ),
        partial_index("ix_messages_user_unfinished", "user_id", "id", where="status <> 'complete'"),
        partial_index(
            "ix_messages_user_repeats", "user_id", "id", where="repeats_until IS NOT NULL"
        ),
        partial_index("ix_messages_unfinished", "conversation_id", where="status <> 'complete'"),
        partial_index(
            "ix_messages_user_answers", "user_id", "created_at", where="role = 'assistant'"
        ),
        partial_index("ix_messages_keyed", "created_at", where="request_hash IS NOT NULL"),
        search_index("ix_messages_search", "content", where="status = 'complete'"),
    )

    id: int | None = Field(default=None, sa_column=identity())
    conversation_id: int = Field(sa_column=reference("conversations.id", nullable=False))
    user_id: str = Field(sa_column=required(USER_ID_MAX))
    role: str = Field(sa_column=Column(String(50), nullable=False))
    content: str = Field(sa_column=Column(Text, nullable=False))
    tool_calls_json: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    status: str = Field(
        default=MessageStatus.COMPLETE, sa_column=required(20, MessageStatus.COMPLETE)
    )
    created_at: datetime = stamp()
    reply_to: int | None = Field(default=None, sa_column=count())
    """The person's message that an assistant's row answers; both go together."""
    attempt: int = Field(
        default=1, sa_column=Column(Integer, nullable=False, server_default=text("1"))
    )
    """Which run of the turn writes here; an earlier one that comes back late may not."""
    lease_until: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    """Past it a row that is still running belongs to a process that died."""
    ended_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    stop_attempt: int | None = Field(default=None, sa_column=Column(Integer, nullable=True))
    """The attempt that the person asked to stop."""
    approvals_json: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    """The calls that the turn has asked the person for, see `backend.conversations.approvals`."""
    replaced_json: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    """A JSON array of the answers that stood here before it was asked for again."""
    stopped_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    """When it was stopped; its content is what had been said by then."""
    client_id: str | None = Field(default=None, sa_column=word(CLIENT_ID_MAX))
    """The client's id of a person's message."""
    origin: str | None = Field(default=None, sa_column=word(CLIENT_ID_MAX))
    """The client outside, over MCP, that made the change; nobody asked a model for it."""
    undone_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    idempotency_key: str | None = Field(default=None, sa_column=word(KEY_MAX))
    repeats_until: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    """The same text that came before it, without a key, is this turn although it is answered."""
    request_hash: str | None = Field(default=None, sa_column=Column(String(64), nullable=True))
    """SHA-256 of the request that brought the key, in hexadecimal."""
    provider: str | None = Field(default=None, sa_column=word(PROVIDER_MAX))
    model: str | None = Field(default=None, sa_column=word(MODEL_MAX))
    """Who answered: the provider's name in the settings, and its model."""
    input_tokens: int | None = Field(default=None, sa_column=count())
    """Tokens of all the turn's runs, as the provider counted them; null is unknown, not none."""
    cached_tokens: int | None = Field(default=None, sa_column=count())
    """Of the input, those the provider had kept from an earlier request."""
    output_tokens: int | None = Field(default=None, sa_column=count())
