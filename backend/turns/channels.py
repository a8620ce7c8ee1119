"""A turn as it is watched: what its run has told so far, and the viewers of that.

A viewer reads from where it is; so one that is slow is behind, holds nobody up, and is let go by
the connection when it takes nothing any more. Where the turn has ended, its record has the last
word: what a viewer has not been shown of it comes then, and only then the end.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from backend.chat_errors import TurnBroken
from backend.conversations.parts import Part, Seen
from backend.conversations.tool_calls import as_shown
from backend.errors import AppError, TooManyViewers
from backend.journal.stream_log import Outcome
from backend.models import MessageStatus
from backend.telemetry.figures import FIRST_WORD_SECONDS, REFUSED, STREAM_LAG

VIEWERS_MAX = 10
"""Streams that one person may have open at this process at once."""
FLUSH_SECONDS = 0.01
"""How long a viewer waits for more after it was given something."""
SIGN_OF_LIFE = 15.0
"""Seconds without news after which a viewer is told that there are none."""


class StreamCut(Exception):
    """A viewer's connection is to be cut: it can only resume, from the beginning."""


class Channel:
    """What is known here of a turn that is watched; whoever follows the run fills it."""

    def __init__(self, message_id: int, conversation_id: int, created_at: datetime) -> None:
        self.message_id = message_id
        self.conversation_id = conversation_id
        self.created_at = created_at
        self.began: float | None = None
        """When its run began, by the loop's clock, until its first word."""
        self.parts: list[Part] = []
        self.told: list[float] = []
        """When each of them was told, where that is measured."""
        self.ended: Outcome | None = None
        self.error: AppError | None = None
        """Why it has ended without an answer; None where that is not known."""
        self.cut = False
        """Whether nothing more is known, so that whoever watches has to come again."""
        self._waiting: set[asyncio.Event] = set()
        self._logged = 0
        self._batches = 0
        self._batch: list[Part] = []

    def tell(self, part: Part) -> None:
        """Add a part, or more of the text under way."""
        self.parts.append(part)
        if STREAM_LAG.is_on:
            self._measure(part)
        self._wake()

    def _measure(self, part: Part) -> None:
        now = asyncio.get_running_loop().time()
        self.told.append(now)
        if self.began is not None and "say" in part:
            FIRST_WORD_SECONDS.record(now - self.began)
            self.began = None

    def end(self, ended: Outcome, error: AppError | None = None) -> None:
        """Say how the turn has ended; what is said first stands."""
        if self.ended is None:
            self.ended, self.error = ended, error
            self._wake()

    def cut_off(self) -> None:
        self.cut = True
        self._wake()

    def to_log(self) -> tuple[int, list[Part]] | None:
        """What is to be written next, as the so-manieth batch; the same until it is `logged`."""
        if not self._batch and self._logged < len(self.parts):
            self._batch = list(merged(self.parts[self._logged :]))
            self._logged = len(self.parts)
        return (self._batches, self._batch) if self._batch else None

    def logged(self) -> None:
        """Note that the batch is in the log, so that the next one is begun."""
        if self._batch:
            self._batches, self._batch = self._batches + 1, []

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

    def watch(self, event: asyncio.Event) -> None:
        """Set `event` whenever there is something new."""
        self._waiting.add(event)

    def unwatch(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)


def merged(parts: list[Part]) -> Iterator[Part]:
    """`parts` with texts that follow each other put together."""
    texts: list[str] = []
    for part in parts:
        if "say" in part:
            texts.append(part["say"])
            continue
        if texts:
            yield {"say": "".join(texts)}
            texts = []
        yield part
    if texts:
        yield {"say": "".join(texts)}


class Viewer:
    """One person's look at a turn, from its beginning to its end or until they leave."""

    def __init__(self, channel: Channel, sign_of_life: float = SIGN_OF_LIFE) -> None:
        self.channel = channel
        self._sign_of_life = sign_of_life
        self._news = asyncio.Event()
        self._left = False
        self._shown = 0
        self._seen = Seen()

    def leave(self) -> None:
        """End `parts`: the client of this viewer has left."""
        self._left = True
        self._news.set()

    async def parts(self) -> AsyncIterator[list[Part]]:
        """What is to be shown next, `FLUSH_SECONDS` after it was told at the latest.

        Called again, after it was cut off, it goes on from there.

        Nothing, each `SIGN_OF_LIFE` in which nothing came. It ends with the turn, when all that
        is on record of it has been shown, or when the viewer has left.

        Raises:
            StreamCut: what comes next is not known here, or does not go with what was seen.
        """
        channel = self.channel
        channel.watch(self._news)
        try:
            while not self._left:
                self._news.clear()
                shown, self._shown = self._shown, len(channel.parts)
                new = list(merged(channel.parts[shown:]))
                for part in new:
                    self._seen.note(part)
                if new and shown < len(channel.told):
                    STREAM_LAG.record(asyncio.get_running_loop().time() - channel.told[shown])
                if channel.ended is not None:
                    yield new + self._missing(channel.ended)
                    return
                if new:
                    yield new
                    await asyncio.sleep(FLUSH_SECONDS)
                elif channel.cut:
                    raise StreamCut
                elif not await self._wait():
                    yield []
        finally:
            channel.unwatch(self._news)

    async def _wait(self) -> bool:
        """Whether something new came before it is time for a sign of life."""
        try:
            async with asyncio.timeout(self._sign_of_life):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _missing(self, ended: Outcome) -> list[Part]:
        """What of the record has not been shown; only a turn that failed drops what was."""
        try:
            missing = list(self._seen.missing(ended.left, ended.calls, ended.waiting))
        except ValueError:
            raise StreamCut from None
        if ended.status != MessageStatus.FAILED and any("new" in part for part in missing):
            raise StreamCut
        return missing


def broken_off(channel: Channel, ended: Outcome) -> TurnBroken:
    """What is said of a turn of which only the record knows that it has no answer."""
    so_far = {
        "conversation_id": channel.conversation_id,
        "message_id": channel.message_id,
        "tool_calls": as_shown(ended.calls) or None,
    }
    return TurnBroken(so_far, message=ended.content or None)


class Seats:
    """How many viewers each person has at this process."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    def take(self, user_id: str) -> "Seat":
        """A place among the person's viewers, to be given up in the end.

        Raises:
            TooManyViewers: all are taken.
        """
        if self._taken[user_id] >= VIEWERS_MAX:
            REFUSED.add(1, {"limit": "viewers"})
            raise TooManyViewers
        self._taken[user_id] += 1
        return Seat(self._taken, user_id)


class Seat:
    def __init__(self, taken: Counter[str], user_id: str) -> None:
        self._taken = taken
        self._user_id: str | None = user_id

    def free(self) -> None:
        """Give it up; a second time nothing happens."""
        if self._user_id is not None:
            self._taken[self._user_id] -= 1
            self._taken += Counter()  # forgets those who have none
            self._user_id = None
