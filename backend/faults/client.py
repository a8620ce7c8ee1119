"""A person with the chat open: sends a message, and sends it again when that fails."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from time import perf_counter
from typing import Any

import httpx

from backend.faults.injections import Faults, Stage
from backend.faults.scenario import Message, Scenario

ATTEMPTS = 20
"""Times that a message is sent at the most; the faults have an end long before."""
PATIENCE = 40.0
"""Seconds that an answer may take: waiting for a dead run, a run, an outage at its end."""
PAUSE = 0.25
"""Seconds before a message is sent again."""


class NeverAnswered(Exception):
    """Nobody answered a request, however often it was made."""


@dataclass
class Attempt:
    """One sending of a message: the answer, or no status where the connection was lost."""

    replica: str
    seconds: float
    status: int | None = None
    body: Any = None
    left: bool = False
    """The client hung up."""
    late: bool = False
    """Nothing came within `PATIENCE`."""

    @property
    def details(self) -> dict[str, Any]:
        """What a failure says was done; empty where the turn had not begun."""
        if self.status is None or self.status < 400:
            return {}
        found = self.body["error"]["details"]
        return found if isinstance(found, dict) else {}


@dataclass
class Sent:
    """A message and all that became of sending it."""

    message: Message
    key: str | None
    body: dict[str, Any]
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def answered(self) -> Attempt | None:
        """The attempt that came to an answer, which is the last one."""
        last = self.attempts[-1] if self.attempts else None
        return last if last and last.status == 200 else None


@dataclass
class Client:
    scenario: Scenario
    stage: Stage
    faults: Faults
    http: httpx.AsyncClient
    token: str
    conversation_id: int | None = None
    sent: list[Sent] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        """Send `message` until it is answered, or once where the client gives up at once."""
        key = f"key of {message.text}" if self.scenario.keyed else None
        body = {"message": message.text, "conversation_id": self.conversation_id}
        sent = Sent(message, key, body)
        self.sent.append(sent)
        for number in range(ATTEMPTS):
            attempt = await self._attempt(message, body, key, number)
            sent.attempts.append(attempt)
            if attempt.status == 200:
                self.conversation_id = attempt.body["conversation_id"]
                break
            if not self._sends_again(message, attempt):
                break
            self._learn(attempt)
            if key is None:  # under a key it has to be the same request
                body["conversation_id"] = self.conversation_id
            await asyncio.sleep(PAUSE)
        await self.faults.over(message)

    def _sends_again(self, message: Message, attempt: Attempt) -> bool:
        """Who hung up on a server that goes on gets no second answer without a key."""
        left_alive = attempt.left and not self.faults.froze(message)
        return self.scenario.persistent and (self.scenario.keyed or not left_alive)

    def _learn(self, attempt: Attempt) -> None:
        if self.scenario.attentive and "conversation_id" in attempt.details:
            self.conversation_id = attempt.details["conversation_id"]

    async def _attempt(
        self, message: Message, body: dict[str, Any], key: str | None, number: int
    ) -> Attempt:
        random = Random(f"{message.text} {number}")  # noqa: S311  # repeatable, not secret
        replica = await self.stage.fleet.choose(random)
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        asking = asyncio.create_task(
            self.http.post(f"{replica.address}/api/chat", json=body, headers=headers)
        )
        self._say(message, Attempt(replica.name, 0), "sent")
        self.faults.sent(message, replica)
        started = perf_counter()
        attempt = Attempt(replica.name, 0)
        leaving = asyncio.create_task(self.faults.leaving[message.number].wait())
        await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            self.faults.leaving[message.number] = asyncio.Event()
            attempt.left = not asking.done()
            asking.cancel()
        leaving.cancel()
        try:
            answer = await asking
        except (httpx.HTTPError, asyncio.CancelledError) as error:
            attempt.late = isinstance(error, httpx.TimeoutException)
            self._say(message, attempt, f"lost: {type(error).__name__}")
        else:
            attempt.left, attempt.status, attempt.body = False, answer.status_code, answer.json()
            self._say(message, attempt, f"{answer.status_code} {_gist(answer)}")
        attempt.seconds = perf_counter() - started
        return attempt

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _say(self, message: Message, attempt: Attempt, what: str) -> None:
        self.stage.say(self.scenario.seed, f"message {message.number} at {attempt.replica}: {what}")

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Another request of this person, made until it is answered without a failure."""
        random = Random(path)  # noqa: S311  # repeatable, not secret
        headers = self.headers | options.pop("headers", {})
        for _ in range(ATTEMPTS):
            replica = await self.stage.fleet.choose(random)
            try:
                answer = await self.http.request(
                    method, f"{replica.address}{path}", headers=headers, **options
                )
            except httpx.HTTPError:
                continue
            if answer.status_code < 500:
                return answer
            await asyncio.sleep(PAUSE)
        raise NeverAnswered(f"{method} {path}")


def _gist(answer: httpx.Response) -> str:
    """What an answer says, in a line."""
    body = answer.json()
    if answer.status_code != 200:
        return f"{body['error']['code']} {body['error']['details']}"[:300]
    calls = [f"{call['tool']} {call['args']}" for call in body["tool_calls"] or []]
    replayed = answer.headers.get("Idempotency-Replayed", "")
    return f"{replayed} in {body['conversation_id']}: {'; '.join(calls)}"
