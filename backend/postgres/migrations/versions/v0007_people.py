"""The time zones of people and of their tasks, and which due dates are days."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = (
    "due_is_date boolean",
    "time_zone varchar(64)",
    "recurrence_time time",
)


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    for column in _COLUMNS:
        op.execute(f"ALTER TABLE tasks ADD COLUMN IF NOT EXISTS {column}")
    op.execute(
        "CREATE TABLE IF NOT EXISTS people (user_id varchar(255) PRIMARY KEY,"
        " time_zone varchar(64), updated_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
