"""A short form of `make faults`: the service broken on purpose, judged from its tables alone."""

from backend.faults.scenario import killed_at_its_record, scenario_of
from backend.faults.suite import play_scenarios

MINUTES = 3


async def test_nothing_is_lost_and_nothing_is_done_twice_whatever_breaks() -> None:
    results, wrong = await play_scenarios(
        [scenario_of(seed) for seed in range(1, 17)],
        at_once=8,
        replicas=3,
        minutes=MINUTES,
        say=lambda *_: None,
        progress=lambda _: None,
    )
    assert wrong == []
    assert {result.scenario.seed: result.wrong for result in results if result.wrong} == {}
    assert len(results) == 16


async def test_a_build_without_effect_and_record_in_one_transaction_is_found_out() -> None:
    results, _ = await play_scenarios(
        [killed_at_its_record(seed) for seed in range(1, 4)],
        at_once=3,
        replicas=3,
        minutes=MINUTES,
        broken=True,
        say=lambda *_: None,
        progress=lambda _: None,
    )
    assert len(results) == 3
    assert all(result.wrong for result in results)
