"""`python -m backend`, started as `make run` starts it: in a process and a folder of its own."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import IO, Any

import httpx
import psycopg
import pytest

from backend import demo
from backend.config import Settings
from backend.faults.fleet import DidNotStart
from backend.tests.support.databases import MakeDatabase
from backend.tests.support.servers import the_nursery

pytestmark = pytest.mark.long

CHECKOUT = Path(__file__).parents[3]
START_LIMIT = 60
"""Seconds after which a process that says nothing is ended, and its test with it."""


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A copy of the code, since the demo's data lies beside it; in a folder with a space."""
    with TemporaryDirectory(prefix="todo chat ") as folder:
        without = shutil.ignore_patterns("tests", "bench", "faults")
        shutil.copytree(CHECKOUT / "backend", Path(folder, "backend"), ignore=without)
        shutil.copy(CHECKOUT / "Makefile", folder)
        for name in CHECKOUT.glob("requirements*"):
            shutil.copy(name, folder)
        yield Path(folder)


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """What `pip install` puts in place: the unpacked wheel, and nothing beside it."""
    with TemporaryDirectory() as folder:
        subprocess.run(  # noqa: S603  # our own words
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
            cwd=CHECKOUT,
            capture_output=True,
            check=True,
        )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            files.extractall(Path(folder, "installed"))
        yield Path(folder, "installed")


@pytest.fixture
async def empty_database(make_database: MakeDatabase) -> str:
    return await make_database()


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {str(name) for (name,) in found}


class Process:
    """`python -m backend` and what it has printed up to the line it was last waited for."""

    def __init__(self, checkout: Path, environment: dict[str, str]) -> None:
        self.running = subprocess.Popen(
            [sys.executable, "-m", "backend"],
            cwd=checkout,
            env={"PATH": os.environ["PATH"], "PORT": "0", "LOG_LEVEL": "ERROR"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lines_to(self, start: str, times: int = 1) -> list[str]:
        """The lines printed until `times` of them have begun with `start`."""
        assert self.running.stdout
        lines: list[str] = []
        for line in self.running.stdout:
            lines.append(line.rstrip("\n"))
            if sum(each.startswith(start) for each in lines) == times:
                return lines
        raise AssertionError(f"ended before it said {start}: {self._rest(self.running.stderr)}")

    def stop(self, order: signal.Signals) -> tuple[int, str]:
        """Its exit code after a signal, and the rest of what it wrote on stderr."""
        self.running.send_signal(order)
        code = self.running.wait()
        return code, self._rest(self.running.stderr)

    @staticmethod
    def _rest(stream: IO[str] | None) -> str:
        return stream.read() if stream else ""


@contextmanager
def started(checkout: Path, **environment: str) -> Iterator[Process]:
    process = Process(checkout, environment)
    limit = Timer(START_LIMIT, process.running.kill)
    limit.start()
    try:
        with process.running:
            yield process
            process.running.kill()
    finally:
        limit.cancel()


def paste(command: str) -> Any:
    """What a printed `curl` command answers, read as a shell would read it."""
    words = shlex.split(command)
    assert words[:3] == ["curl", "-sw", r"\n"]
    given = list(pairwise(words))
    headers = dict(value.split(": ", 1) for flag, value in given if flag == "-H")
    body = next((value for flag, value in given if flag == "-d"), None)
    answer = httpx.request("POST" if body else "GET", words[3], headers=headers, content=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


DEVELOPERS_MACHINE = {
    "ALL_PROXY": "socks5://127.0.0.1:1",
    "HTTPS_PROXY": "socks5://127.0.0.1:1",
    "SSL_CERT_FILE": "/no/such/file",
    "REQUESTS_CA_BUNDLE": "/no/such/file",
}
OF_OTHER_PROGRAMS = {
    **{"PGSERVICE": "mine", "PGHOST": "db.example.com", "PGSSLMODE": "verify-full"},
    **{"PGOPTIONS": "-c default_transaction_read_only=on", "PGTZ": "Nowhere/Such"},
    **{"TZ": "Nowhere/Such", "LC_ALL": "xx_YY.UTF-8", "TMPDIR": "/no/such", "HOME": "/no/such"},
    **{"HTTP_PROXY": "localhost:3128", "SSLKEYLOGFILE": "/no/such/file"},
}


@pytest.mark.e2e
def test_the_printed_commands_work_when_pasted_also_after_a_restart(checkout: Path) -> None:
    """Which a developer's proxies, certificates and other variables do not stop either."""
    tokens = set()
    variables = DEVELOPERS_MACHINE | OF_OTHER_PROGRAMS
    rounds: Any = (({}, signal.SIGINT), (variables, signal.SIGTERM))
    for round_, (environment, order) in enumerate(rounds, start=1):
        with started(checkout, **environment) as process:
            lines = process.lines_to("curl ", times=3)
            add, show, history = (line for line in lines if line.startswith("curl "))

            added = paste(add)
            shown = paste(show)
            messages = paste(history)

            assert added["tool_calls"][0]["tool"] == "add_task"
            assert shown["conversation_id"] == added["conversation_id"]
            assert len(shown["tool_calls"][0]["result"]["tasks"]) == round_
            assert [each["role"] for each in messages] == ["user", "assistant"] * 2
            docs = next(word for word in " ".join(lines).split() if word.endswith("/docs"))
            assert httpx.get(docs).status_code == 200
            assert process.stop(order) == (0, "")
        assert not (checkout / ".data/postgres/cluster/postmaster.pid").exists()
        tokens.add(shlex.split(history)[-1])
    assert len(tokens) == 1


@pytest.mark.e2e
def test_the_wheel_holds_the_service_and_no_tests(installed: Path) -> None:
    names = {path.name for path in installed.iterdir()}
    rooms = {path.name for path in (installed / "backend").iterdir() if path.is_dir()}

    assert {name for name in names if not name.endswith(".dist-info")} == {"backend"}
    assert not rooms & {"bench", "examples", "faults", "tests"}


@pytest.mark.e2e
def test_a_database_that_is_given_gets_no_demo(installed: Path, empty_database: str) -> None:
    with started(installed, DATABASE_URL=empty_database) as process:
        lines = process.lines_to("Serving ")
        address = lines[-1].split()[2]

        assert httpx.get(f"{address}/ready").status_code == 200
        assert "curl" not in " ".join(lines)
        assert "Better Auth" in lines[-1]
        code, complaints = process.stop(signal.SIGTERM)

    assert (code, complaints) == (0, "")
    assert tables(empty_database) >= {"tasks", "conversations", "messages"}
    assert not tables(empty_database) & {"user", "session", "account", "verification"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        pytest.param("HOST", "192.0.2.1", marks=pytest.mark.e2e),
        pytest.param("OPENAI_BASE_URL", "http://exa\nmple.com", marks=pytest.mark.e2e),
    ],
)
async def test_an_impossible_setting_stops_the_start_with_one_line(
    tmp_path: Path, name: str, value: str
) -> None:
    """In a forked process; the next test shows that one which imports all by itself says so too."""
    given = {"PATH": os.environ["PATH"], "PORT": "0", "LOG_LEVEL": "ERROR", name: value}
    complaints = tmp_path / "complaints"
    async with the_nursery() as nursery:
        with pytest.raises(DidNotStart) as ended:
            await nursery.start(tmp_path, "impossible", 0, given, errors=complaints)

    assert (ended.value.code, str(ended.value)) == (2, "")
    assert complaints.read_text().startswith(f"backend: {name}: ")
    assert complaints.read_text().count("\n") == 1


def test_a_port_that_is_taken_stops_the_start_with_one_line(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with started(checkout, PORT=port) as process:
            said, complaints = process.running.communicate()

    assert (process.running.returncode, said) == (2, "")
    assert complaints.startswith("backend: PORT: ")
    assert port in complaints
    assert complaints.count("\n") == 1


@pytest.mark.e2e
def test_where_they_matter_they_are_said_in_one_line(checkout: Path, empty_database: str) -> None:
    given = {"DATABASE_URL": empty_database, "OPENAI_API_KEY": "a-key"}
    with started(checkout, **DEVELOPERS_MACHINE, **given) as process:
        said, complaints = process.running.communicate()

    assert "Traceback" not in said + complaints
    assert "HTTPS_PROXY" in complaints


@pytest.mark.e2e
@pytest.mark.parametrize(("name", "value"), [("OTEL_PROPAGATORS", "xray"), ("PYTHONOPTIMIZE", "2")])
def test_a_variable_that_a_library_cannot_follow_is_said_in_one_line(
    checkout: Path, name: str, value: str
) -> None:
    with started(checkout, **{name: value}) as process:
        _, complaints = process.running.communicate()

    assert process.running.returncode in (1, 2)
    assert name in complaints
    assert complaints.count("\n") == 1


@pytest.mark.parametrize("python", ["false", "/no such/python3.13"])
def test_a_python_that_does_not_serve_is_said_in_one_line(checkout: Path, python: str) -> None:
    done = subprocess.run(  # noqa: S603
        ["make", "install", f"PYTHON={python}"],  # noqa: S607
        cwd=checkout,
        env={"PATH": os.environ["PATH"]},  # without what the make that runs the tests has set
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "Python 3.13 or newer is needed" in done.stderr
    assert (done.stdout + done.stderr).count("\n") == 1
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("named", "model"),
    [
        ({}, "offline"),
        ({"openai_model": "gpt-4o"}, "gpt-4o"),
        ({"openai_api_key": "a-key"}, "gpt-4o-mini"),
        ({"openai_base_url": "http://localhost:11434/v1"}, "gpt-4o-mini"),
    ],
)
def test_the_demo_has_the_offline_model_unless_another_is_named(
    named: dict[str, Any], model: str
) -> None:
    url = "postgresql://localhost/demo"
    settings = demo.settings_for(Settings(_env_file=None, **named), url)

    assert settings.openai_model == model
    assert settings.offline is (model == "offline")
    assert settings.database_url
    assert settings.database_url.get_secret_value() == url


def test_a_demo_session_is_kept_until_it_has_expired(empty_database: str) -> None:
    first = demo.sign_in(empty_database)
    assert demo.sign_in(empty_database) == first
    assert len(first) == 32
    assert first.isalnum()

    with psycopg.connect(empty_database) as connection:
        connection.execute("""UPDATE "session" SET "expiresAt" = now() - interval '1 second'""")

    assert demo.sign_in(empty_database) != first
