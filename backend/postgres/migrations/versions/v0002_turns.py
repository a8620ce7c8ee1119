"""What a turn needs to be taken up again: its attempt, its lease, and the key of its request."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    for column in (
        "reply_to bigint REFERENCES messages (id)",
        "attempt integer NOT NULL DEFAULT 1",
        "lease_until timestamptz",
        "ended_at timestamptz",
        "undone_at timestamptz",
        "idempotency_key varchar(255)",
        "request_hash varchar(64)",
    ):
        op.execute(f"ALTER TABLE messages ADD COLUMN IF NOT EXISTS {column}")
    op.execute(
        "CREATE UNIQUE INDEX IF NOT EXISTS ux_messages_user_key"
        " ON messages (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_messages_user_unfinished"
        " ON messages (user_id, id) WHERE status <> 'complete'"
    )
