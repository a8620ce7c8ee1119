"""`python -m backend`, what `make run` starts: the service; with no database set, a demo of it."""

import errno
import gc
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from types import FrameType

try:
    import uvicorn
    from fastapi import FastAPI

    from backend import demo
    from backend.config import Settings, SettingsError, load_settings
    from backend.errors import StartFailure
    from backend.postgres.embedded import start_embedded
    from backend.web.logs import configure_logging
    from backend.web.protocol import protocol
except ValueError as error:  # what a library reads by itself, and cannot follow
    sys.exit(f"backend: a variable such as OTEL_PROPAGATORS cannot be followed: {error}")

OPEN_FILES = 65_536
"""Open files of the process, where the machine allows as many."""

type Greeting = Callable[[str], str]
"""What is printed once the service answers, given its address."""


class Server(uvicorn.Server):
    """uvicorn's, which calls `ready` when it has begun to answer, and `stopping` when told to.

    For `drain` seconds after the order it takes new requests as ever; a second order ends that.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], None],
        stopping: Callable[[], None],
        drain: float,
    ) -> None:
        super().__init__(config)
        self.ready = ready
        self.stopping = stopping
        self.drain = drain
        self._order: tuple[int, FrameType | None, float] | None = None
        """The first order to stop, and when it is carried out."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.stopping()
        if self.drain and self._order is None:
            self._order = sig, frame, monotonic() + self.drain
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._order and not self.should_exit and monotonic() >= self._order[2]:
            super().handle_exit(*self._order[:2])
        return await super().on_tick(counter)


def main() -> None:
    """Serve until told to stop; exits with 0 then, and with 2 where it cannot start as set up."""
    _leave_on_signals()
    try:
        if sys.flags.optimize > 1:
            raise StartFailure("PYTHONOPTIMIZE: 2 drops what the model is told of tools; 1 works")
        settings = load_settings()
        configure_logging(settings.log_level)
        _allow_open_files()
        _serve(settings)
    except StartFailure as error:
        sys.stderr.write(f"backend: {error}\n")
        sys.exit(2)


def _serve(settings: Settings) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(settings))
        with _no_garbage():  # after what is judged at once: the Agents SDK takes its seconds
            from backend.main import EMBEDDED_DATA, create_app
        greeting: Greeting = _plain_greeting
        if settings.database_url is None:
            postgres = stack.enter_context(start_embedded(EMBEDDED_DATA))
            settings = demo.settings_for(settings, postgres.url)
            greeting = _demo_greeting(settings, postgres.url)
        app = create_app(settings)
        server = Server(
            _server_config(app, settings),
            ready=lambda: _say(greeting(_address(listener))),
            stopping=lambda: setattr(app.state, "stopping", True),
            drain=settings.drain_seconds,
        )
        server.run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    """A listening socket, so that a port that is taken is known before anything is started.

    Raises:
        SettingsError: the address is taken, not this machine's, or not allowed.
    """
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        name = "PORT" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "HOST"
        reason, _, _ = (error.strerror or "not possible").partition(" (")
        raise SettingsError(f"{name}: cannot listen on {host}, port {port}: {reason}") from None
    except UnicodeError:
        raise SettingsError("HOST: not a name or an address") from None


def _allow_open_files() -> None:
    """Every connection is an open file, and the usual limit of 1024 is only a default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Keep the garbage collector out of imports, of which next to nothing ever is garbage.

    What they leave is then spared every later collection as well. An eighth of the start.
    """
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def _server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol(settings.request_seconds),
        log_config=None,  # the app's own, one line a request
        access_log=False,
        ws="none",
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        lifespan="on",
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


def _demo_greeting(settings: Settings, url: str) -> Greeting:
    token = demo.sign_in(url)

    def greeting(address: str) -> str:
        commands = demo.commands(address, token, demo.next_conversation(url))
        return "\n\n".join(
            [
                f"Serving at {address} (model: {settings.openai_model}); Ctrl-C stops."
                f" The API: {address}/docs",
                *_page_address(settings, address, token),
                "Paste these, in order, into another terminal; you are signed in as the demo user.",
                *commands,
            ]
        )

    return greeting


def _page_address(settings: Settings, address: str, token: str) -> list[str]:
    """In the fragment, which a browser sends to nobody, and the page takes out of the address."""
    return [f"Open {address}/#token={token}"] if settings.web_page else []


def _plain_greeting(address: str) -> str:
    return (
        f"Serving at {address} on the database given, for people signed in with Better Auth;"
        f" Ctrl-C stops. The API: {address}/docs"
    )


def _address(listener: socket.socket) -> str:
    """Where a browser on this machine finds the service."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # read, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n\n")
    sys.stdout.flush()


def _leave_on_signals() -> None:
    """Leave with 0 on Ctrl-C and SIGTERM, before uvicorn handles them and after it has.

    uvicorn raises a signal again when it has stopped; by default that would end the process
    before the embedded Postgres is stopped. A closed terminal is an order to stop as well.
    """

    def leave(*_: object) -> None:
        sys.exit(0)

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


if __name__ == "__main__":
    main()
