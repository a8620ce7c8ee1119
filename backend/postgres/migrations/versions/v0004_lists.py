"""Indexes for lists of conversations, for searching them, and for sums of what answers cost."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BETWEEN = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f"
)
_ALONE = r"\u3040-\u30ff\u3400-\u9fff"
_TERMS = (
    "array_to_tsvector(array_remove(string_to_array(regexp_replace("
    "regexp_replace(lower(left({column}, 10000)),"
    rf" '[{_ALONE}]|[^{_BETWEEN}{_ALONE}]{{{{80}}}}', ' \& ', 'g'),"
    rf" '[{_BETWEEN}]*([^{_BETWEEN}]+)[{_BETWEEN}]*',"
    r" replace(' #/\1', '#', translate(right(user_id, 24), ' \''', '___')), 'g'), ' '), ''))"
)
_SEARCHED = "{table} USING gin (({terms})) WITH (fastupdate = off) WHERE {where}"

INDEXES = {
    "ix_conversations_listed": "conversations (user_id, updated_at, id)"
    " WHERE deleted_at IS NULL AND archived_at IS NULL",
    "ix_conversations_archived": "conversations (user_id, updated_at, id)"
    " WHERE deleted_at IS NULL AND archived_at IS NOT NULL",
    "ix_conversations_search": _SEARCHED.format(
        table="conversations", terms=_TERMS.format(column="title"), where="title IS NOT NULL"
    ),
    "ix_messages_unfinished": "messages (conversation_id) WHERE status <> 'complete'",
    "ix_messages_user_answers": "messages (user_id, created_at) WHERE role = 'assistant'",
    "ix_messages_search": _SEARCHED.format(
        table="messages", terms=_TERMS.format(column="content"), where="status = 'complete'"
    ),
}


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    for name, what in INDEXES.items():
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {what}")
