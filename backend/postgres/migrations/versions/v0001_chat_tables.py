"""Make the three tables, or adopt those of an earlier backend."""

from alembic import op

from backend.postgres.migrations.adoption import bring_up

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    bring_up(op.get_bind())
