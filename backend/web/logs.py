"""JSON log lines, one an event, that carry the request id and never a person's words.

An exception is logged with its stack and its type but not its message: a database's or a
provider's message quotes what was sent to it.
"""

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime

from backend.telemetry.spans import trace_fields

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request in hand, set by `backend.web.middleware`."""


def format_exception(error: BaseException) -> str:
    """The stack, and the types of `error` and of what it came from, without their messages."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        stack = "".join(traceback.format_tb(current.__traceback__))
        kind = f"{type(current).__module__}.{type(current).__qualname__}"
        code = getattr(current, "sqlstate", None) or getattr(current, "status_code", None)
        parts.append(f"{stack}{kind}{f' ({code})' if code else ''}")
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return "\ncaused by:\n".join(parts)


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message", "request_id", ...}`, one line whatever is in it.

    Inside a span `trace_id` and `span_id` as well.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["request_id"] = current
        line.update(trace_fields())
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = format_exception(record.exc_info[1])
        return json.dumps(line, default=str)


class StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is at that moment; a stream kept from the start may be closed."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:
            self.handleError(record)


def configure_logging(level: str) -> None:
    """Send every logger, uvicorn's too, to stderr as JSON; `level` is a name such as INFO.

    Doing it again replaces what was there. The libraries that log headers, requests or their
    bodies below some level stay at it whatever `level` says.
    """
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter())
    handler.set_name("json")
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if h.name != "json"]
    root.addHandler(handler)
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
    for name in (
        "openai",
        "httpx2",
        "httpcore2",
        "mcp",
        "agents",
        "openai.agents",
        "asyncio",
        "alembic.runtime.plugins",
        "urllib3",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
