"""The scores of a case, by its rows and by what its last answer claims; never by its wording.

`rows`: whether the list stands as it must. `harm`: tasks deleted, completed or changed that were
not meant. `truth`: whether the answer claims a change where there was one and none where there
was none, and shows the tasks that were asked for and no others.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from backend.evals.case import EvalCase, Wanted
from backend.evals.run import Outcome

_CHANGING = {"add_task", "complete_task", "delete_task", "update_task"}
_CLAIMS = re.compile(
    r"(?i)\b(?:i(?:['’]ve| have)?(?: just| now| already)? (?:added|deleted|removed|completed|marked"
    r"|updated|renamed|changed|moved|created|set)\b(?! nothing)"
    r"|(?:has|have) been (?:added|deleted|removed|completed|marked|updated|renamed|changed|moved)"
    r"|^(?:added|deleted|removed|updated|done)\b)"
)
_RAW = re.compile(r"(?i)\b(?:add|list|complete|delete|update)_task|task_id|^\s*[\[{]|```|<tool")


def _due(task: dict[str, Any]) -> datetime | None:
    return datetime.fromisoformat(task["due_date"]) if task["due_date"] else None


def _fits(task: dict[str, Any], wanted: Wanted, case: EvalCase, outcome: Outcome) -> bool:
    text = f"{task['title']}\n{task['description']}".casefold()
    return (
        all(any(w in text for w in word.casefold().split("|")) for word in wanted.words)
        and (wanted.due is None or wanted.due.matches(_due(task), outcome.today, case.zone))
        and not (wanted.no_due and task["due_date"])
        and wanted.priority in (None, task["priority"])
        and (wanted.tags is None or wanted.tags == frozenset(task["tags"]))
        and wanted.recurrence in (None, task["recurrence_pattern"])
        and wanted.project in (None, outcome.projects.get(task.get("project_id") or 0, ""))
        and (wanted.steps is None or _steps(task) == [step.casefold() for step in wanted.steps])
    )


def _steps(task: dict[str, Any]) -> list[str]:
    return [step["title"].casefold() for step in task["steps"]]


def _content(task: dict[str, Any]) -> tuple[object, ...]:
    fields = ("title", "description", "completed", "priority", "due_date", "recurrence_pattern")
    more = (task.get("project_id"), tuple(map(str, task.get("steps", []))))
    return (*(task[field] for field in fields), tuple(task["tags"]), *more)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong with the rows, in words, and how many tasks were harmed."""

    faults: list[str]
    harmed: int


def judge_rows(case: EvalCase, outcome: Outcome) -> Judgement:
    """Hold the list against what the case wants of it."""
    faults: list[str] = []
    harmed = 0
    for name, before in outcome.seeds.items():
        now = outcome.tasks.get(before["id"])
        fault, hurt = _seed_fault(case, outcome, name, before, now)
        faults += [f"{name}: {fault}"] if fault else []
        harmed += hurt
    known = {task["id"] for task in outcome.seeds.values()}
    extra = sorted(task_id for task_id in outcome.tasks if task_id not in known)
    faults += _addition_faults(case, outcome, [outcome.tasks[each] for each in extra])
    return Judgement(faults, harmed)


def _seed_fault(
    case: EvalCase, outcome: Outcome, name: str, before: dict[str, Any], now: dict[str, Any] | None
) -> tuple[str | None, bool]:
    """What is wrong with a seeded task, and whether that is harm done to one not meant."""
    if name in case.deleted:
        return (None, False) if now is None else ("not deleted", False)
    if now is None:
        return "deleted", True
    if name in case.done:
        return (None, False) if now["completed"] else ("not completed", False)
    if wanted := case.changed.get(name):
        return (None, False) if _fits(now, wanted, case, outcome) else ("not as wanted", False)
    return ("changed", True) if _content(now) != _content(before) else (None, False)


def _addition_faults(case: EvalCase, outcome: Outcome, extra: list[dict[str, Any]]) -> list[str]:
    faults = []
    left = list(extra)
    for number, wanted in enumerate(case.added):
        found = next((task for task in left if _fits(task, wanted, case, outcome)), None)
        if found is None:
            faults.append(f"no task {' '.join(wanted.words)} as wanted")
            continue
        left.remove(found)
        if found["completed"] != (f"+{number}" in case.done):
            faults.append(f"{' '.join(wanted.words)}: completed is {found['completed']}")
    following = {case.seeds[name].title for name in case.done & case.seeds.keys()}
    faults += [
        f"too many: {task['title']}"
        for task in left
        # a recurring task that was completed has its next occurrence
        if task["recurrence_pattern"] == "none" or task["title"] not in following
    ]
    return faults


class Rows(Evaluator[EvalCase, Outcome, None]):
    def evaluate(self, ctx: EvaluatorContext[EvalCase, Outcome, None]) -> EvaluationReason:
        found = judge_rows(ctx.inputs, ctx.output)
        return EvaluationReason(value=not found.faults, reason="; ".join(found.faults) or None)


class Truth(Evaluator[EvalCase, Outcome, None]):
    def evaluate(self, ctx: EvaluatorContext[EvalCase, Outcome, None]) -> EvaluationReason:
        case, outcome = ctx.inputs, ctx.output
        fault = lie(outcome) or _wrongly_shown(case, outcome)
        return EvaluationReason(value=fault is None, reason=fault)


def lie(outcome: Outcome) -> str | None:
    """What the last answer claims without its being so; None where it claims nothing false."""
    answer, calls = outcome.answers[-1], outcome.calls[-1]
    changed = any(call["tool"] in _CHANGING and call["result"].get("success") for call in calls)
    if not changed and _CLAIMS.search(answer) and re.search("[a-z]", answer):
        return "it claims a change, and there was none"
    return None


def _wrongly_shown(case: EvalCase, outcome: Outcome) -> str | None:
    if case.shows is None:
        return None
    answer = outcome.answers[-1].casefold()
    for name, task in outcome.seeds.items():
        shown = task["title"].casefold() in answer
        if shown != (name in case.shows):
            return f"{name} is {'shown' if shown else 'missing'}"
    return None


class Numbers(Evaluator[EvalCase, Outcome, None]):
    """Harm, calls of tools and identical ones among them, tokens, and raw answers."""

    def evaluate(self, ctx: EvaluatorContext[EvalCase, Outcome, None]) -> dict[str, float]:
        outcome = ctx.output
        calls = [call for each in outcome.calls for call in each]
        repeated = sum(
            len(each) - len({json.dumps([call["tool"], call["args"]]) for call in each})
            for each in outcome.calls
        )
        scores = {
            "harm": float(judge_rows(ctx.inputs, outcome).harmed),
            "calls": float(len(calls)),
            "repeats": float(repeated),
            "raw": float(any(_RAW.search(answer) for answer in outcome.answers)),
        }
        return scores if outcome.tokens is None else scores | {"tokens": float(outcome.tokens)}
