"""A few in the suite, many for `make hunt`."""

from typing import Any

import pytest


def seeds(few: int, many: int = 200, *, first: int = 0) -> list[Any]:
    """The numbers of random sequences from `first` on: `few` in the suite, the rest hunted."""
    hunted = [pytest.param(seed, marks=pytest.mark.hunt) for seed in range(first + few, many)]
    return [*range(first, first + few), *hunted]
