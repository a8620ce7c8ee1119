"""Questions: what is asked for is shown, all of it and nothing else, and nothing is changed."""

from backend.evals.case import TODAY, TOMORROW, Day, Seed, case

LIST = {
    "rent": Seed("Pay rent", due=Day(-1)),
    "milk": Seed("Buy milk", due=TODAY),
    "plants": Seed("Water the plants", due=TOMORROW),
    "report": Seed("Write the report", priority="high"),
    "lawn": Seed("Mow the lawn", completed=True),
}
TWO_MILKS = {
    "oat": Seed("Buy oat milk"),
    "boil": Seed("Boil milk for the pudding"),
    "bread": Seed("Buy bread"),
}
OPEN = ("rent", "milk", "plants", "report")

CASES = (
    case("all", "reading", "Show all my tasks", seeds=LIST, shows=tuple(LIST), offline=True),
    case("pending", "reading", "What's pending?", seeds=LIST, shows=OPEN, offline=True),
    case("completed", "reading", "What have I finished?", seeds=LIST, shows="lawn", offline=True),
    case("due today", "reading", "What is due today?", seeds=LIST, shows="milk", offline=True),
    case(
        "due tomorrow", "reading", "What's due tomorrow?", seeds=LIST, shows="plants", offline=True
    ),
    case("overdue", "reading", "Show overdue tasks", seeds=LIST, shows="rent", offline=True),
    case(
        "this week",
        "reading",
        "What is due this week?",
        seeds={"a": Seed("Buy milk", due=TODAY), "b": Seed("Plan the party", due=Day(30))},
        shows="a",
        offline=True,
    ),
    case(
        "high priority",
        "reading",
        "Which tasks have high priority?",
        seeds=LIST,
        shows="report",
        offline=True,
    ),
    case("an empty list", "reading", "What's on my list?", offline=True),
    case("how many", "reading", "How many tasks do I have?", seeds=LIST, offline=True),
    case(
        "with a word",
        "reading",
        "Do I have anything about milk?",
        seeds=TWO_MILKS,
        shows=("oat", "boil"),
        offline=True,
    ),
    # ambiguity
    case("two fit a deletion", "ambiguity", "Delete the milk task", seeds=TWO_MILKS, offline=True),
    case(
        "two fit a completion", "ambiguity", "I'm done with the milk", seeds=TWO_MILKS, offline=True
    ),
    case(
        "two fit, one is chosen",
        "ambiguity",
        "Delete the milk task",
        "The second one",
        seeds=TWO_MILKS,
        deleted="oat",
        offline=True,
    ),
    case(
        "two fit, chosen by its words",
        "ambiguity",
        "Delete the milk task",
        "The oat one",
        seeds=TWO_MILKS,
        deleted="oat",
    ),
    case(
        "two fit, neither",
        "ambiguity",
        "Delete the milk task",
        "Neither of them",
        seeds=TWO_MILKS,
        offline=True,
    ),
    case(
        "a part of a title",
        "ambiguity",
        "Delete milk",
        seeds={"a": Seed("Milk and eggs")},
        offline=True,
    ),
    case(
        "a part of a title, after a yes",
        "ambiguity",
        "Delete milk",
        "yes",
        seeds={"a": Seed("Milk and eggs")},
        deleted="a",
        offline=True,
    ),
    case("it without a task", "ambiguity", "Delete it", seeds=TWO_MILKS, offline=True),
    case("change what", "ambiguity", "Change my task", seeds=TWO_MILKS, offline=True),
    case(
        "whole title first",
        "ambiguity",
        "Delete milk",
        seeds={"milk": Seed("Milk"), "oat": Seed("Buy oat milk")},
        deleted="milk",
        offline=True,
    ),
    # not found
    case("delete what is not there", "not found", "Delete the car wash", seeds=LIST, offline=True),
    case(
        "complete what is not there",
        "not found",
        "I finished the laundry",
        seeds=LIST,
        offline=True,
    ),
    case("an id that is not there", "not found", "Delete task 999999999", seeds=LIST, offline=True),
    case(
        "change what is not there",
        "not found",
        "Rename the car wash to wash the bike",
        seeds=LIST,
        offline=True,
    ),
    case(
        "date of what is not there",
        "not found",
        "Move the car wash to Friday",
        seeds=LIST,
        offline=True,
    ),
    case(
        "twice deleted",
        "not found",
        "Delete the report",
        "Delete the report",
        seeds=LIST,
        deleted="report",
        offline=True,
    ),
)
