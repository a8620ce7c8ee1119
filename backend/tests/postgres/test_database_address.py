"""What the engine makes of an address, as it is handed to libpq."""

import pytest

from backend.config import SettingsError
from backend.postgres.address import read_address


def connect_parameters(url: str) -> dict[str, str]:
    return read_address(url).parameters


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_an_address_of_neon_is_passed_on_whole(scheme: str) -> None:
    found = connect_parameters(
        f"{scheme}://owner:p%40ss%2Fw@ep-1.eu.aws.neon.tech/app?sslmode=require&channel_binding=require"
    )
    assert found["user"] == "owner"
    assert found["password"] == "p@ss/w"
    assert found["host"] == "ep-1.eu.aws.neon.tech"
    assert found["dbname"] == "app"
    assert found["sslmode"] == found["channel_binding"] == "require"
    assert found["application_name"] == "todo-chat"
    assert found["connect_timeout"] == "3"
    assert "prepare_threshold" not in found


def test_parameters_of_libpq_in_the_address_win_over_ours() -> None:
    found = connect_parameters(
        "postgresql://h/d?connect_timeout=3&application_name=mine&options=endpoint%3Dep-1"
        "&target_session_attrs=read-write&sslmode=disable&sslmode=verify-full"
    )
    assert found["connect_timeout"] == "3"
    assert found["application_name"] == "mine"
    assert found["options"] == "endpoint=ep-1"
    assert found["target_session_attrs"] == "read-write"
    assert found["sslmode"] == "verify-full"


def test_several_hosts_are_tried_in_turn() -> None:
    found = connect_parameters("postgresql:///d?host=a&host=b&port=5432&port=5433")
    assert (found["host"], found["port"]) == ("a,b", "5432,5433")


def test_other_libraries_parameters_are_dropped_and_named_without_their_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = connect_parameters(
        "postgresql://u:hunter2@h/d?schema=hidden1&connection_limit=98765&pool_timeout=98765"
    )
    assert not {"schema", "connection_limit", "pool_timeout"} & found.keys()
    for name in ("schema", "connection_limit", "pool_timeout"):
        assert f"parameter {name} " in caplog.text
    for value in ("hidden1", "98765", "hunter2"):
        assert value not in caplog.text


@pytest.mark.parametrize(
    ("given", "sslmode"), [("true", "require"), ("verify-full", "verify-full")]
)
def test_ssl_as_other_libraries_write_it_is_not_lost(given: str, sslmode: str) -> None:
    found = connect_parameters(f"postgresql://h/d?ssl={given}")
    assert found["sslmode"] == sslmode
    assert "ssl" not in found


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p@ep-1-pooler.eu.aws.neon.tech/d",
        "postgresql://u:p@/d?host=ep-1-pooler.eu.aws.neon.tech",
        "postgresql://u:p@h/d?pgbouncer=true",
        "postgresql://u:p@h/d?prepare_threshold=0",
    ],
)
def test_behind_a_pooler_nothing_is_prepared(address: str) -> None:
    found, pooled = read_address(address)
    assert pooled
    assert not {"pgbouncer", "prepare_threshold"} & found.keys()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hunter2@x@h/d",
        "postgresql://u:hunter2@x?y@h/d",
        "postgresql://u:p@h:hunter2/d",
        "hunter2",
        *(f"postgresql://h/d?connect_timeout={each}" for each in ("soon", "nan", "0", "-1", "1e9")),
    ],
)
def test_an_unreadable_address_is_refused_without_being_quoted(address: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as refused:
        read_address(address)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
