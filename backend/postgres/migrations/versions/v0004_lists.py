"""Indexes for lists of conversations, and for sums of what answers cost.

It also made those of the search, as `v0008_search` now does.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_conversations_listed": "conversations (user_id, updated_at, id)"
    " WHERE deleted_at IS NULL AND archived_at IS NULL",
    "ix_conversations_archived": "conversations (user_id, updated_at, id)"
    " WHERE deleted_at IS NULL AND archived_at IS NOT NULL",
    "ix_messages_unfinished": "messages (conversation_id) WHERE status <> 'complete'",
    "ix_messages_user_answers": "messages (user_id, created_at) WHERE role = 'assistant'",
}


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    for name, what in INDEXES.items():
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {what}")
