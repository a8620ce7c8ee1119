"""Why a turn that was begun has no answer.

    ChatError                 500                          details.reason
    ├── AIServiceUnavailable  503  AI_SERVICE_UNAVAILABLE  timeout, connection, ...
    ├── ContextTooLong        503  AI_SERVICE_UNAVAILABLE  context_too_long
    ├── ToolFailed            500  INTERNAL_SERVER_ERROR   tool_failed
    └── TurnInterrupted       503  SERVICE_UNAVAILABLE     stopping
        ├── DatabaseLost      503  SERVICE_UNAVAILABLE     database
        ├── TurnBroken        503  SERVICE_UNAVAILABLE     broken_off
        └── TurnTakenUp       409  TURN_IN_PROGRESS        taken_up

A run raises one at its end. They are what `backend.errors` has, rendered like all others.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from backend.errors import AppError, DatabaseUnavailable, Stopping, TurnInProgress


class ChatError(AppError):
    """A turn that was begun has no answer, and `details.reason` says why, in one word.

    `so_far` says which turn it is and what it has done; it goes into `details` as well. `message`
    is the sentence on record, where something was done. `retry_after` is in seconds. `retryable`
    is whether the same message sent again is the same turn and may be answered; by default what
    `REASONS` says of the reason.
    """

    REASONS: Mapping[str, bool] = {}
    """The words that the error may have for it, and whether each is retryable."""

    def __init__(
        self,
        so_far: Mapping[str, Any],
        reason: str | None = None,
        *,
        message: str | None = None,
        retry_after: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        reason = reason or next(iter(self.REASONS))
        retryable = self.REASONS[reason] if retryable is None else retryable
        super().__init__(
            message,
            details={**so_far, "reason": reason, "retryable": retryable},
            headers={} if retry_after is None else {"Retry-After": str(max(1, retry_after))},
        )


class AIServiceUnavailable(ChatError):
    """The model gave no answer: slow past the limit, down, refusing, misconfigured, no key."""

    status, code = 503, "AI_SERVICE_UNAVAILABLE"
    message = "The assistant is not available right now. Please try again in a moment."
    REASONS = MappingProxyType(
        {
            "timeout": True,
            "connection": True,
            "rate_limited": True,
            "unavailable": True,
            "bad_answer": True,
            "refused": False,
            "not_configured": False,
        }
    )


class ContextTooLong(ChatError):
    """What the model would have to read is longer than it takes."""

    status, code = 503, "AI_SERVICE_UNAVAILABLE"
    message = "This is more than the assistant can read at once. Please write less, or start anew."
    REASONS = MappingProxyType({"context_too_long": False})


class ToolFailed(ChatError):
    """A tool could not go on, by a fault of our own; what it was at has not been done."""

    REASONS = MappingProxyType({"tool_failed": False})


class TurnInterrupted(ChatError):
    """Something else ended the turn: here, the order to the process to stop."""

    status, code = 503, "SERVICE_UNAVAILABLE"
    message = Stopping.message
    REASONS = MappingProxyType({"stopping": True})


class DatabaseLost(TurnInterrupted):
    """The database went away under the turn, in a tool or at the end."""

    message = DatabaseUnavailable.message
    REASONS = MappingProxyType({"database": True})


class TurnBroken(TurnInterrupted):
    """A turn that is watched has ended without an answer, elsewhere; why is not known here."""

    message = "This answer broke off. Please try again."
    REASONS = MappingProxyType({"broken_off": True})


class TurnTakenUp(TurnInterrupted):
    """Another request has taken the turn up, and answers it.

    It is retryable where the message has a key. Without one the same text is a message of its
    own once the turn is answered.
    """

    status, code = TurnInProgress.status, TurnInProgress.code
    message = TurnInProgress.message
    REASONS = MappingProxyType({"taken_up": True})
