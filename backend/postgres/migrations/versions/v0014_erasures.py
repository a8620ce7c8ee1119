"""Erasing all of a person: the mark of it, what refuses writes meanwhile, and its indexes.

The indexes are made at once where there is little to index, else after the start, as the search's
are: `backend.postgres.later_indexes`.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ERASURES = """
    CREATE TABLE IF NOT EXISTS erasures (
        user_hash varchar(64) PRIMARY KEY,
        user_id varchar(255),
        begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        closed_at timestamptz,
        counted_at timestamptz,
        erased_at timestamptz,
        day date,
        tokens bigint NOT NULL DEFAULT 0,
        dollars numeric NOT NULL DEFAULT 0
    )
"""
_HASH = "encode(sha256(convert_to({owner}, 'UTF8')), 'hex')"
# The tables are named with their schema, since whoever writes may look for his elsewhere.
# The lock is what whoever erases waits for: who has it and saw no mark is done by then.
# A statement of its own, behind which the next one sees what was committed meanwhile.
_GUARD = f"""
    CREATE OR REPLACE FUNCTION chat_guard_person() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        mark {{erasures}};
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(1163018561, hashtext(NEW.user_id));
        SELECT * INTO mark FROM {{erasures}}
        WHERE user_hash = {_HASH.format(owner="NEW.user_id")} AND erased_at IS NULL;
        IF NOT FOUND THEN
            RETURN NEW;
        END IF;
        IF TG_OP = 'UPDATE' AND TG_TABLE_NAME IN ('messages', 'conversations') THEN
            IF mark.closed_at IS NULL THEN
                RETURN NEW;
            ELSIF TG_TABLE_NAME = 'messages' THEN
                IF OLD.status <> 'waiting' AND NEW.undone_at IS NOT DISTINCT FROM OLD.undone_at
                THEN
                    RETURN NULL;
                END IF;
            END IF;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'CHDEL', MESSAGE = 'all of this person is being deleted';
    END $$
"""  # noqa: S608
"""Turns that run may end, and are booked, until the erasure is closed; then their writes find
nothing, as those of one that was taken up by another, and what a person asks for is refused."""
_GUARD_LOG = f"""
    CREATE OR REPLACE FUNCTION chat_guard_log() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        owner text;
    BEGIN
        SELECT user_id INTO owner FROM {{messages}} WHERE id = NEW.message_id;
        PERFORM pg_advisory_xact_lock_shared(1163018561, hashtext(owner));
        IF EXISTS (SELECT FROM {{messages}} WHERE id = NEW.message_id) AND NOT EXISTS (
            SELECT FROM {{erasures}} WHERE user_hash = {_HASH.format(owner="owner")}
            AND erased_at IS NULL AND closed_at IS NOT NULL
        ) THEN
            RETURN NEW;
        END IF;
        RETURN NULL;
    END $$
"""  # noqa: S608
"""What was streamed of a message that is gone, or goes, is not logged any more."""
_NAMED = ("erasures", "messages")
_NAME = """
    SELECT concat(quote_ident(nspname), '.', quote_ident(relname))
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = '{}'::regclass
"""
_GUARDED = ("tasks", "conversations", "messages", "projects", "calendar_feeds", "people")
_INDEXES = {
    "ix_tasks_deleted": "tasks (deleted_at) WHERE deleted_at IS NOT NULL",
    "ix_tasks_project": "tasks (project_id) WHERE project_id IS NOT NULL",
    "ix_conversations_deleted": "conversations (deleted_at) WHERE deleted_at IS NOT NULL",
    "ix_conversations_project": "conversations (project_id) WHERE project_id IS NOT NULL",
    "ix_messages_keyed": "messages (created_at) WHERE request_hash IS NOT NULL",
}
_AT_ONCE = 10_000
"""Rows of a table that are indexed within the transaction, as in `v0008_search`."""


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision.

    A message that is deleted would have the whole table looked through for answers to it, whose
    `reply_to` no index has; both rows are written by one statement and go together.
    """
    run = op.get_bind().exec_driver_sql
    run(_ERASURES)
    names = {f"{{{name}}}": str(run(_NAME.format(name)).scalar()) for name in _NAMED}
    for function in (_GUARD, _GUARD_LOG):
        for name, with_schema in names.items():
            function = function.replace(name, with_schema)
        run(function)
    for table in _GUARDED:
        run(
            f"CREATE OR REPLACE TRIGGER chat_guard BEFORE INSERT OR UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION chat_guard_person()"
        )
    run(
        "CREATE OR REPLACE TRIGGER chat_guard BEFORE INSERT ON stream_log"
        " FOR EACH ROW EXECUTE FUNCTION chat_guard_log()"
    )
    run("ALTER TABLE messages DROP CONSTRAINT IF EXISTS messages_reply_to_fkey")
    for name, what in _INDEXES.items():
        table = what.partition(" ")[0]
        many = f"SELECT EXISTS (SELECT FROM {table} OFFSET {_AT_ONCE})"  # noqa: S608
        if not run(many).scalar():
            run(f"CREATE INDEX IF NOT EXISTS {name} ON {what}")
