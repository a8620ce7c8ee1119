"""Packages from npm for the tests that want the real thing on the other side.

A folder's `package.json` names them; they are installed beside it once and found by later runs.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

INSTALL_LIMIT = 180
"""Seconds after which an installation is given up."""

_INSTALL = [
    *("install", "--prefer-offline", "--no-package-lock"),
    *("--no-audit", "--no-fund", "--ignore-scripts"),
]


def install(folder: Path, what: str) -> None:
    """Have what `folder`'s `package.json` names; who comes second waits for the first.

    Skips the test, which is then not tried with `what`, where there is no Node or no way to
    npm's registry; CI has to have the latter.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip(f"not tried with {what}: node and npm are not installed")
    with _alone_in(folder):
        wanted = folder.joinpath("package.json").read_text()
        stamp = folder / "node_modules" / ".installed"
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            _run(npm, folder, what)
            stamp.write_text(wanted)


def _run(npm: str, folder: Path, what: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603  # our own words
            [npm, *_INSTALL], cwd=folder, capture_output=True, text=True, timeout=INSTALL_LIMIT
        )
        problem = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"npm took more than {INSTALL_LIMIT} s"
    if problem and os.environ.get("CI") == "true":
        pytest.fail(f"npm could not install {what}: {problem}")
    if problem:
        pytest.skip(f"not tried with {what}: npm could not install it: {problem.splitlines()[0]}")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold `folder` against other test processes; let go of by the system if we die."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
