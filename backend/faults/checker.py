"""What must hold after a scenario, asked of the tables; each breach is one sentence."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from backend.faults.answers import answer_breaches
from backend.faults.scenario import TAG, Scenario
from backend.faults.sendings import Sent
from backend.faults.sights import sight_breaches
from backend.faults.tables import Tables, shown

HONEST = "I could not finish. Done so far: ", "I could not finish what you approved."
"""How an answer begins that was not given to its end."""


def breaches(scenario: Scenario, sent: list[Sent], tables: Tables) -> list[str]:
    """What is wrong with the tables, given what was sent and answered; empty where all is well."""
    return [
        *_pairs(tables),
        *_ends(tables),
        *_records(scenario, tables),
        *_states(scenario, tables),
        *_occurrences(scenario, tables),
        *answer_breaches(scenario, sent, tables),
        *sight_breaches(sent, tables),
        *_unsent(sent, tables),
    ]


def _pairs(tables: Tables) -> Iterator[str]:
    """Each answer stands right behind its question, and nothing else is there."""
    for conversation in tables.conversations:
        rows = [m for m in tables.messages if m["conversation_id"] == conversation["id"]]
        if not rows:
            yield f"conversation {conversation['id']} is empty"
        if len(rows) != conversation["message_count"]:
            yield f"conversation {conversation['id']} counts {conversation['message_count']}"
        if len(rows) % 2 or any(
            (asked["role"], answer["role"], answer["reply_to"])
            != ("user", "assistant", asked["id"])
            for asked, answer in zip(rows[::2], rows[1::2], strict=False)
        ):
            yield f"the rows of conversation {conversation['id']} are not pairs"


def _ends(tables: Tables) -> Iterator[str]:
    for row in tables.under_way:
        yield f"message {row['id']} is still running"
    for row in tables.messages:
        if row["role"] == "user" and row["status"] != "complete":
            yield f"the person's message {row['id']} is {row['status']}"


def _records(scenario: Scenario, tables: Tables) -> Iterator[str]:
    """Every task has the one record that added it, in the turn that was asked to."""
    added: Counter[int] = Counter()
    for turn in tables.turns:
        own = TAG.search(turn.asked["content"])
        for call in turn.changes_by("add_task"):
            added[call["result"]["task_id"]] += 1
            numbers = call["args"]["title"].split()[-1].split(".")
            if own is None or numbers[:2] != list(own.groups()):
                yield f"message {turn.answer['id']} has the record of another's call"
    for task_id in added.keys() - {task["id"] for task in tables.tasks}:
        yield f"a record says that task {task_id} was added, and there is none"
    by_hand = _made_by_hand(scenario, tables)
    for task in tables.tasks:
        expected = 0 if task["id"] in by_hand or task["previous_id"] is not None else 1
        if added[task["id"]] != expected:
            yield f"task {task['id']} has {added[task['id']]} records of its adding"


def _made_by_hand(scenario: Scenario, tables: Tables) -> set[int]:
    """The errands, whatever they are called now."""
    renamed = {
        call["result"]["task_id"] for t in tables.turns for call in t.changes_by("update_task")
    }
    added = {call["result"]["task_id"] for t in tables.turns for call in t.changes_by("add_task")}
    return {
        task["id"]
        for task in tables.tasks
        if task["title"] in scenario.errands or task["id"] in renamed - added
    }


def _states(scenario: Scenario, tables: Tables) -> Iterator[str]:
    """Each task is as the records say, played one after another."""
    titles: dict[int, str] = {}
    done: defaultdict[str, set[int]] = defaultdict(set)
    for turn in sorted(tables.turns, key=lambda turn: int(turn.answer["id"])):
        for call in turn.changes_by("add_task", "update_task", "complete_task", "delete_task"):
            task_id = call["result"]["task_id"]
            done[call["tool"]].add(task_id)
            if call["tool"] in ("add_task", "update_task"):
                titles[task_id] = call["result"]["title"]
    for task in tables.tasks:
        id_ = task["id"]
        told = (id_ in done["complete_task"], id_ in done["delete_task"])
        if (task["completed"], task["deleted"]) != told:
            yield f"task {id_} is not as its records say: completed, deleted {told}"
        unnamed = task["previous_id"] is not None or task["title"] in scenario.errands
        if task["title"] != titles.get(id_) and not (unnamed and id_ not in titles):
            yield f"task {id_} is not called what its records say"


def _occurrences(scenario: Scenario, tables: Tables) -> Iterator[str]:
    """An errand recurs, so each one that is completed has the one that comes next."""
    next_ones = Counter(task["previous_id"] for task in tables.tasks)
    recurring = _made_by_hand(scenario, tables)
    recurring |= {task["id"] for task in tables.tasks if task["previous_id"] is not None}
    for task in tables.tasks:
        expected = int(task["completed"] and task["id"] in recurring)
        if next_ones[task["id"]] != expected:
            yield f"task {task['id']} has {next_ones[task['id']]} next occurrences"


def _unsent(sent: list[Sent], tables: Tables) -> Iterator[str]:
    texts = {each.message.text for each in sent}
    for row in tables.messages:
        if row["role"] == "user" and row["content"] not in texts:
            yield f"message {row['id']} was never sent"


def history_breaches(tables: Tables, shown_rows: dict[int, list[Any]]) -> list[str]:
    """What is wrong with the histories, by conversation, that a reader was shown."""
    wrong = []
    for conversation, rows in shown_rows.items():
        told = [(row["id"], row["role"], row["content"], row["tool_calls"]) for row in rows]
        if told != list(_readable(conversation, tables)):
            wrong.append(f"the history of conversation {conversation} is not what is stored")
    return wrong


def _readable(conversation: int, tables: Tables) -> Iterator[tuple[int, str, str, Any]]:
    """What a reader must be shown: every question, and each answer that has something to say."""
    for row in tables.messages:
        if row["conversation_id"] != conversation:
            continue
        calls = json.loads(row["tool_calls_json"] or "[]")
        told = row["content"] or row["status"] == "complete"
        honest = row["content"].startswith(HONEST)
        if row["role"] == "user" or row["status"] in ("complete", "waiting") or (told and honest):
            yield row["id"], row["role"], row["content"], shown(calls) or None
        elif told:
            yield row["id"], "dishonest", row["content"], None
