"""What a case is: a list as it stands, what is said, and how the list must stand afterwards."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

ZONE = "Europe/Berlin"
"""The person's zone in every case that names no other."""

Group = Literal[
    "single",
    "ids from context",
    "it",
    "several in one",
    "bulk",
    "dates",
    "zones",
    "tags",
    "recurrence",
    "ambiguity",
    "not found",
    "undo then go on",
    "failure then retry",
    "languages",
    "past the cut",
    "hostile texts",
    "small talk",
    "reading",
    "projects",
    "steps",
]


@dataclass(frozen=True, slots=True)
class Day:
    """A day counted from the person's today, or the next one of a weekday (Monday is 0)."""

    after: int = 0
    weekday: int | None = None
    at: str | None = None
    """A time there, as HH:MM; None is the day alone."""

    def on(self, today: date) -> date:
        if self.weekday is None:
            return today + timedelta(self.after)
        return today + timedelta((self.weekday - today.weekday()) % 7 + self.after)

    def matches(self, due: datetime | None, today: date, zone: str) -> bool:
        """Whether a task's `due_date` is this day where the person is, and this time if it has one.

        A day alone is taken at any hour of it, at midnight UTC as well.
        """
        if due is None:
            return False
        local, wanted = due.astimezone(ZoneInfo(zone)), self.on(today)
        if self.at is None:
            return wanted in (local.date(), due.date())
        return (local.date(), f"{local:%H:%M}") == (wanted, self.at)

    def iso(self, today: date) -> str:
        return self.on(today).isoformat()


def weekday(name: str, at: str | None = None, after: int = 0) -> Day:
    days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return Day(after=after, weekday=days.index(name), at=at)


TODAY, TOMORROW = Day(), Day(1)


@dataclass(frozen=True, slots=True)
class Seed:
    """A task that is on the list before anything is said."""

    title: str
    due: Day | None = None
    completed: bool = False
    priority: str = "medium"
    tags: tuple[str, ...] = ()
    recurrence: str = "none"
    project: str | None = None
    """By its name; it is one of the case's."""
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a task must be like; what is None does not matter, `no_due` that it has no date."""

    words: tuple[str, ...] = ()
    """Each stands in the title or the description, in any case of letters; `a|b` is either."""
    due: Day | None = None
    no_due: bool = False
    priority: str | None = None
    tags: frozenset[str] | None = None
    recurrence: str | None = None
    project: str | None = None
    """By its name; "" is none."""
    steps: tuple[str, ...] | None = None
    """Their titles, in any case of letters, in this order."""


def new(*words: str, **values: Any) -> Wanted:
    return Wanted(words, **values)


@dataclass(frozen=True, slots=True)
class EvalCase:
    """One case; whatever of `seeds` is not named in what follows must stay as it was."""

    name: str
    group: Group
    says: tuple[str, ...]
    seeds: dict[str, Seed] = field(default_factory=dict)
    """By short names, the oldest first."""
    projects: tuple[str, ...] = ()
    """The person's projects, by name."""
    added: tuple[Wanted, ...] = ()
    done: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    changed: dict[str, Wanted] = field(default_factory=dict)
    shows: frozenset[str] | None = None
    """Of the seeds, exactly those whose titles the last answer has; None: it does not matter."""
    undo_after: int | None = None
    """The number, from 0, of the message whose changes the person then takes back."""
    fails: int | None = None
    """The call of the model, from 0, that fails; what was said is then sent again."""
    zone: str = ZONE
    history_limit: int = 50
    offline: bool = False
    """Whether the built-in model has to get it right."""

    @property
    def changes_nothing(self) -> bool:
        return not (self.added or self.done or self.deleted or self.changed)


def case(name: str, group: Group, *says: str, **values: Any) -> EvalCase:
    """A case; sets may be given as tuples or a single name."""
    for key in ("done", "deleted", "shows"):
        if isinstance(values.get(key), str):
            values[key] = (values[key],)
        if values.get(key) is not None:
            values[key] = frozenset(values[key])
    if isinstance(values.get("added"), Wanted):
        values["added"] = (values["added"],)
    return EvalCase(name, group, says, **values)
