"""The statements of a turn, as the database is told them.

A run writes to its assistant's row under its own attempt and only while the row is running,
which is what keeps out a run that was given up. The owner is named too, though the row's id says
it all: rows that lie in several places by their owners are then looked for in one.
"""

from datetime import timedelta

from sqlalchemy import TextClause, text

from backend.conversations.approvals import APPROVAL_HOURS

LEASE = timedelta(seconds=6)
"""How long a run counts as alive after its process last said so."""
RETRY_WINDOW = timedelta(minutes=10)
"""How long after its failure, or after its answer reached nobody, a turn is known by its text."""

_LEASE_END = f"clock_timestamp() + interval '{LEASE.total_seconds():g} s'"
_WINDOW_END = f"clock_timestamp() + interval '{RETRY_WINDOW.total_seconds():g} s'"
_UNTAKEN_UNTIL = f"CASE WHEN :untaken OR repeats_until IS NOT NULL THEN {_WINDOW_END} END"
_OPENED = (
    "id, message_count, title, provider, model, context_from, summary, summary_to,"
    " project_id, toolsets"
)
_SPENT = """
    provider = :provider, model = :model,
    input_tokens = :input_tokens, cached_tokens = :cached_tokens, output_tokens = :output_tokens
"""
"""Who answers a turn and what its runs have cost so far, at each of their writes."""


def booked(changed: str) -> str:
    """A part of a statement that books an attempt's spending beside the row that `changed` names.

    What nobody has counted is not booked. What an attempt has spent so far takes the place of
    what it had; so a statement that is tried again books nothing twice.
    """
    return f"""
        booked AS (
          INSERT INTO spending (message_id, attempt, user_id, day, provider, model,
                                input_tokens, cached_tokens, output_tokens, cost_usd)
          SELECT message_id, CAST(:attempt AS integer), user_id,
                 nullif((clock_timestamp() AT TIME ZONE 'UTC')::date,
                        (created_at AT TIME ZONE 'UTC')::date), :provider, :model,
                 CAST(:spent_input AS bigint), CAST(:spent_cached AS bigint),
                 CAST(:spent_output AS bigint), CAST(:spent_cost AS numeric)
          FROM {changed} WHERE CAST(:spent_input AS bigint) IS NOT NULL
          ON CONFLICT (message_id, attempt) DO UPDATE
          SET input_tokens = excluded.input_tokens, cached_tokens = excluded.cached_tokens,
              output_tokens = excluded.output_tokens, cost_usd = excluded.cost_usd
        )
    """


def _decline(which: str) -> str:
    """What waits for the person, in the rows that `which` finds, is not approved any more."""
    return f"""
        UPDATE messages
        SET status = 'complete', ended_at = clock_timestamp(),
            content = CAST(approvals_json AS json) #>> '{{declined,content}}',
            tool_calls_json = CAST(approvals_json AS json) #>> '{{declined,calls}}',
            approvals_json = CAST(approvals_json AS json) #>> '{{declined,approvals}}'
        {which} AND status <> 'complete' AND status = 'waiting'
    """


def _begin_turn(opened: str, named: str = "", name: str = "", *, here: bool = False) -> TextClause:
    """Both rows of a turn written in the conversation that `opened` makes or finds.

    One statement: it locks the conversation's row, so turns that begin at once in it queue here
    and each pair of rows stays together.
    """
    # who goes on instead of deciding has not approved
    waits = _decline("FROM opened WHERE conversation_id = opened.id AND user_id = :owner")
    declined = f"declined AS ({waits})," if here else ""
    return text(f"""
        WITH opened AS ({opened} RETURNING {_OPENED}),
        {declined}
        asked AS (
          INSERT INTO messages (conversation_id, user_id, role, content, status{named})
          SELECT id, :owner, 'user', :text, 'complete'{name} FROM opened
          RETURNING id
        ),
        answer AS (
          INSERT INTO messages (conversation_id, user_id, role, content, status,
                                reply_to, lease_until, idempotency_key, request_hash)
          SELECT opened.id, :owner, 'assistant', '', 'running',
                 asked.id, {_LEASE_END}, :key, :hash
          FROM opened, asked
          RETURNING id AS message_id, reply_to, created_at
        )
        SELECT * FROM opened, answer
    """)


# a new message fetches the conversation back from the archive
_HERE = """
    UPDATE conversations SET message_count = message_count + 2, archived_at = NULL
    WHERE id = :conversation AND user_id = :owner AND deleted_at IS NULL
"""
_CLIENTS_NAME = ", client_id", ", CAST(:asked_as AS text)"
# held until the end: who deletes it waits, and then finds the conversation in it
_PROJECT = """(
    SELECT id FROM projects
    WHERE id = CAST(:project AS bigint) AND user_id = :owner AND deleted_at IS NULL FOR SHARE
)"""
BEGIN_NEW = _begin_turn(f"""
    INSERT INTO conversations (user_id, message_count, project_id)
    VALUES (CAST(:owner AS text), 2, {_PROJECT})
""")
BEGIN_HERE = _begin_turn(_HERE, here=True)
BEGIN_NAMED = _begin_turn(
    f"""
    INSERT INTO conversations (user_id, message_count, project_id, client_id)
    VALUES (CAST(:owner AS text), 2, {_PROJECT}, :chat)
    """,
    *_CLIENTS_NAME,
)
BEGIN_IN_NAMED = _begin_turn(_HERE, *_CLIENTS_NAME, here=True)
"""As `BEGIN_NEW` and `BEGIN_HERE`, with the names that the client gave conversation and message."""
FETCH_BACK = text(f"""
    UPDATE conversations SET archived_at = NULL
    WHERE id = :conversation AND user_id = :owner
    RETURNING {_OPENED}
""")
"""The conversation of a turn that is taken up, locked before the turn is seen to run again.

So whoever moves the context on, under the same lock, either sees that it runs or is seen.
"""


def _again(values: str) -> TextClause:
    """The next attempt at a turn, whose row the caller has locked."""
    return text(f"""
        UPDATE messages
        SET status = 'running', attempt = attempt + 1, lease_until = {_LEASE_END},
            ended_at = NULL, repeats_until = NULL, stopped_at = NULL, {values}
        WHERE id = :message AND attempt = :attempt AND user_id = :owner
        RETURNING id AS message_id, attempt, reply_to, created_at, tool_calls_json,
                  approvals_json, input_tokens, cached_tokens, output_tokens
    """)


TAKE_UP = _again("content = content")
TAKE_UP_STOPPED = _again("content = :content")
CONTINUE = _again("content = :content, approvals_json = :approvals")
"""The same for a turn whose approvals the person has decided."""
ANEW = _again("""
    content = '', tool_calls_json = NULL, approvals_json = NULL, undone_at = NULL,
    replaced_json = :replaced, idempotency_key = :key, request_hash = :hash
""")
"""The same for one that is asked for again: what was said and done stands beside it from now on."""
WAIT = text(f"""
    WITH waits AS (
      UPDATE messages
      SET status = 'waiting', content = :content, approvals_json = :approvals, lease_until = NULL,
          ended_at = clock_timestamp(), {_SPENT},
          repeats_until = {_UNTAKEN_UNTIL}
      WHERE id = :message AND attempt = :attempt AND user_id = :owner
        AND status IN ('running', 'waiting')
      RETURNING id AS message_id, user_id, created_at
    ),
    {booked("waits")}
    SELECT message_id FROM waits
""")
DECIDE = text("""
    UPDATE messages SET approvals_json = :approvals WHERE id = :message AND user_id = :owner
    RETURNING id, conversation_id, attempt, status, created_at, content, tool_calls_json,
              approvals_json, repeats_until IS NOT NULL AS repeats, false AS stopped
""")
"""Some of what waits is decided, and the rest goes on waiting."""
DECLINE = text(_decline("WHERE id = :message AND user_id = :owner"))
LOCK_ANSWER = text(f"""
    SELECT m.id, m.conversation_id, m.attempt, m.status, m.created_at, m.lease_until, m.content,
           m.tool_calls_json, m.approvals_json, m.replaced_json, m.undone_at, m.reply_to,
           m.stopped_at IS NOT NULL AS stopped, m.repeats_until IS NOT NULL AS repeats,
           m.repeats_until > transaction_timestamp() - make_interval(secs => :waited) AS untaken,
           m.status = 'running'
             AND coalesce(m.lease_until, m.created_at) < clock_timestamp() AS dead,
           m.status = 'waiting' AND m.ended_at < clock_timestamp() - interval '{APPROVAL_HOURS} h'
             AS expired,
           m.idempotency_key, m.request_hash, asked.id AS asked_id, asked.content AS asked,
           NOT EXISTS (
             SELECT FROM messages later
             WHERE later.conversation_id = m.conversation_id AND later.id > m.id
           ) AS newest
    FROM messages m
    JOIN messages asked ON asked.id = m.reply_to
    JOIN conversations c ON c.id = m.conversation_id
    WHERE :message IN (m.id, m.reply_to) AND m.role = 'assistant'
      AND c.user_id = :owner AND c.deleted_at IS NULL
    FOR UPDATE OF m
""")
"""An answer with its question, by the id of either, locked."""
CARRIED_OUT = text(f"""
    WITH changed AS (
      UPDATE messages
      SET tool_calls_json = :calls, content = :content, approvals_json = :approvals, {_SPENT}
      WHERE id = :message AND attempt = :attempt AND user_id = :owner AND status = 'running'
      RETURNING id AS message_id, user_id, created_at
    ),
    {booked("changed")}
    SELECT message_id FROM changed
""")
EDIT = text("UPDATE messages SET content = :text WHERE id = :message AND user_id = :owner")
JOURNAL = text(f"""
    WITH changed AS (
      UPDATE messages SET tool_calls_json = :calls, content = :content, {_SPENT}
      WHERE id = :message AND attempt = :attempt AND user_id = :owner AND status = 'running'
      RETURNING id AS message_id, user_id, created_at
    ),
    {booked("changed")}
    SELECT message_id FROM changed
""")


def _finish(mark: str) -> TextClause:
    """The answer written and the conversation moved up; `mark` sets what else is so then."""
    # also where it is complete: the first try may have been committed and its word lost
    return text(f"""
        WITH answered AS (
          UPDATE messages
          SET content = :answer, status = 'complete', {_SPENT}, {mark},
              ended_at = CASE WHEN status = 'complete' THEN ended_at ELSE clock_timestamp() END
          WHERE id = :message AND attempt = :attempt AND user_id = :owner AND status <> 'failed'
          RETURNING id AS message_id, user_id, created_at, conversation_id
        ),
        {booked("answered")}
        UPDATE conversations
        SET updated_at = clock_timestamp(), title = coalesce(title, CAST(:title AS text))
        FROM answered
        WHERE id = answered.conversation_id AND conversations.user_id = :owner
        RETURNING context_from
    """)


FINISH = _finish(f"repeats_until = {_UNTAKEN_UNTIL}")
STOP = _finish("stopped_at = coalesce(stopped_at, clock_timestamp()), repeats_until = NULL")
"""What was said by then is the answer; the same text is a message of its own."""
FAIL = text(f"""
    WITH failed AS (
      UPDATE messages SET status = 'failed', ended_at = clock_timestamp(), {_SPENT}
      WHERE id = :message AND attempt = :attempt AND user_id = :owner AND status = 'running'
      RETURNING id AS message_id, user_id, created_at
    ),
    {booked("failed")}
    SELECT message_id FROM failed
""")
FAIL_UNCOUNTED = text("""
    UPDATE messages SET status = 'failed', ended_at = clock_timestamp()
    WHERE id = :message AND attempt = :attempt AND user_id = :owner AND status = 'running'
""")
RECORD = text("""
    SELECT status, attempt, content, tool_calls_json, repeats_until IS NOT NULL AS repeats
    FROM messages WHERE id = :message AND user_id = :owner
""")
UNTAKEN = text(f"""
    UPDATE messages SET repeats_until = {_WINDOW_END}
    WHERE id = :message AND attempt = :attempt AND status <> 'failed' AND repeats_until IS NULL
""")
"""Only the first counts: one that is late may come after a resend has taken the answer."""
TAKEN = text("""
    UPDATE messages SET repeats_until = clock_timestamp() - make_interval(secs => :ago)
    WHERE id = :message AND attempt = :attempt AND status IN ('complete', 'waiting')
""")
RENEW = text(f"""
    UPDATE messages
    SET lease_until = {_LEASE_END},
        repeats_until = CASE WHEN untaken THEN coalesce(repeats_until, {_WINDOW_END})
                        ELSE repeats_until END
    FROM (
      SELECT id, untaken FROM messages
      JOIN unnest(CAST(:messages AS bigint[]), CAST(:attempts AS integer[]),
                  CAST(:untaken AS boolean[]))
        AS held (message, attempt, untaken) ON id = message AND messages.attempt = held.attempt
      WHERE status = 'running'
      FOR UPDATE OF messages SKIP LOCKED
    ) AS unlocked
    WHERE messages.id = unlocked.id
    RETURNING messages.id
""")
"""A row that someone has locked is not waited for: the others' leases would lapse meanwhile.

A run that nobody waits for any more says so with its lease, whatever holds `UNTAKEN` up.
"""
