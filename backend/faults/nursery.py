"""A process that has imported the service once, and made ready what each server needs, and forks
a server of it when it is told to.

Each server is `python -m backend` from there on, in a process of its own with an environment
of its own; what is saved is the imports, several seconds of a processor for each of the
hundred servers that the suite kills. On stdin comes a JSON object a line, `{"environment",
"folder", "log", "errors", "build"}`, the last for a broken build; on stdout go `{"pid"}` for each
server started and `{"pid", "code"}` for each that ended, in order. At the end of stdin all are
killed.
"""

import json
import os
import signal
import sys
from typing import Any

from backend.__main__ import main
from backend.agent.context.tokens import tokenizer_of
from backend.agent.models.rehearsal import rehearse
from backend.config import Settings
from backend.faults.broken import BUILDS
from backend.main import create_app, settle_heap

_CHILD_ENDED = {signal.SIGCHLD}
_running: set[int] = set()


def _say(**said: int) -> None:
    os.write(1, f"{json.dumps(said)}\n".encode())


def _reap(*_: object) -> None:
    """Say which have ended; the next signal may call it in the middle of itself."""
    for pid in tuple(_running):
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # said by the other call
            continue
        if ended:
            _running.discard(pid)
            _say(pid=pid, code=os.waitstatus_to_exitcode(status))


def _become_server(order: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHILD_ENDED)
    with (
        open(os.devnull) as nothing,
        open(order["log"], "ab") as log,
        open(order["errors"], "ab") as errors,
    ):
        for source, target in ((nothing, 0), (log, 1), (errors, 2)):
            os.dup2(source.fileno(), target)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    if order["build"]:
        BUILDS[order["build"]]()
    main()
    sys.exit(0)


def warm_up() -> None:
    """Make what each server would make of itself: the routes, the types of what providers answer,
    and the tables of the tokenizer.

    The heap is settled here for all of them, who then share its pages.
    """
    create_app(Settings(_env_file=None))
    for api in ("responses", "chat_completions"):
        rehearse(api)
    tokenizer_of("gpt-4o").count("")
    settle_heap()


def serve_orders() -> None:
    """Fork a server for each line of stdin, until there are no more."""
    signal.signal(signal.SIGCHLD, _reap)
    for line in sys.stdin:
        signal.pthread_sigmask(signal.SIG_BLOCK, _CHILD_ENDED)
        pid = os.fork()
        if not pid:
            _become_server(json.loads(line))
        _running.add(pid)
        _say(pid=pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHILD_ENDED)
    for pid in tuple(_running):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    warm_up()
    serve_orders()
