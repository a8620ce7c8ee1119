"""The benchmark's own Postgres: its people, their sessions, and conversations that are long."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from backend.postgres.embedded import start_embedded

PEOPLE = 500
"""People that turns are spread over, so that nobody's task list grows long."""

_BETTER_AUTH = """
    CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
    CREATE TABLE "session" (
        id text PRIMARY KEY, "userId" text NOT NULL, token text NOT NULL UNIQUE,
        "expiresAt" timestamptz NOT NULL, "createdAt" timestamptz, "updatedAt" timestamptz
    );
    INSERT INTO "user" SELECT 'user-' || n, 'User ' || n FROM generate_series(0, {people}) n;
    INSERT INTO "session" (id, "userId", token, "expiresAt")
        SELECT 's-' || n, 'user-' || n, lpad(n::text, 32, 'a'), now() + interval '1 day'
        FROM generate_series(0, {people}) n
"""


@dataclass(frozen=True)
class Postgres:
    """A running server; `folder` is for what the other processes write."""

    folder: Path
    _url: str

    def new_database(self, name: str) -> str:
        """The URL of a database with Better Auth's tables and `PEOPLE` who are signed in."""
        self._administer(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))
        with psycopg.connect(url) as connection:
            connection.execute(_BETTER_AUTH.format(people=PEOPLE - 1).encode())
        return url

    def log_statements(self) -> None:
        """From now on every statement goes into the log, after its database's name."""
        self._administer(sql.SQL("ALTER SYSTEM SET log_line_prefix = 'in %d '"))
        self._administer(sql.SQL("ALTER SYSTEM SET log_statement = 'all'"))
        self._administer(sql.SQL("SELECT pg_reload_conf()"))

    def log(self) -> str:
        return (self.folder / "postgres" / "server.log").read_text(errors="replace")

    def _administer(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """A server that keeps its promises (fsync on), as one in service does."""
    with start_embedded(folder / "postgres") as server:
        yield Postgres(folder, server.url)


def token_of(person: int) -> str:
    """The session token of a person, counted from 0 and starting over after `PEOPLE`."""
    return str(person % PEOPLE).rjust(32, "a")


def history_text(position: int) -> str:
    """What the message at `position` of a long conversation says; even ones are the person's."""
    return f"This is message number {position}, with about as many words as people write."


def add_conversations(database_url: str, number: int, messages: int) -> list[int]:
    """The ids of `number` new conversations of `messages` each, in the order of their people."""
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO conversations (user_id, message_count, created_at, updated_at)
               SELECT 'user-' || n %% %s, %s, now(), now() FROM generate_series(0, %s - 1) n
               RETURNING id""",
            (PEOPLE, messages, number),
        )
        ids = [row[0] for row in cursor]
        columns = "conversation_id, user_id, role, content, created_at"
        with cursor.copy(f"COPY messages ({columns}) FROM STDIN") as copy:
            for person, conversation in enumerate(ids):
                for position in range(messages):
                    copy.write_row(
                        (
                            conversation,
                            f"user-{person % PEOPLE}",
                            ("user", "assistant")[position % 2],
                            history_text(position),
                            f"2026-01-01 00:{position // 60:02}:{position % 60:02}+00",
                        )
                    )
    return ids
