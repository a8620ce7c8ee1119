"""What can go wrong, as the client sees it.

    AppError
    ├── InvalidSession            401  INVALID_SESSION
    ├── NotFound                  404
    │   ├── ConversationNotFound       CONVERSATION_NOT_FOUND
    │   ├── TaskNotFound               TASK_NOT_FOUND
    │   ├── StepNotFound               STEP_NOT_FOUND
    │   ├── ProjectNotFound            PROJECT_NOT_FOUND
    │   ├── FeedNotFound               FEED_NOT_FOUND
    │   └── MessageNotFound            MESSAGE_NOT_FOUND
    ├── Conflict                  409
    │   ├── TurnInProgress             TURN_IN_PROGRESS
    │   ├── AlreadyUndone              ALREADY_UNDONE
    │   ├── MessageChanged             MESSAGE_CHANGED
    │   ├── NotPending                 NOT_PENDING
    │   ├── AlreadyDecided             ALREADY_DECIDED
    │   ├── NothingToUndo              NOTHING_TO_UNDO
    │   ├── OutsideChanged             OUTSIDE_CHANGED
    │   ├── TaskChanged                TASK_CHANGED
    │   └── BeingErased                ACCOUNT_BEING_DELETED
    ├── ValidationFailed          422  VALIDATION_ERROR
    ├── RateLimited               429  RATE_LIMIT_EXCEEDED
    │   ├── TooManyTurns
    │   ├── TooManyViewers
    │   └── BudgetSpent
    ├── RequestRefused                 four kinds, in `backend.web.refusals`
    ├── DatabaseUnavailable       503  SERVICE_UNAVAILABLE
    ├── SignInUnavailable         503  SERVICE_UNAVAILABLE
    ├── Stopping                  503  SERVICE_UNAVAILABLE
    └── ChatError                 500                          in `backend.chat_errors`

A service raises one; `backend.web.envelope` renders it, and every error of the framework, in the
one envelope of the contract.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import InterfaceError, OperationalError
from psycopg.errors import (
    IdleInTransactionSessionTimeout,
    ReadOnlySqlTransaction,
    TransactionTimeout,
)


class StartFailure(Exception):
    """Why the service cannot start: one line that says what to do, and quotes no secret."""


class AppError(Exception):
    """An expected failure: `status`, a stable `code`, a sentence for a person.

    `details` and `headers` go out with the answer, so neither may hold a provider's text,
    a key, SQL or a path.
    """

    status = 500
    code = "INTERNAL_SERVER_ERROR"
    message = "Something went wrong on our side. Please try again."

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or self.message
        self.details = details
        self.headers = dict(headers or {})
        super().__init__(self.message)


class InvalidSession(AppError):
    """No session token, or one that is unknown, malformed or expired."""

    status, code = 401, "INVALID_SESSION"
    message = "Please sign in again."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"})


class NotFound(AppError):
    """Not there, deleted, or someone else's: three cases, one answer."""

    status, code = 404, "NOT_FOUND"
    message = "Not found"


class ConversationNotFound(NotFound):
    code = "CONVERSATION_NOT_FOUND"
    message = "Conversation not found"


class TaskNotFound(NotFound):
    code = "TASK_NOT_FOUND"
    message = "Task not found"


class StepNotFound(NotFound):
    code = "STEP_NOT_FOUND"
    message = "Step not found"


class ProjectNotFound(NotFound):
    code = "PROJECT_NOT_FOUND"
    message = "Project not found"


class FeedNotFound(NotFound):
    code = "FEED_NOT_FOUND"
    message = "There is no such calendar."


class MessageNotFound(NotFound):
    code = "MESSAGE_NOT_FOUND"
    message = "Message not found"


class Conflict(AppError):
    """What is asked for does not go with how things stand."""

    status, code = 409, "CONFLICT"
    message = "This cannot be done as things stand."


RUNNING_RETRY_S = 5
"""Seconds after which to look again for a turn that another request runs."""


class TurnInProgress(Conflict):
    """The turn is still being run; under a key, past the time a second request waits."""

    code = "TURN_IN_PROGRESS"
    message = "This message is still being worked on. Please try again in a moment."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(RUNNING_RETRY_S)})


class AlreadyUndone(Conflict):
    """The person has taken back what this turn changed."""

    code = "ALREADY_UNDONE"
    message = "This has been undone already."


class MessageChanged(Conflict):
    """The message was sent before under the same id with another text, or is not the newest."""

    code = "MESSAGE_CHANGED"
    message = "This message was sent before with another text."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)


class NotPending(Conflict):
    """No call of this message waits for a decision under such an id, or not any more."""

    code = "NOT_PENDING"
    message = "Nothing here waits for this decision any more."


class AlreadyDecided(Conflict):
    """The call was decided before, and otherwise."""

    code = "ALREADY_DECIDED"
    message = "This has been decided already."


class NothingToUndo(Conflict):
    """The message changed nothing, or was written before changes were kept to be undone."""

    code = "NOTHING_TO_UNDO"
    message = "There is nothing to undo here."


class OutsideChanged(Conflict):
    """The message had outside tools do what cannot be taken back; `not_undone` are those calls."""

    code = "OUTSIDE_CHANGED"
    message = "This cannot be asked again, because it has changed something outside of this app."

    def __init__(self, not_undone: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(details={"not_undone": list(not_undone)})


class TaskChanged(Conflict):
    """Tasks were changed since; `tasks` are their ids and titles."""

    code = "TASK_CHANGED"
    message = "This cannot be undone, because a task was changed since."

    def __init__(self, tasks: Sequence[tuple[int, str]] = ()) -> None:
        named = [{"task_id": task_id, "title": title} for task_id, title in tasks]
        super().__init__(details={"tasks": named})


ERASING_RETRY_S = 5
"""Seconds after which to try again what is refused while all of a person is deleted."""


class BeingErased(Conflict):
    """All of the person is being deleted, and nothing new of theirs is taken until it is gone."""

    code = "ACCOUNT_BEING_DELETED"
    message = "Everything of yours is being deleted. Please wait until that is done."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(ERASING_RETRY_S)})


class ValidationFailed(AppError):
    """Input that breaks a rule; `details` lists `{field, message, type}`."""

    status, code = 422, "VALIDATION_ERROR"
    message = "The request is not valid."


class RateLimited(AppError):
    """Too many calls; `retry_after` is in whole seconds, 1 or more."""

    status, code = 429, "RATE_LIMIT_EXCEEDED"
    message = "Too many requests. Please wait a moment and try again."

    def __init__(self, retry_after: int, *, details: Any = None) -> None:
        super().__init__(details=details, headers={"Retry-After": str(max(1, retry_after))})


class TooManyTurns(RateLimited):
    """As many of the user's turns are running as may run at once, over all processes."""

    message = "Your earlier messages are still being answered. Please wait for them."


class TooManyViewers(RateLimited):
    """The person has as many streams open at this process as they may."""

    message = "Too many windows are following your messages. Please close some."

    def __init__(self) -> None:
        super().__init__(5)


class BudgetSpent(RateLimited):
    """The user's turns have used the tokens of the day, which `details` say."""

    message = "Today's allowance for the assistant is used up. It is renewed at midnight UTC."


class DatabaseUnavailable(AppError):
    """Postgres is away, restarting, or has no connection free."""

    status, code = 503, "SERVICE_UNAVAILABLE"
    message = "The service is not available right now. Please try again in a moment."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class SignInUnavailable(AppError):
    """What judges the token is out of reach: Better Auth's keys, or its table is not readable."""

    status, code = 503, "SERVICE_UNAVAILABLE"
    message = "The service is not available right now. Please try again in a moment."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "5"})


class Stopping(AppError):
    """The process was told to stop: it ends what it has begun and wants nothing new."""

    status, code = 503, "SERVICE_UNAVAILABLE"
    message = "The service is stopping."


_AWAY = ReadOnlySqlTransaction | IdleInTransactionSessionTimeout | TransactionTimeout


def is_outage(error: Exception) -> bool:
    """Whether the database was away, as against a statement of ours that is wrong.

    One that can only be read is away too: it was the primary before a failover. So is one that
    has ended a transaction for taking too long, of which psycopg does not know that it is.
    """
    return isinstance(error, OperationalError | InterfaceError | _AWAY)
