"""What a client was answered, against the tables: nothing untrue, nothing done twice."""

from collections import Counter
from collections.abc import Iterator
from math import inf

from backend.faults.deciding import decision_breaches, declined_tasks
from backend.faults.model import TOOLS
from backend.faults.postgres import Row
from backend.faults.scenario import Scenario, Verb
from backend.faults.sendings import Attempt, Sent
from backend.faults.tables import Tables, Turn, shown

TWO_LEASES = 12.0
"""Seconds after which a message without a key is no longer waited for."""


def answer_breaches(scenario: Scenario, sent: list[Sent], tables: Tables) -> Iterator[str]:
    """What is wrong with how the messages were answered."""
    without_ground = _without_ground(scenario, sent)
    for each in sent:
        yield from _message(scenario, each, tables, without_ground)


def _without_ground(scenario: Scenario, sent: list[Sent]) -> set[int]:
    """The messages that want something of a task that an unanswered one was to make."""
    unmade: set[str] = set()
    found: set[int] = set()
    for each in sent:
        if any(command.title in unmade for command in each.message.commands):
            found.add(each.message.number)
        undone = each.answered is None or each.stops or scenario.outlives
        if undone or each.message.number in found:
            unmade |= {command.to or command.title for command in each.message.commands}
    return found


def _message(
    scenario: Scenario, sent: Sent, tables: Tables, without_ground: set[int]
) -> Iterator[str]:
    """What became of one message that was sent, perhaps several times."""
    name = f"message {sent.message.number}"
    turns = [t for t in tables.turns if t.asked["content"] == sent.message.text]
    last = turns[-1] if turns else None
    if scenario.persistent and not sent.answered and not sent.attempts[-1].left:
        yield f"{name} was sent {len(sent.attempts)} times and never answered"
    yield from (f"{name}: {each}" for a in sent.attempts for each in _answer(a, sent, turns))
    if sent.key and len(turns) > 1:
        yield f"{name} has {len(turns)} turns under one key"
    if len(turns) > 1 + _doubtful(sent, turns, scenario.resends):
        yield f"{name} was taken for {len(turns)} messages"
    for turn in turns:
        yield from (f"{name}: {each}" for each in decision_breaches(scenario, sent, turn, tables))
    if scenario.patient and sent.message.number == scenario.faults[0].message:
        yield from (f"{name}: {each}" for each in _healthy(sent, turns))
    if (
        sent.answered
        and last
        and not sent.stops
        and len(turns) == 1
        and sent.message.number not in without_ground
    ):
        yield from (f"{name}: {each}" for each in _effect(scenario, sent, last))


def _doubtful(sent: Sent, turns: list[Turn], resends: int) -> int:
    """How many turns more than one there may be.

    A server that dies or freezes with its answer in hand can tell nobody that it was not taken,
    and one whose client hangs up once the answer was handed to the socket takes it for delivered.
    What no earlier attempt had begun are messages of their own, as many as are sent at the same
    moment; and so is what is sent once another of them is answered, be it meant at the same
    moment. All else that was not taken is the same message when it comes again.
    """
    whole = [turn for turn in turns[:-1] if turn.answer["status"] == "complete"]
    died = sum(each.status is None and not each.left for each in sent.attempts)
    missed = sum(
        any(turn.answer["ended"] < each.left or _in_hand(each, sent, turn) for turn in whole)
        for each in sent.attempts
        if each.left
    )
    answered = min((each.heard for each in sent.attempts if each.status == 200), default=inf)
    overtaken = sum(answered < each.sent < inf for each in sent.attempts)
    return min(len(whole), died + missed) * resends + _at_once(sent, turns) - 1 + overtaken


def _in_hand(attempt: Attempt, sent: Sent, turn: Turn) -> bool:
    """Whether the server of `attempt` froze or died while the end of `turn` was on its way.

    It is so where no other can have begun the turn, and where it ended while that server did
    nothing: its end was sent before, and the server heard of it when it went on, if at all.
    A later attempt's end says itself that nobody has taken it yet.
    """
    created = turn.asked["created"]
    begun_by = [each for each in sent.attempts if each.began <= created <= each.heard]
    return (
        begun_by == [attempt]
        and turn.answer["attempt"] == 1
        and any(each.began <= turn.answer["ended"] < each.ended for each in attempt.standstills)
    )


def _at_once(sent: Sent, turns: list[Turn]) -> int:
    """How many times it was sent when it was first begun; 1 where it was under a key."""
    begun = min((turn.asked["created"] for turn in turns), default=0.0)
    before = [each for each in sent.attempts if each.began <= begun]
    if sent.key or not before:
        return 1
    latest = max(each.round for each in before)
    return sum(each.round == latest for each in sent.attempts)


def _healthy(sent: Sent, turns: list[Turn]) -> Iterator[str]:
    """A run whose server is well is not taken for a dead one, whatever is in its lease's way."""
    if sent.attempts[-1].status != 200:
        yield f"a run that was well was answered with {sent.attempts[-1].status}"
    yield from ("a run that was well was taken up" for t in turns if t.answer["attempt"] > 1)


def _answer(attempt: Attempt, sent: Sent, turns: list[Turn]) -> Iterator[str]:
    """Whether one answer is allowed, and true."""
    if attempt.late:
        yield "no answer came"
    # a turn that is still being worked on, after its time; without a key not before it is clear
    busy = attempt.status == 409 and (sent.key or attempt.seconds > TWO_LEASES)
    if attempt.status not in (None, 200, 503) and not busy:
        yield f"answered with {attempt.status} {attempt.body}"
        return
    if attempt.status == 200:
        told = attempt.body["tool_calls"] or []
        stopped = bool(attempt.seen and attempt.seen.end == "abort")
        in_one_piece = not attempt.seen or attempt.seen.pending  # which does not say it
        true = [
            turn
            for turn in turns
            if turn.answer["status"] == "complete"
            and (in_one_piece or turn.answer["stopped"] == stopped)
            and (stopped or turn.answer["content"] == attempt.body["response"])
            and shown(turn.calls) == told
            and turn.answer["conversation_id"] == attempt.body["conversation_id"]
        ]
        if not true:
            yield "the answer is not what is on record"
    if "message_id" in attempt.details:
        told = attempt.details["tool_calls"] or []
        found = [t for t in turns if t.answer["id"] == attempt.details["message_id"]]
        if not found:
            yield "a failure named a turn that is not there"
        elif shown(found[0].calls)[: len(told)] != told:
            yield "a failure told of calls that are not on record"


def _changed(call: Row) -> int:
    """How many tasks it has changed; one call may be about several."""
    results: list[Row] = call["result"].get("results", [call["result"]])
    return sum(result["success"] for result in results)


def _effect(scenario: Scenario, sent: Sent, turn: Turn) -> Iterator[str]:
    """A message that was answered, and is there once, did once what it says."""
    changes = turn.changes_by(*TOOLS.values())
    tools = Counter(call["tool"] for call in changes for _ in range(_changed(call)))
    wanted = Counter(TOOLS[command.verb] for command in sent.message.commands)
    declined = declined_tasks(turn)
    wanted -= declined
    if scenario.outlives and declined:  # the turn was over with that
        yield from (f"{tool} was never asked for" for tool in tools - wanted)
        return
    if tools != wanted:
        yield f"it took effect as {dict(tools)}, not {dict(wanted)}: {turn.answer['content']}"
    titles = Counter(call["args"].get("title") for call in changes)
    made = [command.to or command.title for command in sent.message.commands]
    for command, title in zip(sent.message.commands, made, strict=True):
        if command.verb in (Verb.ADD, Verb.RENAME) and titles[title] != 1:
            yield f"{command} is {titles[title]} times on record"
