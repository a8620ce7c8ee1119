"""A database filled as years of use would: by SQL alone, a million messages in about a minute.

Messages of all people stand in the order of their times, so that a conversation's are not
neighbours on disk. Two people have as much in every database, however large it is.
"""

import psycopg

LARGE, TYPICAL = 0, 1
"""A person with a large history, and one with what everybody has."""
PER_PERSON = 200
"""Messages that everybody has, in conversations of 20."""
_LARGE_MESSAGES = 20_000
"""Of the large one: a conversation of 2,000, the others of 20."""
_PARAMETERS = """
    SET session_replication_role = replica; SET synchronous_commit = off;
    SET work_mem = '256MB'; SET maintenance_work_mem = '512MB'; SELECT setseed(0.5)
"""
# words as people use them: few often, most hardly ever
_SENTENCES = """
    CREATE TEMP TABLE sentences AS
    SELECT n AS number, 'About ' || string_agg('w' || floor(5000 * power(random(), 3)), ' ') AS said
    FROM generate_series(0, 9999) n, generate_series(1, 12) GROUP BY n;
    CREATE UNIQUE INDEX ON sentences (number); ANALYZE sentences
"""
_SIGNED_IN = """
    INSERT INTO "session" (id, "userId", token, "expiresAt")
    SELECT 's-' || n, 'user-' || n, lpad(n::text, 32, 'a'), now() + interval '1 day'
    FROM generate_series(0, {people} - 1) n ON CONFLICT DO NOTHING
"""
_CONVERSATIONS = """
    INSERT INTO conversations (user_id, message_count, title, created_at, updated_at)
    SELECT CASE WHEN n < {large} THEN 'user-{LARGE}' ELSE 'user-' || 1 + n % ({people} - 1) END,
        messages, left(said, 60), at, at + messages * interval '1 minute'
    FROM generate_series(0, {large} + 10 * ({people} - 1) - 1) n
    JOIN sentences ON number = (n::bigint * 7919) % 10000,
    LATERAL (SELECT CASE n WHEN 0 THEN 2000 ELSE 20 END,
        now() - interval '60 days' * (n::bigint * 104729 % 1000003) / 1000003 - interval '2 days')
        AS drawn (messages, at)
"""
_MESSAGES = """
    INSERT INTO messages (conversation_id, user_id, role, content, created_at, ended_at, provider,
        model, input_tokens, output_tokens, tool_calls_json)
    SELECT id, user_id, CASE WHEN asks THEN 'user' ELSE 'assistant' END, said, at,
        CASE WHEN NOT asks THEN at + interval '2 s' END, CASE WHEN NOT asks THEN 'openai' END,
        CASE WHEN NOT asks THEN 'gpt-4o-mini' END, CASE WHEN NOT asks THEN 2000 END,
        CASE WHEN NOT asks THEN 60 END,
        CASE n % 8 WHEN 1 THEN '[{{"tool": "list_tasks", "args": {{}}, "result": {{"success": true,
            "tasks": [], "message": "No tasks."}}}}]' END
    FROM conversations CROSS JOIN LATERAL generate_series(0, message_count - 1) n
    JOIN sentences ON number = (id * 31 + n * 7) % 10000,
    LATERAL (SELECT created_at + n * interval '1 minute', n % 2 = 0) AS each (at, asks)
    ORDER BY at
"""
_SPENDING = """
    INSERT INTO spending (message_id, attempt, user_id, provider, model, input_tokens,
        output_tokens, cost_usd)
    SELECT id, 1, user_id, provider, model, input_tokens, output_tokens, 0.0003
    FROM messages WHERE role = 'assistant' ORDER BY id
"""
_TASKS = """
    INSERT INTO tasks (user_id, title, completed, completed_at, priority, due_date, created_at,
        updated_at)
    SELECT CASE WHEN n < 2000 THEN 'user-{LARGE}' ELSE 'user-' || 1 + n % ({people} - 1) END,
        left(said, 60), done, CASE WHEN done THEN at END, 'medium',
        CASE n % 2 WHEN 0 THEN at + interval '40 days' END, at, at
    FROM generate_series(0, 2000 + 40 * ({people} - 1) - 1) n
    JOIN sentences ON number = n % 10000,
    LATERAL (SELECT now() - interval '60 days' * (n::bigint * 104729 % 1000003) / 1000003,
        n % 10 < 7) AS drawn (at, done)
"""
_TABLES = ("messages", "conversations", "tasks", "spending")


def fill(database_url: str, messages: int) -> None:
    """Fill migrated tables until so many messages are in them; the two come on top.

    Indexes go and are made again at the end, as any large import would do it.
    """
    given = {
        "people": 2 + messages // PER_PERSON,
        "large": (_LARGE_MESSAGES - 2000) // 20 + 1,
        "LARGE": LARGE,
    }
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_PARAMETERS.encode())
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s)"
            " AND indexname LIKE 'ix%%'",
            (list(_TABLES),),
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        for statement in (_SENTENCES, _SIGNED_IN, _CONVERSATIONS, _MESSAGES, _SPENDING, _TASKS):
            connection.execute(statement.format(**given).encode())
        for _, definition in indexes:
            connection.execute(definition.encode())
        connection.execute(f"VACUUM (ANALYZE) {', '.join(_TABLES)}".encode())
