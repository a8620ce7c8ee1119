"""What viewers saw of turns, against the tables: no lie at the end, and what was seen is kept."""

from collections.abc import Iterator

from backend.faults.sendings import Sent
from backend.faults.streams import Seen
from backend.faults.tables import Tables, Turn, shown


def sight_breaches(sent: list[Sent], tables: Tables) -> Iterator[str]:
    """What is wrong with the streams of a scenario."""
    for each in sent:
        name = f"message {each.message.number}"
        own = [attempt.seen for attempt in each.attempts if attempt.seen]
        for seen in [*own, *each.views]:
            yield from (f"{name}: {wrong}" for wrong in seen.faults())
            for turn in tables.turns:
                if seen.message_id == turn.answer["id"]:
                    yield from (f"{name}: {wrong}" for wrong in _untrue(seen, turn))
        yield from (f"{name}: {wrong}" for wrong in _stops(each, tables))


def _untrue(seen: Seen, turn: Turn) -> Iterator[str]:
    kept, told = shown(turn.calls), seen.calls
    if any(call not in kept for call in told):
        yield f"a viewer at {seen.where} saw a call that is not on record"
    row = turn.answer
    if seen.pending:  # it goes on, in the same message
        return
    if seen.end == "finish" and (row["status"], row["stopped"]) != ("complete", False):
        yield f"a viewer at {seen.where} saw finish, and it is {row['status']}"
    if seen.end == "finish" and ("".join(seen.texts), told) != (row["content"], kept):
        yield f"a viewer at {seen.where} saw another answer than what is kept"
    if seen.end == "abort" and not row["stopped"]:
        yield f"a viewer at {seen.where} saw abort, and nobody stopped it"
    if seen.end == "abort" and any(text.strip() not in row["content"] for text in seen.texts):
        yield f"a viewer at {seen.where} saw what is not kept of a stopped turn"


def _stops(sent: Sent, tables: Tables) -> Iterator[str]:
    """A stop that was confirmed is on record, and nothing was done after it."""
    rows = {turn.answer["id"]: turn.answer for turn in tables.turns}
    for at, said in sent.stops:
        if said and said["stopped"]:
            row = rows.get(said["message_id"])
            if row is None or not row["stopped"]:
                yield "a stop was confirmed that is not on record"
            elif row["ended"] > at:
                yield "a turn went on after it was said to be stopped"
