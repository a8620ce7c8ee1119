"""Fold what is searched for; the indexes of it made at once where there is little to index.

Otherwise `backend.postgres.later_indexes` makes them once the service runs: at two million messages
that took minutes, in which nobody could write.
"""

from alembic import op
from sqlalchemy import Connection

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COLLATION = """
    SELECT quote_ident(collname) FROM pg_collation
    WHERE collnamespace = 'pg_catalog'::regnamespace AND (
        collname IN ('pg_c_utf8', 'und-x-icu')
        OR collprovider = 'c' AND collencoding = pg_char_to_encoding('UTF8')
    )
    ORDER BY collname <> 'pg_c_utf8', collname <> 'und-x-icu', collname LIMIT 1
"""
_IGNORED = r"\u00ad\u034f\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff"
# what is ASCII alone needs no more than lower case, which takes a tenth of the time
_FOLD = rf"""
    CREATE OR REPLACE FUNCTION chat_search_fold(text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN octet_length($1) = char_length($1)
    THEN lower($1 COLLATE "C") COLLATE {{collation}}
    ELSE replace(replace(replace(
        lower(translate(normalize($1, NFKC), E'{_IGNORED}', '') COLLATE {{collation}}),
        E'\u00df', 'ss'), E'\u03c2', E'\u03c3'), E'i\u0307', 'i')
    END
"""
_BETWEEN = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u303f"
    r"\uff00-\uff0f"
)
_ALONE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
    r"\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
)
# dear, and not to be put in place of its calls: it is never to be asked of what an index can tell
_TERMS = rf"""
    CREATE OR REPLACE FUNCTION chat_search_terms(text, text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000
    RETURN array_to_tsvector(array_remove(string_to_array(regexp_replace(
        regexp_replace(
            left(chat_search_fold(left($1, 10000)), 12000),
            '[{_ALONE}]|[^{_BETWEEN}{_ALONE}]{{80}}', ' \& ', 'g'
        ),
        '[{_BETWEEN}]*([^{_BETWEEN}]+)[{_BETWEEN}]*',
        replace(' #/\1', '#', translate(right($2, 24), ' \''', '___')), 'g'
    ), ' '), ''))
"""
_INDEXES = {
    "ix_conversations_search": ("conversations", "title", "title IS NOT NULL"),
    "ix_messages_search": ("messages", "content", "status = 'complete'"),
}
_AT_ONCE = 10_000
"""Rows of a table that are indexed within the transaction, in about a second."""


def make_search_functions(connection: Connection) -> None:
    """What the indexes are made of; the letters are those of a collation that knows all."""
    collation = connection.exec_driver_sql(_COLLATION).scalar() or '"default"'
    connection.exec_driver_sql(_FOLD.format(collation=collation))
    connection.exec_driver_sql(_TERMS)


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    connection = op.get_bind()
    make_search_functions(connection)
    for name, (table, column, where) in _INDEXES.items():
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
        many = f"SELECT EXISTS (SELECT FROM {table} OFFSET {_AT_ONCE})"  # noqa: S608
        if not connection.exec_driver_sql(many).scalar():
            connection.exec_driver_sql(
                f"CREATE INDEX {name} ON {table} USING gin (chat_search_terms({column}, user_id))"
                f" WITH (fastupdate = off) WHERE {where}"
            )
