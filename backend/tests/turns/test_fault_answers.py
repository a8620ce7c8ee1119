"""What the fault suite takes for a message of its own, and what for one that was done twice."""

import json
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from backend.conversations.approvals import DECLINED
from backend.faults.answers import answer_breaches
from backend.faults.deciding import decision_breaches
from backend.faults.fleet import Standstill
from backend.faults.scenario import Fault, Kind, Message, Moment, Scenario
from backend.faults.sendings import Attempt, Sent
from backend.faults.tables import Tables

HELLO = Message(1, "Hello (1-1)", ())
TWICE = ["message 1 was taken for 2 messages"]
SCENARIO = Scenario(
    seed=1,
    errands=(),
    rounds=((HELLO,),),
    faults=(Fault(Kind.PAUSE, 1, Moment.ANSWERED),),
    keyed=False,
    attentive=False,
    persistent=True,
    together=False,
    stubborn=False,
)
DELETE = {"tool": "delete_task", "args": {"task_id": 1}}
FROZEN = Standstill(10.0, 11.0)
LEFT = Attempt("one", 0, [FROZEN], began=9.0, sent=9.1, left=10.1)
AGAIN = Attempt("two", 1, [], began=10.4, sent=10.41, heard=10.6, status=200)
AGAIN.body = {"conversation_id": 2, "response": "Done.", "tool_calls": None}
REFUSED = Attempt("three", 0, [], began=8.0, sent=8.1, heard=8.2, status=503)
REFUSED.body = {"error": {"details": None}}


def turn(conversation: int, created: float, ended: float, attempt: int = 1) -> list[dict[str, Any]]:
    """A question and its answer, in a conversation of their own."""
    asked, answer = 2 * conversation, 2 * conversation + 1
    row = {"conversation_id": conversation, "status": "complete", "attempt": attempt}
    row |= {"stopped": False, "tool_calls_json": None, "approvals_json": None, "created": created}
    return [
        row | {"id": asked, "role": "user", "content": HELLO.text, "reply_to": None},
        row
        | {"id": answer, "role": "assistant", "content": "Done.", "reply_to": asked}
        | {"ended": ended},
    ]


def judged(ended: float, *attempts: Attempt, tries: int = 1, again: int = 1) -> list[str]:
    """What is said of a message whose first turn has `ended` then, and which was done `again`."""
    rows = turn(1, 9.5, ended, tries)
    for number in range(again):
        rows += turn(2 + number, 10.5 + number / 10, 10.55 + number / 10)
    sent = Sent(HELLO, None, {}, list(attempts))
    return list(answer_breaches(SCENARIO, [sent], Tables(rows, [], [])))


@pytest.mark.parametrize(
    "standstill",
    [FROZEN, Standstill(10.0, inf), Standstill(10.15, 10.5)],
    ids=["frozen", "dead", "frozen once its client had left"],
)
def test_what_ended_while_its_server_did_nothing_may_be_done_again(standstill: Standstill) -> None:
    left = replace(LEFT, standstills=[standstill])
    assert judged(10.2, left, AGAIN) == []
    assert judged(10.2, REFUSED, replace(left, round=1), replace(AGAIN, round=2)) == []


def test_what_ended_while_its_server_was_well_is_the_same_message_when_it_comes_again() -> None:
    assert judged(10.2, replace(LEFT, standstills=[]), AGAIN) == TWICE
    assert judged(10.2, replace(LEFT, standstills=[Standstill(9.6, 9.9)]), AGAIN) == TWICE
    assert judged(11.2, LEFT, AGAIN) == TWICE  # it went on before


def test_that_another_server_did_nothing_excuses_nothing() -> None:
    well = replace(LEFT, replica="three", standstills=[])
    assert judged(10.2, well, replace(AGAIN, standstills=[FROZEN])) == TWICE
    # which of two has begun it is not known
    assert judged(10.2, well, replace(LEFT, round=1), replace(AGAIN, round=2)) == TWICE


def test_an_answer_whose_row_says_that_nobody_took_it_is_given_again_whatever_froze() -> None:
    assert judged(10.2, LEFT, AGAIN, tries=2) == TWICE


def test_one_standstill_excuses_no_more_than_was_sent_at_once() -> None:
    assert judged(10.2, LEFT, AGAIN, again=2) == ["message 1 was taken for 3 messages"]


def test_what_is_sent_at_once_before_any_was_begun_are_messages_of_their_own() -> None:
    """That they were written is noted late."""
    refused = replace(REFUSED, began=7.0, sent=7.1, heard=7.2)
    twins = [replace(AGAIN, began=9.4, sent=9.6), replace(AGAIN, began=9.4, sent=9.61)]
    assert judged(9.9, refused, twins[0], twins[1]) == []
    assert judged(9.9, refused, twins[0], replace(twins[1], round=2, began=9.55)) == TWICE


@pytest.mark.parametrize(
    ("status", "conversation", "began", "rightly"),
    [(503, 1, 10.1, True), (200, 1, 10.1, False), (503, 2, 10.1, False), (503, 1, 10.3, False)],
    ids=["gone on", "its decision was confirmed", "elsewhere", "afterwards"],
)
def test_only_who_goes_on_unanswered_declines_what_would_have_been_approved(
    status: int, conversation: int, began: float, rightly: bool
) -> None:
    declined = turn(1, 9.5, 10.2)
    declined[1] |= {
        "tool_calls_json": json.dumps([DELETE | {"result": DECLINED}]),
        "approvals_json": json.dumps({"calls": [DELETE | {"done": True, "approved": False}]}),
    }
    later = [row | {"conversation_id": conversation} for row in turn(2, began, 10.5)]
    tables = Tables([*declined, *later], [], [])
    sent = Sent(HELLO, None, {}, [replace(REFUSED, status=status)])
    wrong = list(decision_breaches(replace(SCENARIO, approves=True), sent, tables.turns[0], tables))
    assert wrong == ([] if rightly else ["delete_task was declined by nobody"])
