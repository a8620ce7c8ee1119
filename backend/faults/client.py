"""A person with the chat open: sends a message, and sends it again when that fails."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from time import perf_counter, time
from typing import Any

import httpx

from backend.faults.deciding import approved, outlive
from backend.faults.fleet import Replica
from backend.faults.injections import Faults
from backend.faults.scenario import Message, Scenario
from backend.faults.sendings import Attempt, Sent
from backend.faults.stage import Stage
from backend.faults.streams import Seen, view

GIVE_UP = 60.0
"""Seconds after which a message is not sent again; the faults have an end long before."""
PATIENCE = 40.0
"""Seconds that an answer may take: waiting for a dead run, a run, an outage at its end."""
CONFLICT = 409
"""What those are answered that others have overtaken."""
DECIDERS = 2
"""Streams that decide at once for each message that waits: of those that are sent again at the same
moment each decides, and a person may have ten streams."""
PAUSE = 0.25
"""Seconds before a message is sent again."""


class NeverAnswered(Exception):
    """Nobody answered a request, however often it was made."""


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
        began = perf_counter()
        while await self._send_once(sent) and perf_counter() < began + GIVE_UP:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)  # as a person does, of whom no event tells
        await self.faults.over(message)

    async def _send_once(self, sent: Sent) -> bool:
        """Send it, several times at once perhaps if it is not the first time; whether to go on."""
        number = sent.attempts[-1].round + 1 if sent.attempts else 0
        times = self.scenario.resends if number else 1
        sending = [self._attempt(sent, number) for _ in range(times)]
        attempts = await asyncio.gather(*sending)
        for attempt in attempts:
            self._learn(sent, attempt)
        return self.scenario.persistent and sent.answered is None

    def _learn(self, sent: Sent, attempt: Attempt) -> None:
        """Where it is being talked: this message too, if it is sent again, and not elsewhere."""
        if attempt.status == 200:
            self.conversation_id = attempt.body["conversation_id"]
        elif self.scenario.attentive and "conversation_id" in attempt.details:
            self.conversation_id = attempt.details["conversation_id"]
        else:
            return
        if sent.key is None:  # under a key it has to be the same request
            sent.body["conversation_id"] = self.conversation_id

    async def _attempt(self, sent: Sent, number: int) -> Attempt:
        message = sent.message
        replica = await self._choose(message.text, len(sent.attempts))
        attempt = Attempt(replica.name, number, replica.standstills)
        sent.attempts.append(attempt)
        ask = self._ask_streamed if self.scenario.streamed else self._ask
        asking = asyncio.create_task(ask(replica, sent, attempt))
        self._say(message, attempt, "sent")
        self.faults.sent(message, replica)
        started = perf_counter()
        leave = self.faults.leaving[message.number]
        leaving = asyncio.create_task(leave.wait())
        await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            if self.faults.leaving[message.number] is leave:
                self.faults.leaving[message.number] = asyncio.Event()
            asking.cancel()
        leaving.cancel()
        try:
            await asking
        except (httpx.HTTPError, asyncio.CancelledError) as error:
            attempt.late = isinstance(error, httpx.TimeoutException)
            if isinstance(error, asyncio.CancelledError):
                await asyncio.sleep(0)  # what was closed is closed then
                attempt.left = time()
            self._say(message, attempt, f"lost: {type(error).__name__}")
        else:
            attempt.heard = time()
            self._say(message, attempt, _gist(attempt))
        attempt.seconds = perf_counter() - started
        return attempt

    async def _ask(self, replica: Replica, sent: Sent, attempt: Attempt) -> None:
        headers = self.headers | ({"Idempotency-Key": sent.key} if sent.key else {})
        body = sent.body | ({"approvals": True} if self.scenario.approves else {})
        answer = await self.http.post(
            f"{replica.address}/api/chat",
            json=body,
            headers=headers,
            extensions={"trace": partial(_note_written, attempt)},
        )
        status, said = answer.status_code, answer.json()
        while status == 200 and said.get("approvals"):
            status, said = await self._approve(sent, attempt, said)
        attempt.status, attempt.body = status, said
        attempt.replayed = answer.headers.get("Idempotency-Replayed") == "true"

    async def _approve(self, sent: Sent, attempt: Attempt, said: Any) -> tuple[int, Any]:
        """Decide all that is asked, several times at once perhaps; status and body of one."""
        asked = said["approvals"]
        path = f"/api/messages/{said['message_id']}/approvals"
        if self.scenario.outlives:
            await outlive(self.stage, said["message_id"])
        where = [
            await self._choose(f"{asked} {number}", number)
            for number in range(self.scenario.resends)
        ]
        answers = await asyncio.gather(
            *(
                self.http.post(
                    f"{each.address}{path}",
                    json={"decisions": self._decisions(asked, sender)},
                    headers=self.headers,
                )
                for sender, each in enumerate(where)
            ),
            return_exceptions=True,
        )
        heard = [each for each in answers if isinstance(each, httpx.Response)]
        answer = min(heard, key=lambda each: each.status_code == CONFLICT, default=None)
        if answer is None:
            raise httpx.ReadError("no decision was answered")
        self._say(sent.message, attempt, f"decided {len(asked)}: {answer.status_code}")
        body = answer.json()
        if answer.status_code == 200:
            body |= {"response": body["content"], "message_id": body["id"]}
        return answer.status_code, body

    async def _ask_streamed(self, replica: Replica, sent: Sent, attempt: Attempt) -> None:
        part = {"type": "text", "text": sent.message.text}
        message = {"id": f"m{sent.message.number}", "role": "user", "parts": [part]}
        attempt.seen = Seen(replica.name)
        await view(
            self.http,
            "POST",
            attempt.seen,
            f"{replica.address}/api/ui/chat",
            json={"id": self.chat, "message": message, "trigger": "submit-message"},
            headers=self.headers,
        )
        seen = attempt.seen
        while seen.end == "finish" and seen.pending:
            seen = await self._approve_streamed(sent, attempt, seen)
        attempt.status, attempt.body = seen.as_answer()

    async def _approve_streamed(self, sent: Sent, attempt: Attempt, asked: Seen) -> Seen:
        """Decide all that is asked as `useChat` does, several times at once perhaps."""
        if self.scenario.outlives:
            await outlive(self.stage, asked.message_id)
        posted = [
            await self._choose(f"{asked.pending} {number}", number)
            for number in range(min(self.scenario.resends, DECIDERS))
        ]
        more = [Seen(each.name, known=asked.whole) for each in posted]
        sent.views += more
        lost = await asyncio.gather(
            *(
                view(
                    self.http,
                    "POST",
                    seen,
                    f"{replica.address}/api/ui/chat",
                    json=self._decided(asked, sender),
                    headers=self.headers,
                )
                for sender, (replica, seen) in enumerate(zip(posted, more, strict=True))
            ),
            return_exceptions=True,
        )
        self._say(
            sent.message, attempt, f"decided {len(asked.pending)}: {[s.status for s in more]}"
        )
        heard = [s for s, error in zip(more, lost, strict=True) if error is None]
        return min(heard, key=lambda seen: seen.status == CONFLICT, default=more[0])

    def _decisions(self, asked: list[Any], sender: int) -> list[dict[str, Any]]:
        return [
            {"id": each["id"], "approved": approved(self.scenario, each["tool"], sender)}
            for each in asked
        ]

    def _decided(self, asked: Seen, sender: int) -> dict[str, Any]:
        """The body in which `useChat` sends back a message with what was decided."""
        parts = [
            {
                "type": "tool-any",
                "toolCallId": each["call"],
                "state": "approval-responded",
                "approval": decision,
            }
            for each, decision in zip(
                asked.pending, self._decisions(asked.pending, sender), strict=True
            )
        ]
        message = {"id": str(asked.message_id), "role": "assistant", "parts": parts}
        return {"id": self.chat, "message": message, "trigger": "submit-message"}

    async def answer_again(self, sent: Sent) -> Attempt:
        """Ask for what was answered, under its key, until it comes."""
        began = perf_counter()
        while perf_counter() < began + GIVE_UP:
            replica = await self._choose(f"{sent.message.text} again", 0)
            attempt = Attempt(replica.name)
            ask = self._ask_streamed if self.scenario.streamed else self._ask
            with suppress(httpx.HTTPError):
                await ask(replica, sent, attempt)
                if attempt.status is not None and attempt.status < 500:
                    return attempt
            await asyncio.sleep(PAUSE)
        raise NeverAnswered(f"message {sent.message.number} again")

    @property
    def chat(self) -> str:
        """The client's own name of the chat."""
        return f"chat {self.scenario.seed}"

    async def _choose(self, text: str, number: int) -> Replica:
        """Where the `number`th sending goes; a patient run's next ones to the other server."""
        slots = self.stage.ordinary
        if self.scenario.patient:
            slots = [self.stage.patient[min(number, 1)]]
        random = Random(f"{text} {number}")  # noqa: S311  # repeatable, not secret
        return await self.stage.fleet.choose(random, slots)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _say(self, message: Message, attempt: Attempt, what: str) -> None:
        self.stage.say(self.scenario.seed, f"message {message.number} at {attempt.replica}: {what}")

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Another request of this person, made until it is answered without a failure."""
        random = Random(path)  # noqa: S311  # repeatable, not secret
        headers = self.headers | options.pop("headers", {})
        began = perf_counter()
        while perf_counter() < began + GIVE_UP:
            replica = await self.stage.fleet.choose(random, self.stage.ordinary)
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


async def _note_written(attempt: Attempt, event: str, _: object) -> None:
    if event == "http11.send_request_body.complete":
        attempt.sent = time()


def _gist(attempt: Attempt) -> str:
    """What an answer says, in a line."""
    if attempt.status is None:
        return "cut"
    if attempt.status != 200:
        error = attempt.body["error"]
        return f"{attempt.status} {error['code']} {error['details']}"[:300]
    calls = [f"{call['tool']} {call['args']}" for call in attempt.body["tool_calls"] or []]
    how = attempt.seen.end if attempt.seen else "again" * attempt.replayed
    return f"200 {how} in {attempt.body['conversation_id']}: {'; '.join(calls)}"
