"""Failures that come with a good status, or with another one than they mean."""

import re
from typing import Any

_FAILURE_WORDS = re.compile(
    r"error|fail|sensitive|abort|cancel|network|insufficient|exceeded|malformed|overload"
    r"|unavailable|time.?out|queued|in_progress|incomplete",
    re.IGNORECASE,
)
_FILTERED = re.compile("content_filter|safety|refusal", re.IGNORECASE)
_TOO_LONG = re.compile(r"context|window|prompt", re.IGNORECASE)
"""Of reasons to end in which something was exceeded."""
_STATUS_BY_WORD = (
    (re.compile(r"invalid.?api.?key|authenticat|unauthori", re.IGNORECASE), 401),
    (re.compile(r"insufficient.?(quota|balance|credit|funds)|billing", re.IGNORECASE), 402),
    (re.compile(r"permission|forbidden", re.IGNORECASE), 403),
    (re.compile(r"rate.?limit|too.?many.?requests|throttl|resource.?exhausted", re.I), 429),
    (re.compile(r"context.?length|too.?long|invalid.?request|invalid.?prompt", re.I), 400),
    (re.compile(r"overload|unavailable|capacity", re.IGNORECASE), 503),
    (re.compile(r"time.?out|deadline", re.IGNORECASE), 504),
)
"""What the code or the type of an error says, where no number does."""
AGAIN = frozenset({409, 425, 498})
"""Statuses that mean: ask again; Groq sends 498 where it has no room."""


class Failed(Exception):
    """An answer that is a failure whatever its status says.

    `status` is what it should have been; `again` is whether it may help to ask once more.
    """

    def __init__(self, status: int, error: dict[str, Any], *, again: bool = True) -> None:
        self.status = status
        self.error = error
        self.again = again
        super().__init__(status)


class BrokenOff(Exception):
    """A stream that ended before its answer; one that never `began` was none."""

    def __init__(self, *, began: bool) -> None:
        self.began = began
        super().__init__(began)


def raise_failure(body: dict[str, Any]) -> None:
    """See that no error lies in a body, or in the place of its answer.

    Raises:
        Failed: one does.
    """
    error = body.get("error")
    if error and not body.get("choices") and not body.get("output"):
        raise failed(error)
    for told in ("code", "status"):
        # {"code": 429, "message": "..."} as some gateways have it
        value = body.get(told)
        if "choices" not in body and "output" not in body and _number(value):
            raise failed({"code": value, "message": body.get("message") or body.get("msg")})


def failed(error: object) -> Failed:
    """The failure that an error object tells of, wherever it stood."""
    told = error if isinstance(error, dict) else {"message": error}
    names = " ".join(str(told.get(name) or "") for name in ("code", "type", "status"))
    message = str(told.get("message") or "")[:2000]
    status = _number(told.get("code")) or _number(told.get("status"))
    if not status:
        status = _status_of(names) or _status_of(message) or 502
    return Failed(status, told | {"message": message})


def raise_bad_end(reason: object, error: object = None) -> None:
    """See that an answer ended by itself; `error` is what stands beside its reason.

    Raises:
        Failed: it was broken off by the provider, so what there is of it is not an answer.
    """
    if error:
        raise failed(error)
    words = reason if isinstance(reason, str) else ""
    if not _FAILURE_WORDS.search(words) or _FILTERED.search(words):
        return
    if "exceeded" in words and _TOO_LONG.search(words):
        raise Failed(400, {"code": "context_length_exceeded", "message": words})
    raise Failed(502, {"code": words, "message": words}, again="sensitive" not in words)


def _number(value: object) -> int | None:
    """A status of HTTP among the failures, as a number or as its digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:4])
    known = isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599
    return int(str(value)) if known else None


def _status_of(words: str) -> int | None:
    return next((status for form, status in _STATUS_BY_WORD if form.search(words)), None)
