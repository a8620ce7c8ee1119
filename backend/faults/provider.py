"""The provider of the suite: plays the model for each scenario and lets its faults in."""

from collections.abc import Iterator
from contextlib import contextmanager

from backend.faults.injections import Faults
from backend.faults.model import answer
from backend.faults.scenario import TAG, Message, Scenario
from backend.tests.support.provider_wire import Failure, Request, Step


class Provider:
    """Knows by its tag which scenario's message a request is about."""

    def __init__(self) -> None:
        self._playing: dict[int, tuple[Scenario, Faults]] = {}

    @contextmanager
    def playing(self, scenario: Scenario, faults: Faults) -> Iterator[None]:
        """Answer for `scenario` inside the block."""
        self._playing[scenario.seed] = (scenario, faults)
        try:
            yield
        finally:
            del self._playing[scenario.seed]

    def step(self, request: Request) -> Step:
        """What is done about a request; one of a scenario that is over is refused."""
        said = [str(item["content"]) for item in request.items if item.get("role") == "user"]
        tag = TAG.search(said[-1])
        if tag is None or int(tag[1]) not in self._playing:
            return Failure(404)
        scenario, faults = self._playing[int(tag[1])]
        message = _message(scenario, int(tag[2]))
        if message.text != said[-1]:
            faults.complaints.append(f"message {message.number} reached the model changed")
        return faults.asked(
            message,
            answer(
                message,
                request.items,
                together=scenario.together,
                stubborn=scenario.stubborn,
                bulk=scenario.bulk,
            ),
        )


def _message(scenario: Scenario, number: int) -> Message:
    messages = (message for round_ in scenario.rounds for message in round_)
    return next(message for message in messages if message.number == number)
