"""What the built-in model has to get right, over HTTP on the real service, judged by the rows."""

from datetime import date
from typing import Any

import pytest

from backend.evals.__main__ import evaluate
from backend.evals.case import EvalCase, Seed, case, new
from backend.evals.cases import all_cases
from backend.evals.judge import judge_rows, lie
from backend.evals.report import played
from backend.evals.run import Outcome
from backend.tests.support.fixtures import make_settings


@pytest.mark.parametrize("stride", [6, pytest.param(1, marks=pytest.mark.e2e)])
async def test_the_offline_model_gets_its_own_list_right(
    shared_database_url: str, stride: int
) -> None:
    settings = make_settings(shared_database_url, openai_model="offline", openai_api_key=None)
    cases = [each for each in all_cases() if each.offline][::stride]

    found = played(await evaluate(settings, shared_database_url, cases, at_once=4))

    wrong = {each.name: each.why for each in found if not (each.rows and each.truth)}
    assert not wrong
    assert sum(each.harm + each.raw + each.repeats for each in found) == 0


def test_there_are_at_least_120_cases_and_each_has_a_name_of_its_own() -> None:
    names = [each.name for each in all_cases()]
    assert len(names) >= 120
    assert len(set(names)) == len(names)


def outcome(case: EvalCase, tasks: list[dict[str, Any]], answer: str, *tools: str) -> Outcome:
    """What a case came to, by the tasks that are left of those with the ids 1, 2, ..."""
    names = enumerate(case.seeds.items(), 1)
    seeds = {name: task(number, seed.title) for number, (name, seed) in names}
    made = [{"tool": tool, "args": {}, "result": {"success": True}} for tool in tools]
    return Outcome(date(2026, 11, 25), seeds, {t["id"]: t for t in tasks}, [answer], [made])


def task(number: int, title: str, **values: Any) -> dict[str, Any]:
    plain = {"description": "", "completed": False, "priority": "medium", "due_date": None}
    more = {"recurrence_pattern": "none", "tags": [], "steps": []}
    return {"id": number, "title": title, **plain, **more, **values}


RENT_AND_MILK = {"rent": Seed("Pay rent"), "milk": Seed("Buy milk")}
DELETE_MILK = case("x", "single", "Delete the milk", seeds=RENT_AND_MILK, deleted="milk")


def test_the_wrong_task_deleted_is_a_fault_and_harm() -> None:
    found = judge_rows(DELETE_MILK, outcome(DELETE_MILK, [task(2, "Buy milk")], "Deleted it."))

    assert found.faults == ["rent: deleted", "milk: not deleted"]
    assert found.harmed == 1


def test_a_task_too_many_and_a_date_that_nobody_named_are_faults() -> None:
    wanted = case("x", "single", "Add milk", added=new("milk", no_due=True))
    dated = task(1, "Milk", due_date="2026-11-26T12:00:00Z")

    assert judge_rows(wanted, outcome(wanted, [dated], "")).faults == [
        "no task milk as wanted",
        "too many: Milk",
    ]


@pytest.mark.parametrize(
    ("answer", "tools", "true"),
    [
        ("I have deleted the milk.", ["delete_task"], True),
        ("I have deleted the milk.", [], False),
        ("I've added it.", ["list_tasks"], False),
        ("I could not find it, so I changed nothing.", ["list_tasks"], True),
    ],
)
def test_a_claim_without_a_change_is_not_true(answer: str, tools: list[str], true: bool) -> None:
    assert (lie(outcome(DELETE_MILK, [], answer, *tools)) is None) == true
