"""Until when the same text is a turn whose answer has reached nobody."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    op.execute("ALTER TABLE messages ADD COLUMN IF NOT EXISTS repeats_until timestamptz")
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_messages_user_repeats ON messages (user_id, id)"
        " WHERE repeats_until IS NOT NULL"
    )
