"""Which of the listed tasks are due when a question asks for them."""

from datetime import date, timedelta
from typing import Any


def is_due(task: dict[str, Any], only: str | None, today: str) -> bool:
    """Whether a task is `overdue`, or due `today`, `tomorrow` or this `week`; None takes any.

    By the day that stands in its `due_date`; a week is today and the six days after it.
    """
    if only is None:
        return True
    try:
        due = date.fromisoformat(str(task.get("due_date"))[:10])
    except ValueError:
        return False
    now = date.fromisoformat(today)
    match only:
        case "overdue":
            return due < now and not task.get("completed")
        case "today":
            return due == now
        case "tomorrow":
            return due == now + timedelta(1)
    return now <= due < now + timedelta(7)
