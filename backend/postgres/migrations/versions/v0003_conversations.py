"""A conversation's title, model, archive and summary; and what each answer cost in tokens."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = {
    "conversations": (
        "title varchar(200)",
        "provider varchar(50)",
        "model varchar(200)",
        "archived_at timestamptz",
        "context_from bigint",
        "summary text",
        "summary_to bigint",
    ),
    "messages": (
        "provider varchar(50)",
        "model varchar(200)",
        "input_tokens bigint",
        "cached_tokens bigint",
        "output_tokens bigint",
    ),
}


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    for table, columns in COLUMNS.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column}")
