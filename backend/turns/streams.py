"""A turn as a stream: begun and watched, joined, or followed once more from its beginning."""

from contextlib import ExitStack, suppress

from backend.errors import TurnInProgress
from backend.journal.begin import Busy
from backend.journal.requests import Answer
from backend.journal.standing import Standing, read_turn
from backend.models import MessageStatus
from backend.turns.channels import Channel, Viewer
from backend.turns.closing import settle
from backend.turns.runs import Run
from backend.turns.runtime import Runtime
from backend.web.clients import Client


class Stream:
    """What one client watches, from a place among the person's viewers.

    Raises:
        TooManyViewers: there is no place left.
    """

    def __init__(self, runtime: Runtime, user_id: str, client: Client) -> None:
        self.replayed = False
        """Whether the answer was there before it was asked for."""
        self.viewer: Viewer
        self._runtime = runtime
        self._client = client
        self._run: Run | None = None
        self._attempt = 0
        self._held = ExitStack()
        self._held.callback(runtime.live.seats.take(user_id).free)

    def close(self) -> None:
        """Give up the place, and whatever else it takes to watch."""
        self._held.close()

    def cut_off(self) -> bool:
        """End the run that is watched, if it is one of this process; it tells how it ended."""
        if self._run is not None:
            self._run.cut_off()
        return self._run is not None

    async def outlast(self) -> None:
        """Wait for the end of the run that was watched, if it is one of this process."""
        if self._run is not None:
            with suppress(Exception):
                await self._run.answer()

    async def watch(self, begun: Run | Answer | Busy) -> None:
        """Watch what was begun or found: a run here or elsewhere, or how it has ended."""
        if isinstance(begun, Run) and begun.channel is not None:
            self._join(begun, begun.channel)
            return
        self.replayed = isinstance(begun, Answer)
        message_id = begun.turn.message_id if isinstance(begun, Run) else begun.message_id
        async with self._runtime.autocommit() as session:
            standing = await read_turn(session, message_id)
        if standing is None:  # deleted a moment ago
            raise TurnInProgress
        self.follow(standing)

    def follow(self, turn: Standing) -> None:
        """Watch a turn that was begun before, wherever it runs, or show how it has ended."""
        run = self._runtime.runs.find(turn.run.message_id)
        if run and run.key == turn.run and run.channel is not None:
            self._join(run, run.channel)
        elif turn.ended is None:
            watch = self._runtime.live.watch(turn.run, turn.conversation_id, turn.created_at)
            self._look_at(self._held.enter_context(watch), turn.run.attempt)
        else:
            channel = Channel(turn.run.message_id, turn.conversation_id, turn.created_at)
            channel.end(turn.ended)
            self._look_at(channel, turn.run.attempt)

    def _join(self, run: Run, channel: Channel) -> None:
        self._run = run
        run.joined()
        self._client.when_left(run.left)
        self._look_at(channel, run.turn.attempt)

    def _look_at(self, channel: Channel, attempt: int) -> None:
        self._attempt = attempt
        self.viewer = Viewer(channel)
        self._client.when_left(self.viewer.leave)
        self._client.when_answered(self._settle)

    async def _settle(self, taken: bool) -> None:
        """Have the row say whether the answer was taken; that it was not, says its own process."""
        self.close()
        channel = self.viewer.channel
        ended = channel.ended
        if ended is None or ended.status == MessageStatus.FAILED or ended.stopped:
            return
        if taken or self._run is not None:
            answer = Answer(
                channel.conversation_id,
                channel.message_id,
                self._attempt,
                channel.created_at,
                ended.content,
                ended.calls,
                untaken=ended.untaken,
            )
            await settle(self._runtime, answer, taken)
