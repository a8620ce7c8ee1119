"""Which deaths a call of an outside tool is put through, and what has to hold after each."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

from backend.faults.outside_server import SEND, SET


class Moment(StrEnum):
    AWAY = "before the call"
    ASKED = "before its effect"
    DONE = "between its effect and its answer"
    ANSWERED = "after its answer"


class Victim(StrEnum):
    SERVICE = "the service"
    TOOLSET = "the toolset"


@dataclass(frozen=True)
class Case:
    tool: str
    """As the model knows it: of a toolset that takes keys, or of one that does not."""
    moment: Moment
    victim: Victim

    @property
    def once(self) -> bool:
        """Whether it may be done once at the most."""
        return not self.tool.endswith(SET)

    @property
    def repeats(self) -> bool:
        """Whether a call of unknown outcome may be made again, so that it is known in the end."""
        return self.tool != f"plain_{SEND}"

    def __str__(self) -> str:
        return f"{self.tool}, {self.victim} killed {self.moment}"


CASES = [
    Case(tool, moment, victim)
    for tool, moment, victim in product(
        (f"plain_{SEND}", f"keyed_{SEND}", f"plain_{SET}"), Moment, Victim
    )
    if (moment, victim) != (Moment.AWAY, Victim.SERVICE)
]


def breaches(case: Case, answer: dict[str, Any], done: list[dict[str, Any]]) -> list[str]:
    calls = answer["tool_calls"] or []
    wrong = []
    if case.once and len(done) > 1:
        wrong.append(f"done {len(done)} times")
    if done and not calls:
        wrong.append("done, and not on record")
    succeeded = [call for call in calls if call["result"]["success"]]
    unknown = [call for call in calls if call["result"].get("error_code") == "OUTCOME_UNKNOWN"]
    if succeeded and not done:
        wrong.append("on record as done, and was not")
    if done and not succeeded and not unknown:
        wrong.append("done, and on record as failed")
    if case.repeats and not succeeded:
        wrong.append("might have been asked again, and is not known to be done")
    return wrong
