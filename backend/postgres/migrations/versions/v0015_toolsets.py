"""The toolsets that a conversation has chosen."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    op.execute("ALTER TABLE conversations ADD COLUMN IF NOT EXISTS toolsets varchar(500)")
