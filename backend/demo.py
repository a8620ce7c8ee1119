"""The demo that `python -m backend` shows on its embedded Postgres, and nowhere else.

It stands in for Better Auth: its `user` and `session` tables as its generator makes them, one
user, and a session whose token is a real one to the service, which knows of no demo.
"""

import secrets
import string

import psycopg
from pydantic import SecretStr

from backend.config import Settings
from backend.settings.providers import OFFLINE_MODEL

USER_ID = "demo"
SESSION_DAYS = 7
"""How long a session is good for after the last start; Better Auth's own default."""

_LOCK_DEMO = 7_230_061_007
"""The advisory lock under which one start makes what others then find."""

_TABLES = """
CREATE TABLE IF NOT EXISTS "user" (
    "id" text NOT NULL PRIMARY KEY,
    "name" text NOT NULL,
    "email" text NOT NULL UNIQUE,
    "emailVerified" boolean NOT NULL,
    "image" text,
    "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "updatedAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE TABLE IF NOT EXISTS "session" (
    "id" text NOT NULL PRIMARY KEY,
    "expiresAt" timestamptz NOT NULL,
    "token" text NOT NULL UNIQUE,
    "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "updatedAt" timestamptz NOT NULL,
    "ipAddress" text,
    "userAgent" text,
    "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS "session_userId_idx" ON "session" ("userId");
"""

_USER = """
INSERT INTO "user" ("id", "name", "email", "emailVerified")
VALUES (%s, 'Demo', 'demo@example.com', false) ON CONFLICT DO NOTHING
"""

_EXTEND = """
UPDATE "session" SET "expiresAt" = now() + make_interval(days => %s), "updatedAt" = now()
WHERE "userId" = %s AND "expiresAt" > now() RETURNING "token"
"""

_SIGN_IN = """
INSERT INTO "session" ("id", "token", "userId", "expiresAt", "updatedAt")
VALUES (%s, %s, %s, now() + make_interval(days => %s), now())
"""

_NEXT_CONVERSATION = """
SELECT coalesce(
    pg_sequence_last_value(pg_get_serial_sequence('conversations', 'id')::regclass), 0
) + 1
"""


def settings_for(settings: Settings, url: str) -> Settings:
    """`settings` on the database at `url`, offline and with the page unless they differ."""
    chosen: dict[str, object] = {"database_url": SecretStr(url)}
    if "web_page" not in settings.model_fields_set:
        chosen["web_page"] = True
    named = {"openai_api_key", "openai_base_url", "openai_model", "default_provider"}
    if not settings.model_fields_set & named:
        chosen["openai_model"] = OFFLINE_MODEL
    return settings.model_copy(update=chosen)


def sign_in(url: str) -> str:
    """The demo user's session token; user, session and their tables are made where missing.

    A session that is still good is kept and extended, so a token outlives a restart.
    """
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_DEMO])
        connection.execute(_TABLES)
        connection.execute(_USER, [USER_ID])
        found = connection.execute(_EXTEND, [SESSION_DAYS, USER_ID]).fetchone()
        if found:
            return str(found[0])
        token = _random()
        connection.execute(_SIGN_IN, [_random(), token, USER_ID, SESSION_DAYS])
        return token


def _random() -> str:
    """As Better Auth's ids and tokens: 32 letters and digits."""
    letters = string.ascii_letters + string.digits
    return "".join(secrets.choice(letters) for _ in range(32))


def next_conversation(url: str) -> int:
    """The id that the next conversation will get; the service's tables must be there."""
    with psycopg.connect(url) as connection:
        row = connection.execute(_NEXT_CONVERSATION).fetchone()
        return int(row[0]) if row else 1


def commands(address: str, token: str, conversation_id: int) -> list[str]:
    """Commands for a shell, to be pasted in order: add a task, list the tasks, read it all again.

    The first begins a conversation, which is then number `conversation_id`.
    """
    signed_in = f"-H 'Authorization: Bearer {token}'"
    chat = f"curl -sw '\\n' {address}/api/chat {signed_in} -H 'Content-Type: application/json'"
    again = f'"conversation_id": {conversation_id}, "message": "Show my tasks"'
    return [
        f"""{chat} -d '{{"message": "Add buy groceries"}}'""",
        f"{chat} -d '{{{again}}}'",
        f"curl -sw '\\n' {address}/api/conversations/{conversation_id}/messages {signed_in}",
    ]
