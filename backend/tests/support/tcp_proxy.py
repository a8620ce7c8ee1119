"""A TCP proxy that delays, freezes, drops and cuts, to stand between the service and Postgres.

A connection is closed only where that is what was asked for: a network that drops packets does
not say so. It lives in the loop of whoever opens it, and speaks to a server's unix socket too.
"""

import asyncio
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

type Piece = tuple[float, bytes] | None
"""When it is passed on, by the loop's clock, and what; None is the end of the connection."""


class Trouble(Enum):
    """What befalls a connection when its client says a certain thing."""

    CUT = auto()
    """The connection is cut before the server hears of it."""
    FREEZE = auto()
    """It is held back, and all after it in both directions, until `thaw`."""
    BLACK_HOLE = auto()
    """It is dropped, and all after it in both directions; nothing closes."""
    LOSE_ANSWER = auto()
    """The server does it; the connection is cut before its word arrives."""
    DROP_ANSWER = auto()
    """The server does it; neither its word nor anything after it arrives, and nothing closes."""


class Link:
    """One connection through the proxy."""

    def __init__(self, client: StreamWriter, server: StreamWriter) -> None:
        self.client = client
        self.server = server
        self.dropping = False
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.trouble: Trouble | None = None
        """What is to befall the answer under way."""
        self.heard = True
        """The server spoke last, so what its client says next has waited for it."""

    def black_hole(self) -> None:
        """Drop what is sent from now on, in both directions, for ever."""
        self.dropping = True

    def freeze(self) -> None:
        """Hold everything back, in both directions, until `thaw`."""
        self.flowing.clear()

    def thaw(self) -> None:
        self.flowing.set()

    def cut(self) -> None:
        """Close both ends at once."""
        self.dropping = True
        for writer in (self.client, self.server):
            writer.transport.abort()


@dataclass(eq=False)
class _Expected:
    """What is to befall the connection whose client says a certain thing, after another one."""

    holding: bytes
    trouble: Trouble
    after: bytes
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    links: set[Link] = field(default_factory=set)
    """On which the other thing was said."""

    def meets(self, link: Link, data: bytes) -> bool:
        if self.after in data:
            self.links.add(link)
        return link in self.links and self.holding in data


@dataclass(eq=False)
class TcpProxy:
    """Connections to one server, which come to grief as the test says."""

    url: str
    """The database's address, through the proxy."""
    delay: float = 0.0
    """Seconds that a question and its answer are on their way, half of them each."""
    links: list[Link] = field(default_factory=list)
    """The connections that are open, oldest first."""
    connected: int = 0
    """How many connections were made."""
    round_trips: int = 0
    """How often a client spoke after its server had: each time it had waited."""
    _frozen: bool = False
    _deaf: bool = False
    _troubles: list[_Expected] = field(default_factory=list)

    def freeze(self) -> None:
        """Hold everything back, on old and new connections, until `thaw`."""
        self._frozen = True
        for link in self.links:
            link.freeze()

    def thaw(self) -> None:
        self._frozen = False
        for link in self.links:
            link.thaw()

    def black_hole(self) -> None:
        """Drop what is sent on the connections there are, and on new ones until `heal`."""
        self._deaf = True
        for link in self.links:
            link.black_hole()

    def drop_answers(self) -> None:
        """Have the server hear what is said on the connections there are, and nobody hear it."""
        for link in self.links:
            link.trouble = Trouble.DROP_ANSWER

    def heal(self) -> None:
        """Serve new connections again; those whose packets were dropped stay lost."""
        self._deaf = False

    def cut(self) -> None:
        """Close the connections there are."""
        for link in self.links:
            link.cut()

    def on(self, holding: bytes, trouble: Trouble, *, after: bytes = b"") -> asyncio.Event:
        """The next time a client's message holds these bytes, on a connection that said `after`.

        The event is set when it does. What is prepared is sent once and named after that, so
        match a value, or `COMMIT` after one: the service has commits of its own.
        """
        expected = _Expected(holding, trouble, after)
        self._troubles.append(expected)
        return expected.happened

    async def _serve(self, link: Link, client: StreamReader, server: StreamReader) -> None:
        self.connected += 1
        self.links.append(link)
        if self._deaf:
            link.black_hole()
        if self._frozen:
            link.freeze()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(link, client, link.server, self._asked))
                group.create_task(self._carry(link, server, link.client, self._answered))
        except* OSError:  # the other side has closed
            pass
        finally:
            link.cut()
            self.links.remove(link)

    async def _carry(
        self,
        link: Link,
        reader: StreamReader,
        writer: StreamWriter,
        note: Callable[[Link, bytes], None],
    ) -> None:
        """Pass on what `reader` gives, each piece half the delay after it came, and its end."""
        pieces: Queue[Piece] = Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(link, pieces, writer))
            with suppress(ConnectionError):
                while data := await reader.read(65536):
                    note(link, data)
                    pieces.put_nowait((asyncio.get_running_loop().time() + self.delay / 2, data))
            pieces.put_nowait(None)

    def _asked(self, link: Link, data: bytes) -> None:
        self.round_trips += link.heard
        link.heard = False
        for expected in tuple(self._troubles):
            if expected.meets(link, data):
                self._troubles.remove(expected)
                expected.happened.set()
                self._befall(link, expected.trouble)
                return

    def _befall(self, link: Link, trouble: Trouble) -> None:
        match trouble:
            case Trouble.CUT:
                link.cut()
            case Trouble.FREEZE:
                link.freeze()
            case Trouble.BLACK_HOLE:
                link.black_hole()
            case Trouble.LOSE_ANSWER | Trouble.DROP_ANSWER:
                link.trouble = trouble

    def _answered(self, link: Link, data: bytes) -> None:
        link.heard = True
        if link.trouble is Trouble.DROP_ANSWER:
            link.black_hole()
        elif link.trouble is Trouble.LOSE_ANSWER:
            # what the server has answered it has done: nothing waits for the client in between
            link.cut()


async def _pass_on(link: Link, pieces: Queue[Piece], writer: StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while piece := await pieces.get():
        due, data = piece
        await asyncio.sleep(max(0.0, due - loop.time()))
        await link.flowing.wait()
        if not (link.dropping or writer.is_closing()):
            writer.write(data)
            await writer.drain()
    await link.flowing.wait()
    if link.dropping and not link.client.transport.is_closing():
        return  # nobody hears of the end either
    link.cut()


@asynccontextmanager
async def tcp_proxy(database_url: str, *, delay: float = 0.0) -> AsyncIterator[TcpProxy]:
    """A proxy on a port of its own in front of the database's server, closed at the end."""
    serving: set[asyncio.Task[None]] = set()

    async def accept(client: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        serving.add(task)
        try:
            server, server_writer = await connect_to(database_url)
            await proxy._serve(Link(writer, server_writer), client, server)
        except OSError:  # there is no server
            writer.transport.abort()
        finally:
            serving.discard(task)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy = TcpProxy(through(database_url, listener.sockets[0].getsockname()[1]), delay)
    try:
        yield proxy
    finally:
        listener.close()
        for task in tuple(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def connect_to(database_url: str) -> tuple[StreamReader, StreamWriter]:
    address = urlsplit(database_url)
    asked = dict(parse_qsl(address.query))
    host = asked.get("host", address.hostname or "127.0.0.1")
    port = int(asked.get("port", address.port or 5432))
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


def through(database_url: str, port: int) -> str:
    """The same database, as the same user, at `port` of this machine."""
    address = urlsplit(database_url)
    who = address.netloc.rpartition("@")[0]
    asked = [(k, v) for k, v in parse_qsl(address.query) if k not in ("host", "port")]
    through = address._replace(netloc=f"{who}@127.0.0.1:{port}", query=urlencode(asked))
    return urlunsplit(through)
