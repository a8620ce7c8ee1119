"""The cases, a module each for what belongs together."""

from collections.abc import Iterator

from backend.evals.case import EvalCase
from backend.evals.cases import dates, fields, one, people, reading, several, talk

MODULES = (one, several, dates, fields, reading, talk, people)


def all_cases() -> Iterator[EvalCase]:
    """Every case; names are unique."""
    for module in MODULES:
        yield from module.CASES
