"""What the nursery says of the servers that it has forked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ALL_AT_ONCE = """
import os, signal
from backend.faults import nursery

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
signal.signal(signal.SIGCHLD, nursery._reap)
go_on, word = os.pipe()
for _ in range(100):
    pid = os.fork()
    if not pid:
        os.close(word)
        os.read(go_on, 1)
        os._exit(3)
    nursery._running.add(pid)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
os.close(word)
while nursery._running:
    pass
"""


@pytest.mark.e2e
def test_of_many_that_end_at_once_each_is_told_once() -> None:
    done = subprocess.run(  # noqa: S603  # our own words
        [sys.executable, "-c", ALL_AT_ONCE],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({each["pid"] for each in said}) == len(said) == 100
    assert {each["code"] for each in said} == {3}
