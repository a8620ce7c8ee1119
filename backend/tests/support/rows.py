"""All rows that tell of a person, and of everybody else, whatever tables there are."""

from typing import Any

from sqlmodel import SQLModel

import backend.personal
import backend.run_models  # noqa: F401  # both fill SQLModel.metadata
from backend.tests.support import better_auth

LOG = "stream_log"
MARKS = "erasures"


def tables_of_people() -> list[str]:
    """Our tables whose rows say whose they are, save the marks of erasures."""
    ours = SQLModel.metadata.tables.values()
    return [table.name for table in ours if "user_id" in table.c and table.name != MARKS]


async def rows_of(url: str, user_id: str) -> dict[str, int]:
    """How many rows of the person each table has, if any."""
    counts = " UNION ALL ".join(
        f"SELECT '{name}', count(*) FROM {name} WHERE user_id = %s" for name in tables_of_people()
    )
    rows: Any = await better_auth.execute(url, counts, *[user_id] * len(tables_of_people()))
    return {name: count for name, count in rows if count}


async def rows_of_nobody(url: str) -> int:
    """How many rows of the log tell of messages that are not there."""
    ((count,),) = await better_auth.execute(
        url,
        f"SELECT count(*) FROM {LOG} WHERE NOT EXISTS"
        f" (SELECT FROM messages WHERE messages.id = {LOG}.message_id)",
    )
    assert isinstance(count, int)
    return count


async def fingerprint(url: str, user_id: str, before: str = "infinity") -> dict[str, str]:
    """What stands in the rows of a person, by table; of those made before an instant."""
    found = {}
    for name in tables_of_people():
        since = "AND created_at < %s" if name not in ("spending", "people") else ""
        values = [user_id, before] if since else [user_id]
        ((digest,),) = await better_auth.execute(
            url,
            f"SELECT md5(string_agg(one::text, '|' ORDER BY one::text)) FROM {name} AS one"
            f" WHERE user_id = %s {since}",
            *values,
        )
        found[name] = str(digest)
    return found


SEED = """
    WITH numbers AS (SELECT generate_series(1, {turns}) AS n),
    project AS (INSERT INTO projects (user_id, name) VALUES ('{owner}', 'Home') RETURNING id),
    zone AS (INSERT INTO people (user_id, time_zone) VALUES ('{owner}', 'Europe/Berlin')),
    feed AS (INSERT INTO calendar_feeds (user_id, secret_hash) VALUES ('{owner}', md5('{owner}'))),
    tasks AS (
        INSERT INTO tasks (user_id, title, project_id, deleted_at)
        SELECT '{owner}', 'Task ' || n, project.id, CASE n % 3 WHEN 0 THEN now() END
        FROM numbers, project
    ),
    opened AS (
        INSERT INTO conversations (user_id, title, message_count, deleted_at)
        SELECT '{owner}', 'Talk ' || n, 40, CASE n % 3 WHEN 0 THEN now() END
        FROM numbers WHERE n % 20 = 0 RETURNING id
    ),
    asked AS (
        INSERT INTO messages (conversation_id, user_id, role, content)
        SELECT opened.id, '{owner}', 'user', 'Said ' || n
        FROM opened, generate_series(1, 20) AS n RETURNING id, conversation_id
    ),
    answered AS (
        INSERT INTO messages (conversation_id, user_id, role, content, reply_to, input_tokens)
        SELECT conversation_id, '{owner}', 'assistant', 'Answered', id, 1 FROM asked RETURNING id
    ),
    spent AS (
        INSERT INTO spending (message_id, attempt, user_id, input_tokens)
        SELECT id, 1, '{owner}', 1 FROM answered
    )
    SELECT count(*) FROM answered
"""


async def seed(url: str, user_id: str, turns: int) -> None:
    """Rows of a person in every table; `turns` of them are answered, each for a token."""
    await better_auth.execute(url, SEED.format(owner=user_id, turns=turns))
    await better_auth.execute(
        url,
        f"INSERT INTO {LOG} (message_id, attempt, seq, events)"
        " SELECT id, 1, 0, '[]' FROM messages WHERE user_id = %s AND role = 'assistant'",
        user_id,
    )
