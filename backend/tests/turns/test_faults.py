"""A short form of `make faults`: the service broken on purpose, judged from its tables alone."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from backend.faults.report import Stories
from backend.faults.scenario import Kind
from backend.faults.seeds import scenario_of
from backend.faults.suite import play_broken, play_scenarios

pytestmark = pytest.mark.long

SHORT = (43, 71, 77, 85, 99, 118, 333, 1038, 1058, 2016)
"""Those that are over soonest; the later are streamed, and the last has calls to be approved."""
SEEDS = (
    *(20, 23, 25, 35, 37, 43, 53, 55, 71, 77, 85, 88, 99, 118, 169, 176, 192, 234, 333, 367),
    *(1010, 1038, 1042, 1045, 1052, 1058, 1107),
    *(2010, 2016, 2025),
)
"""Short ones that have every kind of fault among them; the later are streamed, and the last
have calls that are declined, decided both ways at once, and decided too late."""


def test_every_kind_of_fault_is_in_the_short_form() -> None:
    scenarios = map(scenario_of, SEEDS)
    assert {fault.kind for scenario in scenarios for fault in scenario.faults} == set(Kind)


@pytest.mark.parametrize("seeds", [SHORT, pytest.param(SEEDS, marks=pytest.mark.e2e)])
async def test_nothing_is_lost_and_nothing_is_done_twice_whatever_breaks(
    seeds: tuple[int, ...],
) -> None:
    scenarios = [scenario_of(seed) for seed in seeds]
    stories = Stories()
    results, wrong = await play_scenarios(
        scenarios,
        at_once=len(scenarios),
        replicas=4,
        minutes=3,
        say=stories.tell,
        progress=lambda _: None,
    )
    assert wrong == []
    assert {result.scenario.seed: result.wrong for result in results if result.wrong} == {}
    assert len(results) == len(scenarios)
    for result in results:  # each step is told, by the number of its seed
        assert any("message 1 at" in line for line in stories.of(result))


@pytest.mark.e2e
async def test_a_build_without_effect_and_record_in_one_transaction_is_found_out() -> None:
    results = await play_broken("record", 3, say=lambda *_: None)
    assert results
    assert all(result.wrong for result in results)


@pytest.mark.hunt
async def test_a_seed_is_played_again_by_its_number_and_each_step_is_told() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "backend.faults", "--seed", "12", "--replicas", "2", stdout=PIPE
    )
    said, _ = await process.communicate()

    assert process.returncode == 0, said.decode()
    assert "12  message 1 at" in said.decode()
    assert "1 of 1 scenarios" in said.decode()
