"""Which client outside made a conversation, and the changes in it."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    for table in ("conversations", "messages"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS origin varchar(255)")
