"""Which statements name no owner stands in `scale.md`; that none is missing each test looks at."""

from importlib import import_module

import pytest

from backend.postgres.queries import query_of
from backend.tests.support.owners import argued_for, names_owner

# the others are functions, which make theirs of a table that they find
CONSTANTS = sorted(name for name in argued_for() if name.rpartition("::")[2].isupper())


@pytest.mark.parametrize("name", CONSTANTS)
def test_what_is_on_the_list_names_no_owner(name: str) -> None:
    path, constant = name.split("::")
    held = getattr(import_module(path.removesuffix(".py").replace("/", ".")), constant)
    statements = held if isinstance(held, tuple) else (held,)

    assert not all(names_owner(query_of(each, {}).sql.decode()) for each in statements)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT id FROM messages WHERE user_id = $1 AND id = $2", True),
        ("UPDATE tasks SET title=$1::VARCHAR WHERE tasks.user_id = $2::VARCHAR", True),
        ("INSERT INTO tasks (user_id, title) VALUES ($1, $2)", True),
        ("SELECT pg_advisory_xact_lock($1, hashtext($2))", True),
        ("UPDATE messages SET content = $1 WHERE id = $2", False),
        ("WITH a AS (DELETE FROM messages WHERE id = $1) SELECT 1", False),
        ("SELECT zone FROM people JOIN tasks ON people.user_id = tasks.user_id", False),
        ('SELECT "userId" FROM "session" WHERE token = $1', False),
    ],
)
def test_a_statement_names_an_owner_where_it_asks_for_one_or_writes_one(
    sql: str, named: bool
) -> None:
    assert names_owner(sql) is named
