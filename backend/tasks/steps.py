"""Steps: what a task is done by, one level deep, in an order. Pure.

An id is drawn and not counted up, so that a stale page never means another step by it.
"""

from collections.abc import Iterable, Sequence
from secrets import randbelow
from typing import Any, NotRequired, TypedDict

from backend.errors import StepNotFound, ValidationFailed
from backend.models import STEPS_MAX

STEP_ID_MAX = 2**31 - 1


class Step(TypedDict):
    id: int
    title: str
    done: bool


class StepChange(TypedDict, total=False):
    """What is to be another; `position` is its place from 0, past the end the last."""

    title: str
    done: bool
    position: int


class NewStep(TypedDict):
    """A step that a request wants; with the `id` of a stored step it is that one, changed."""

    title: str
    done: bool
    id: NotRequired[int | None]


def read_steps(stored: object) -> list[Step]:
    """The steps in a column; what is none is left out."""
    return [
        Step(id=each["id"], title=each["title"], done=each.get("done") is True)
        for each in (stored if isinstance(stored, list) else [])
        if isinstance(each, dict)
        and isinstance(each.get("id"), int)
        and isinstance(each.get("title"), str)
    ]


def as_steps(new: Iterable[NewStep]) -> list[Step]:
    """All steps of a task in their order; a double id and none are drawn anew.

    Raises:
        ValidationFailed: there are more than `STEPS_MAX`.
    """
    made: dict[int, Step] = {}
    for each in new:
        id_ = each.get("id")
        if id_ is None or id_ in made:
            id_ = _draw(made)
        made[id_] = Step(id=id_, title=each["title"], done=each["done"])
    return _bounded_steps(list(made.values()))


def with_titles(steps: Sequence[Step], wanted: Iterable[tuple[str, bool]]) -> list[Step]:
    """All steps by title and whether they are done; one that was there under its title stays it."""
    known = {step["title"]: step["id"] for step in reversed(steps)}
    return as_steps(
        NewStep(id=known.pop(title, None), title=title, done=done) for title, done in wanted
    )


def with_new(steps: Sequence[Step], title: str, done: bool, position: int | None) -> list[Step]:
    """`steps` and one more, at a place from 0 or at the end."""
    step = Step(id=_draw({each["id"] for each in steps}), title=title, done=done)
    return _bounded_steps(_placed(steps, step, len(steps) if position is None else position))


def with_change(steps: Sequence[Step], step_id: int, change: StepChange) -> list[Step]:
    """`steps` with one of them changed; `StepNotFound` where there is none of that id."""
    at = _find(steps, step_id)
    step = steps[at]
    changed = Step(
        id=step_id,
        title=change.get("title", step["title"]),
        done=change.get("done", step["done"]),
    )
    rest = [each for each in steps if each is not step]
    return _placed(rest, changed, change.get("position", at))


def without(steps: Sequence[Step], step_id: int) -> list[Step]:
    """`steps` without one of them; `StepNotFound` where there is none of that id."""
    at = _find(steps, step_id)
    return [*steps[:at], *steps[at + 1 :]]


def in_order(steps: Sequence[Step], ids: Iterable[int]) -> list[Step]:
    """`steps` in the order of `ids`; what they do not name stays behind, as it stood.

    Another page may have added or taken away steps since: no order loses or doubles one.
    """
    left = {step["id"]: step for step in steps}
    named = [left.pop(id_) for id_ in ids if id_ in left]
    return [*named, *left.values()]


def not_done(steps: Iterable[Step]) -> list[Step]:
    """The steps of a task that comes round again."""
    return [Step(id=step["id"], title=step["title"], done=False) for step in steps]


def _draw(taken: Any) -> int:
    while (drawn := 1 + randbelow(STEP_ID_MAX)) in taken:
        pass
    return drawn


def _find(steps: Sequence[Step], step_id: int) -> int:
    for at, step in enumerate(steps):
        if step["id"] == step_id:
            return at
    raise StepNotFound


def _placed(steps: Sequence[Step], step: Step, position: int) -> list[Step]:
    return [*steps[:position], step, *steps[position:]]


def _bounded_steps(steps: list[Step]) -> list[Step]:
    if len(steps) > STEPS_MAX:
        raise ValidationFailed(f"A task has at most {STEPS_MAX} steps.")
    return steps
