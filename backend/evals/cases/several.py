"""Several things in one message, the same to many, and going on after an undo or a failure."""

from backend.evals.case import TOMORROW, Seed, case, new, weekday
from backend.evals.cases.one import LIST

MIXED = LIST | {
    "lawn": Seed("Mow the lawn", completed=True),
    "shoes": Seed("Return the shoes", completed=True),
}

CASES = (
    # several in one
    case(
        "three things",
        "several in one",
        "Add milk, eggs and bread",
        added=(new("milk"), new("eggs"), new("bread")),
        offline=True,
    ),
    case(
        "three lines",
        "several in one",
        "Add buy stamps\nAdd call mom\nAdd ring the vet",
        added=(new("stamps"), new("mom"), new("vet")),
        offline=True,
    ),
    case(
        "add and complete",
        "several in one",
        "Add buy stamps and mark the groceries as done",
        seeds=LIST,
        added=new("stamps"),
        done="groceries",
        offline=True,
    ),
    case(
        "delete and add",
        "several in one",
        "Delete the groceries, then add buy stamps",
        seeds=LIST,
        deleted="groceries",
        added=new("stamps"),
        offline=True,
    ),
    case(
        "complete two",
        "several in one",
        "I paid the rent and phoned the bank",
        seeds=LIST,
        done=("rent", "bank"),
    ),
    case(
        "two and a date",
        "several in one",
        "Add buy stamps tomorrow and remind me to call mom on Friday",
        added=(new("stamps", due=TOMORROW), new("mom", due=weekday("friday"))),
        offline=True,
    ),
    case(
        "change two",
        "several in one",
        "Make the report high priority and rename the groceries to buy food",
        seeds=LIST,
        changed={"report": new(priority="high"), "groceries": new("food")},
    ),
    # bulk
    case(
        "complete all",
        "bulk",
        "Mark all my tasks as done",
        seeds=LIST,
        done=tuple(LIST),
        offline=True,
    ),
    case(
        "delete the completed",
        "bulk",
        "Delete completed tasks",
        seeds=MIXED,
        deleted=("lawn", "shoes"),
        offline=True,
    ),
    case(
        "delete all, after a yes",
        "bulk",
        "Delete all my tasks",
        "yes",
        seeds=LIST,
        deleted=tuple(LIST),
        offline=True,
    ),
    case(
        "all but one",
        "bulk",
        "Complete everything except the report",
        seeds=LIST,
        done=("rent", "bank", "groceries", "plants"),
    ),
    case(
        "all of a kind",
        "bulk",
        "Delete both tasks about the car",
        seeds=LIST | {"oil": Seed("Change the car's oil"), "tax": Seed("Pay the car tax")},
        deleted=("oil", "tax"),
    ),
    case(
        "make all urgent",
        "bulk",
        "Set all my tasks to high priority",
        seeds=LIST,
        changed={name: new(priority="high") for name in LIST},
        offline=True,
    ),
    # undo then go on
    case(
        "undone is not there",
        "undo then go on",
        "Delete the groceries",
        "Complete the groceries",
        seeds=LIST,
        undo_after=0,
        done="groceries",
        offline=True,
    ),
    case(
        "undone addition",
        "undo then go on",
        "Add buy stamps",
        "Add call mom",
        undo_after=0,
        added=new("mom"),
        offline=True,
    ),
    # failure then retry
    case(
        "fails before anything",
        "failure then retry",
        "Add buy milk",
        fails=0,
        added=new("milk"),
        offline=True,
    ),
    case(
        "fails after the change",
        "failure then retry",
        "Add buy milk",
        fails=1,
        added=new("milk"),
        offline=True,
    ),
    case(
        "fails between two",
        "failure then retry",
        "Delete the groceries",
        seeds=LIST,
        fails=1,
        deleted="groceries",
        offline=True,
    ),
)
