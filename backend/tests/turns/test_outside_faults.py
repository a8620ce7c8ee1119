"""A short form of what `make faults` does to calls of outside tools: either end is killed."""

from typing import Any

import pytest

from backend.faults.outside import play_all
from backend.faults.outside_cases import Case, Moment, Victim, breaches

pytestmark = [pytest.mark.long, pytest.mark.waits]

ONCE = Case("plain_send", Moment.DONE, Victim.SERVICE)
AGAIN = Case("keyed_send", Moment.DONE, Victim.SERVICE)


OF_THE_TOOLSET = [
    Case("plain_set", Moment.DONE, Victim.TOOLSET),
    Case("keyed_send", Moment.ASKED, Victim.TOOLSET),
]


@pytest.mark.parametrize(
    "cases", [[AGAIN], pytest.param([ONCE, *OF_THE_TOOLSET], marks=pytest.mark.e2e)]
)
async def test_no_outside_call_is_silently_lost_or_silently_made_again(cases: list[Case]) -> None:
    assert await play_all(cases, stages=2) == []


DONE = {"success": True}
UNKNOWN = {"success": False, "error_code": "OUTCOME_UNKNOWN"}
FAILED = {"success": False, "error_code": "TOOLSET_DOWN"}


@pytest.mark.parametrize(
    ("case", "results", "deeds", "holds"),
    [
        (ONCE, [UNKNOWN], 1, True),
        (ONCE, [UNKNOWN], 0, True),
        (ONCE, [DONE], 1, True),
        (ONCE, [DONE, DONE], 2, False),
        (ONCE, [], 1, False),
        (ONCE, [DONE], 0, False),
        (ONCE, [FAILED], 1, False),
        (AGAIN, [UNKNOWN], 1, False),
        (AGAIN, [DONE], 2, False),
        (Case("plain_set", Moment.DONE, Victim.SERVICE), [DONE], 2, True),
    ],
)
def test_what_is_lost_or_made_again_is_found_out(
    case: Case, results: list[dict[str, Any]], deeds: int, holds: bool
) -> None:
    answer = {"tool_calls": [{"result": result} for result in results] or None}
    assert (breaches(case, answer, [{"n": 1}] * deeds) == []) is holds
