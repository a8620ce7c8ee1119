"""Days and hours in people's words, in their zones, and what comes round again."""

from backend.evals.case import TODAY, TOMORROW, Day, Seed, case, new, weekday

DENTIST = {"dentist": Seed("See the dentist"), "rent": Seed("Pay rent")}
DATED = {"dentist": Seed("See the dentist", due=Day(3)), "rent": Seed("Pay rent", due=TOMORROW)}

CASES = (
    case("today", "dates", "Add buy milk today", added=new("milk", due=TODAY), offline=True),
    case(
        "tomorrow",
        "dates",
        "Remind me to pay the rent tomorrow",
        added=new("rent", due=TOMORROW),
        offline=True,
    ),
    case(
        "by a weekday",
        "dates",
        "I need to send the letter by Friday",
        added=new("letter", due=weekday("friday")),
        offline=True,
    ),
    case(
        "in two weeks",
        "dates",
        "Add renew the passport in two weeks",
        added=new("passport", due=Day(14)),
        offline=True,
    ),
    case(
        "in three days",
        "dates",
        "Remind me to call mom in 3 days",
        added=new("mom", due=Day(3)),
        offline=True,
    ),
    case(
        "a time tomorrow",
        "dates",
        "Add a task to call the dentist tomorrow at 3pm",
        added=new("dentist", due=Day(1, at="15:00")),
        offline=True,
    ),
    case(
        "a time by the clock",
        "dates",
        "Call the dentist tomorrow at 09:30",
        added=new("dentist", due=Day(1, at="09:30")),
        offline=True,
    ),
    case(
        "no date is no date", "dates", "Add buy milk", added=new("milk", no_due=True), offline=True
    ),
    case(
        "no date from a number",
        "dates",
        "Add buy 12 eggs",
        added=new("eggs", no_due=True),
        offline=True,
    ),
    case(
        "move to a weekday",
        "dates",
        "Move the dentist to Friday",
        seeds=DENTIST,
        changed={"dentist": new(due=weekday("friday"))},
        offline=True,
    ),
    case(
        "move to tomorrow",
        "dates",
        "Postpone the dentist to tomorrow",
        seeds=DATED,
        changed={"dentist": new(due=TOMORROW)},
        offline=True,
    ),
    case(
        "clear a date",
        "dates",
        "The dentist has no date any more, remove its due date",
        seeds=DATED,
        changed={"dentist": new(no_due=True)},
    ),
    case(
        "set a date",
        "dates",
        "The rent is due in 5 days",
        seeds=DENTIST,
        changed={"rent": new(due=Day(5))},
    ),
    case(
        "a whole date", "dates", "Add file the taxes on 2027-05-31", added=new("tax"), offline=True
    ),
    case(
        "a day that is none",
        "dates",
        "Move the dentist to February 30",
        seeds=DENTIST,
        offline=True,
    ),
    case(
        "late in Auckland",
        "zones",
        "Add buy milk today",
        zone="Pacific/Auckland",
        added=new("milk", due=TODAY),
        offline=True,
    ),
    case(
        "early in Los Angeles",
        "zones",
        "Add buy milk today",
        zone="America/Los_Angeles",
        added=new("milk", due=TODAY),
        offline=True,
    ),
    case(
        "an hour in New York",
        "zones",
        "Call the dentist tomorrow at 5pm",
        zone="America/New_York",
        added=new("dentist", due=Day(1, at="17:00")),
        offline=True,
    ),
    case(
        "an hour in Karachi",
        "zones",
        "Call the dentist tomorrow at 8am",
        zone="Asia/Karachi",
        added=new("dentist", due=Day(1, at="08:00")),
        offline=True,
    ),
    case(
        "half an hour in Kolkata",
        "zones",
        "Call the bank tomorrow at 10:15",
        zone="Asia/Kolkata",
        added=new("bank", due=Day(1, at="10:15")),
        offline=True,
    ),
    # recurrence
    case(
        "every week",
        "recurrence",
        "Remind me to water the plants every Monday",
        added=new("plants", due=weekday("monday"), recurrence="weekly"),
        offline=True,
    ),
    case(
        "every day",
        "recurrence",
        "Add take the pills every day",
        added=new("pills", recurrence="daily"),
        offline=True,
    ),
    case(
        "every month",
        "recurrence",
        "Add pay the rent every month",
        added=new("rent", recurrence="monthly"),
        offline=True,
    ),
    case(
        "stop repeating",
        "recurrence",
        "The plants need no repeating any more",
        seeds={"plants": Seed("Water the plants", due=TODAY, recurrence="weekly")},
        changed={"plants": new(recurrence="none")},
        offline=True,
    ),
    # tags
    case(
        "tag a new one",
        "tags",
        "Add buy milk, tag it home",
        added=new("milk", tags=frozenset({"home"})),
        offline=True,
    ),
    case(
        "tag one",
        "tags",
        "Tag the rent with home",
        seeds=DENTIST,
        changed={"rent": new(tags=frozenset({"home"}))},
        offline=True,
    ),
    case(
        "what has a tag",
        "tags",
        "Which of my tasks are tagged garden?",
        seeds={"a": Seed("Plant the tulips", tags=("garden",)), "b": Seed("Pay rent")},
        shows="a",
        offline=True,
    ),
)
