"""What each attempt at a turn has cost, on its day, by who answered it."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SPENDING = """
    CREATE TABLE IF NOT EXISTS spending (
        message_id bigint NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
        attempt integer NOT NULL,
        user_id varchar(255) NOT NULL,
        day date,
        provider varchar(50),
        model varchar(200),
        input_tokens bigint,
        cached_tokens bigint,
        output_tokens bigint,
        cost_usd numeric,
        PRIMARY KEY (message_id, attempt)
    )
"""


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision.

    What was spent before stays where it stands, in the messages, and is read from there.
    """
    op.execute(SPENDING)
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_spending_user_day ON spending (user_id, day)"
        " WHERE day IS NOT NULL"
    )
