"""Streams of turns: their log, the marks of a stop, and the names that clients give."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = {
    "conversations": ("client_id varchar(255)",),
    "messages": ("client_id varchar(255)", "stop_attempt integer", "stopped_at timestamptz"),
}
LOG = """
    CREATE TABLE IF NOT EXISTS stream_log (
        message_id bigint NOT NULL,
        attempt integer NOT NULL,
        seq integer NOT NULL,
        events text NOT NULL,
        written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (message_id, attempt, seq)
    )
"""


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    for table, columns in COLUMNS.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column}")
    op.execute(
        "CREATE UNIQUE INDEX IF NOT EXISTS ux_conversations_user_client"
        " ON conversations (user_id, client_id) WHERE client_id IS NOT NULL"
    )
    op.execute(LOG)
    op.execute("CREATE INDEX IF NOT EXISTS ix_stream_log_written ON stream_log (written_at)")
