"""The embedded Postgres: shared by processes, outliving crashes, reached from any folder."""

import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from backend.postgres.embedded import EmbeddedServerError, start_embedded

pytestmark = pytest.mark.long

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change its user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, as a checkout's; not pytest's, whose parents are closed again by it."""
    with TemporaryDirectory(prefix="todo-chat-tests-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def used_folder() -> Iterator[Path]:
    """A folder with a stopped server's data in it, one row among it."""
    with TemporaryDirectory(prefix="todo-chat-tests-") as name:
        with start_embedded(Path(name), durable=False) as server:
            ask(server.url, "CREATE TABLE kept AS SELECT 1 AS row")
        yield Path(name)


def move_in(used_folder: Path, place: Path) -> None:
    """Have a cluster in `place`, as Postgres takes most of a second to make one."""
    place.mkdir(parents=True)
    copy = ["cp", "-a", str(used_folder / "cluster"), str(place)]  # with its owner
    subprocess.run(copy, check=True)  # noqa: S603


def ask(url: str, sql: str) -> object:
    with psycopg.connect(url, connect_timeout=5) as connection:
        cursor = connection.execute(sql.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def is_serving(url: str) -> bool:
    try:
        return ask(url, "SELECT 1") == 1
    except psycopg.OperationalError:
        return False


OTHER_PROCESS = """
import sys
from pathlib import Path
from backend.postgres.embedded import start_embedded
print(start_embedded(Path(sys.argv[1]), durable=False).url, flush=True)
sys.stdin.read()
"""


@contextmanager
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts or joins the server, prints its address, and ends with its input."""
    with subprocess.Popen(  # noqa: S603  # our own words
        [sys.executable, "-c", OTHER_PROCESS, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_what_was_written_is_there_after_a_restart(used_folder: Path) -> None:
    with start_embedded(used_folder) as server:
        assert ask(server.url, "SELECT row FROM kept") == 1
    assert not is_serving(server.url)


def test_letters_fold_and_times_are_utc_whatever_the_machine_has(used_folder: Path) -> None:
    with start_embedded(used_folder) as server:
        assert ask(server.url, "SELECT 'ÄPFEL' ILIKE '%äpf%'") is True
        assert ask(server.url, "SHOW timezone") == "UTC"


@pytest.mark.e2e
def test_what_it_writes_is_its_owners_alone_whatever_the_umask(folder: Path) -> None:
    place = folder / "open to all"
    place.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        with start_embedded(place, durable=False):
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in place.iterdir()}
    finally:
        os.umask(before)
    assert (modes["server.log"], modes["cluster"]) == (0o600, 0o700)


def test_it_serves_from_a_folder_that_is_a_link_to_another(folder: Path, used_folder: Path) -> None:
    move_in(used_folder, folder / "there" / "postgres")
    (folder / "link").symlink_to(folder / "there")
    with start_embedded(folder / "link" / "postgres", durable=False) as server:
        assert ask(server.url, "SELECT row FROM kept") == 1
        assert (folder / "there" / "postgres" / "cluster" / "postmaster.pid").exists()


def test_it_listens_on_no_network_address(used_folder: Path) -> None:
    with start_embedded(used_folder) as server:
        assert ask(server.url, "SHOW listen_addresses") == ""


def test_it_is_durable_unless_told_otherwise(used_folder: Path) -> None:
    with start_embedded(used_folder) as server:
        assert ask(server.url, "SHOW fsync") == "on"


@pytest.mark.e2e
@pytest.mark.parametrize(
    "variables",
    [
        {"PGPORT": "6543", "PGDATA": "/nowhere", "PGHOST": "db.example.com"},
        {"PGSERVICE": "mine"},
        {"PGOPTIONS": "-c default_transaction_read_only=on"},
        {"PGSSLMODE": "perhaps", "PGGSSENCMODE": "require"},
        {"PGTZ": "Nowhere", "PGCLIENTENCODING": "LATIN1", "PGTARGETSESSIONATTRS": "standby"},
    ],
)
def test_variables_of_libpq_in_the_environment_do_not_lead_it_astray(
    used_folder: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with start_embedded(used_folder) as server:
        assert ask(server.url, "CREATE TEMPORARY TABLE written AS SELECT 1") is None
        assert is_serving(server.url)


@pytest.mark.e2e
@pytest.mark.parametrize(
    "name", ["deep/" + "a" * 120 + "/" + "b" * 120, "with a space, 100% $HOME"]
)
def test_it_serves_from_a_folder_whose_path_no_socket_could_have(folder: Path, name: str) -> None:
    with start_embedded(folder / name / ".data" / "postgres", durable=False) as server:
        assert is_serving(server.url)
        assert (folder / name / ".data" / "postgres" / "cluster" / "PG_VERSION").exists()


def test_the_last_of_several_users_stops_it(used_folder: Path) -> None:
    first, second = start_embedded(used_folder), start_embedded(used_folder)
    assert first.url == second.url
    first.stop()
    first.stop()
    assert is_serving(second.url)
    second.stop()
    assert not is_serving(second.url)


def test_a_process_that_ends_leaves_it_to_the_others(used_folder: Path) -> None:
    with start_embedded(used_folder) as server:
        with other_process(used_folder) as process:
            assert address_of(process) == server.url
        assert process.returncode == 0
        assert is_serving(server.url)


def test_a_process_that_ends_without_a_word_stops_it_if_it_was_the_last(used_folder: Path) -> None:
    with other_process(used_folder) as process:
        url = address_of(process)
        assert is_serving(url)
    assert not is_serving(url)


@pytest.mark.e2e
def test_processes_that_start_at_once_in_an_empty_folder_share_one(folder: Path) -> None:
    with other_process(folder) as one, other_process(folder) as another:
        url = address_of(one)
        assert address_of(another) == url
        assert is_serving(url)
    assert not is_serving(url)


def test_a_killed_process_is_not_counted_as_a_user(used_folder: Path) -> None:
    with other_process(used_folder) as process:
        url = address_of(process)
        process.send_signal(signal.SIGKILL)
    assert is_serving(url)
    with start_embedded(used_folder) as server:
        assert server.url == url
    assert not is_serving(url)


def kill(pid: int) -> None:
    """Kill a process that is not our child, and wait until it is dead."""
    with open(os.pidfd_open(pid), "rb", buffering=0) as process:
        os.kill(pid, signal.SIGKILL)
        select.select([process], [], [])


@pytest.mark.skipif(sys.platform != "linux", reason="waits by a pidfd")
def test_a_killed_server_starts_again_with_its_data(used_folder: Path) -> None:
    with start_embedded(used_folder) as crashed:
        ask(crashed.url, "CREATE TABLE before_crash AS SELECT 7 AS row")
        kill(int((used_folder / "cluster" / "postmaster.pid").read_text().split()[0]))
        with start_embedded(used_folder) as server:
            assert ask(server.url, "SELECT row FROM before_crash") == 7
    assert not is_serving(crashed.url)


def test_a_number_of_a_crashed_server_that_is_another_programs_now_is_no_server(
    used_folder: Path,
) -> None:
    pid_file = used_folder / "cluster" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n1\n5432\n{used_folder}\n\n1 1\nready\n")
    with start_embedded(used_folder) as server:
        assert is_serving(server.url)


@pytest.mark.e2e
def test_a_cluster_half_made_when_its_maker_was_killed_is_made_anew(folder: Path) -> None:
    (folder / "cluster.new").mkdir()
    (folder / "cluster.new" / "PG_VERSION").write_text("18")
    with start_embedded(folder, durable=False) as server:
        assert is_serving(server.url)


def test_a_folder_that_cannot_be_used_is_told_in_one_line(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(EmbeddedServerError) as refused:
        start_embedded(folder / "file" / "postgres")
    assert "\n" not in str(refused.value)


def test_data_that_postgres_cannot_read_is_told_in_one_line(
    used_folder: Path, folder: Path
) -> None:
    (folder / "cluster").mkdir()
    with pytest.raises(EmbeddedServerError, match=r"server\.log") as refused:
        start_embedded(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.e2e
@needs_root
def test_under_root_each_folder_that_is_opened_is_told_once_with_the_way_back(
    folder: Path, used_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outer, inner, open_ = folder / "outer", folder / "outer" / "inner", folder / "outer" / "open"
    for path, mode in ((outer, 0o700), (inner, 0o750), (open_, 0o755)):
        path.mkdir(mode=mode)
    for place in (inner, open_):
        move_in(used_folder, place / "postgres")
    for place in (inner, open_, inner):
        with start_embedded(place / "postgres", durable=False):
            pass
    told = [line for line in caplog.messages if str(outer) in line]
    assert [line.partition(":")[0] for line in told] == [str(inner), str(outer)]
    assert all("chmod o-x" in line and "\n" not in line for line in told)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (outer, inner, open_)] == [
        *(0o701, 0o751, 0o755)
    ]


@pytest.mark.e2e
@needs_root
def test_under_root_closed_parents_are_opened_to_pass_and_no_further(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with start_embedded(closed / "checkout" / "postgres", durable=False) as server:
        assert is_serving(server.url)
        assert ask(server.url, "SELECT pg_postmaster_start_time() IS NOT NULL")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
    assert (closed / "checkout" / "postgres").stat().st_uid != 0
    assert stat.S_IMODE((closed / "checkout" / "postgres").stat().st_mode) == 0o700
