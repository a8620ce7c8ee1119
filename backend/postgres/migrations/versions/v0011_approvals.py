"""Calls that wait for a person, and answers that were asked for again."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    for column in ("approvals_json", "replaced_json"):
        op.execute(f"ALTER TABLE messages ADD COLUMN IF NOT EXISTS {column} text")
