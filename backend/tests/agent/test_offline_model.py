"""The offline model through the SDK's own runner, with a to-do list in memory behind the tools."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from agents import (
    Agent,
    ModelSettings,
    RawResponsesStreamEvent,
    RunConfig,
    Runner,
    Tool,
    function_tool,
)
from agents.items import ToolCallItem, ToolCallOutputItem
from agents.models.interface import ModelTracing
from agents.result import RunResultBase
from openai.types.responses import ResponseTextDeltaEvent

from backend.agent.models.offline import OfflineModel
from backend.agent.models.sentences.days import Today
from backend.agent.words.prompt import CONTEXT_MARK
from backend.models import MESSAGE_MAX, TITLE_MAX

WEDNESDAY = Today(date(2026, 11, 25), ZoneInfo("Europe/Berlin"))
NOT_FOUND = {"success": False, "error": "Task not found", "error_code": "TASK_NOT_FOUND"}
type Change = tuple[str, dict[str, Any]]
"""A tool that changes something and its arguments."""

CHANGES = {"add_task", "complete_task", "delete_task", "update_task"}


@dataclass
class TaskList:
    """The five tools on a list in memory, with the results the contract gives them."""

    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)

    def put(self, task_id: int, title: str, **values: Any) -> None:
        empty = {"description": "", "completed": False, "priority": "medium", "due_date": None}
        self.tasks[task_id] = {"task_id": task_id, "title": title, **empty, **values}

    def add(self, title: str, **values: Any) -> dict[str, Any]:
        task_id = max(self.tasks, default=0) + 1
        self.put(task_id, title, **values)
        return {"success": True, **self.tasks[task_id], "status": "pending"}

    def listed(self, status: str, search: str | None) -> dict[str, Any]:
        wanted = {"all": (True, False), "pending": (False,), "completed": (True,)}[status]
        found = [
            task
            for _, task in sorted(self.tasks.items(), reverse=True)
            if task["completed"] in wanted
            and (search or "").lower() in f"{task['title']}\n{task['description']}".lower()
        ]
        message = f"Found {len(found)} tasks."
        return {"success": True, "tasks": found, "count": len(found), "message": message}

    def update(self, task_id: int, **values: Any) -> dict[str, Any]:
        if task_id not in self.tasks:
            return NOT_FOUND
        self.tasks[task_id].update(values)
        return {"success": True, **self.tasks[task_id]}

    def delete(self, task_id: int) -> dict[str, Any]:
        task = self.tasks.pop(task_id, None)
        return {"success": True, "task_id": task_id, "title": task["title"]} if task else NOT_FOUND

    def tools(self) -> list[Tool]:
        @function_tool
        async def add_task(
            title: str, description: str = "", due_date: str | None = None, priority: str = "medium"
        ) -> str:
            return json.dumps(
                self.add(title, description=description, due_date=due_date, priority=priority)
            )

        @function_tool
        async def list_tasks(status: str, search: str | None = None) -> str:
            return json.dumps(self.listed(status, search))

        @function_tool
        async def complete_task(task_id: int) -> str:
            return json.dumps(self.update(task_id, completed=True))

        @function_tool
        async def delete_task(task_id: int) -> str:
            return json.dumps(self.delete(task_id))

        @function_tool
        async def update_task(
            task_id: int,
            title: str | None = None,
            description: str | None = None,
            due_date: str | None = None,
            priority: str | None = None,
        ) -> str:
            given = {
                "title": title,
                "description": description,
                "due_date": due_date,
                "priority": priority,
            }
            return json.dumps(self.update(task_id, **{k: v for k, v in given.items() if v}))

        return [add_task, list_tasks, complete_task, delete_task, update_task]


@dataclass
class Chat:
    """A conversation whose history is rebuilt for each turn as the service rebuilds it."""

    todo: TaskList
    history: list[Any] = field(default_factory=list)
    streamed: bool = False
    calls: list[Change] = field(default_factory=list)
    """The last turn's calls that change something."""

    async def say(self, text: str) -> str:
        """The answer to `text`, the introduction of a first answer taken off."""
        self.history.append({"role": "user", "content": text})
        result = await self._run()
        items: list[Any] = [
            item.to_input_item()
            for item in result.new_items
            if isinstance(item, ToolCallItem | ToolCallOutputItem)
        ]
        self.history += items
        self.history.append({"role": "assistant", "content": result.final_output})
        self.calls = [
            (item["name"], json.loads(item["arguments"]))
            for item in items
            if item.get("name") in CHANGES
        ]
        return str(result.final_output).rpartition("only.) ")[2]

    async def _run(self) -> RunResultBase:
        model = OfflineModel(today=lambda _: WEDNESDAY)
        agent = Agent(name="todo", model=model, tools=self.todo.tools())
        config = RunConfig(tracing_disabled=True)
        if not self.streamed:
            return await Runner.run(agent, list(self.history), max_turns=4, run_config=config)
        result = Runner.run_streamed(agent, list(self.history), max_turns=4, run_config=config)
        async for _ in result.stream_events():
            pass
        return result


@pytest.fixture
def todo() -> TaskList:
    todo = TaskList()
    todo.put(1, "Pay rent", description="by bank")
    todo.put(2, "Phone the bank")
    todo.put(3, "Buy groceries")
    todo.put(5, "Water the plants")
    todo.put(6, "Mow the lawn", completed=True)
    todo.put(8, "Fetch Milk")
    return todo


@pytest.fixture
def chat(todo: TaskList) -> Chat:
    return Chat(todo)


def added(title: str, **values: str) -> Change:
    return "add_task", {"title": title, **values}


def done(task_id: int) -> Change:
    return "complete_task", {"task_id": task_id}


def deleted(task_id: int) -> Change:
    return "delete_task", {"task_id": task_id}


def updated(task_id: int, **values: str) -> Change:
    return "update_task", {"task_id": task_id, **values}


UNDERSTOOD = {
    "Add buy groceries": added("Buy groceries"),
    "Add buy milk, need 2 gallons": added("Buy milk", description="need 2 gallons"),
    "Remember to call mom": added("Call mom"),
    "I need to pay rent by Friday": added("Pay rent", due_date="2026-11-27"),
    "Mark task 5 as done": done(5),
    "I finished the groceries": done(3),
    "Delete task 3": deleted(3),
    "Remove the milk task": deleted(8),
    "Change task 2 to Call mom": updated(2, title="Call mom"),
    "Add a note to task 2: urgent": updated(2, description="urgent"),
    # the same in other words
    "ADD BUY MILK!": added("BUY MILK"),
    "please add buy oat milk": added("Buy oat milk"),
    "Can you add a task to call Anna O’Neil, please?": added("Call Anna O’Neil"),
    "Hello, could you please add water the garden to my list": added("Water the garden"),
    "create a new task called read “Dune”, the first half": added(
        "Read “Dune”", description="the first half"
    ),
    'Add "buy stamps".': added("Buy stamps"),
    "remind me to ring the vet": added("Ring the vet"),
    "don't forget to feed the cat": added("Feed the cat"),
    "I have to see Dr. No": added("See Dr. No"),
    "I've got to run": added("Run"),
    "Add купить молоко 🥛": added("Купить молоко 🥛"),
    "mark the groceries as complete": done(3),
    "Task 5 is done": done(5),
    "The plants are done.": done(5),
    "complete #5": done(5),
    "I'm done with the plants": done(5),
    "I've finished buying the groceries": done(3),
    "I did the groceries": done(3),
    "change task 5 to done": done(5),
    "please remove water the plants from my list": deleted(5),
    "DELETE THE TASK 3": deleted(3),
    "Rename the groceries to buy food": updated(3, title="Buy food"),
    "change the title of task 3 to “Buy food”": updated(3, title="Buy food"),
    "add a note to the milk task saying 2 gallons": updated(8, description="2 gallons"),
    "Add a note to task 1: urgent": updated(1, description="by bank\nurgent"),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["run", "run_streamed"])
@pytest.mark.parametrize(("sentence", "change"), UNDERSTOOD.items())
async def test_a_plain_sentence_makes_its_one_change(
    todo: TaskList, sentence: str, change: Change, streamed: bool
) -> None:
    chat = Chat(todo, streamed=streamed)

    await chat.say(sentence)

    assert chat.calls == [change]


@pytest.mark.parametrize(
    ("when", "day"),
    {
        "today": "2026-11-25",
        "by today": "2026-11-25",
        "tomorrow": "2026-11-26",
        "by Wednesday": "2026-11-25",
        "by Thursday": "2026-11-26",
        "on Tuesday": "2026-12-01",
        "by MONDAY": "2026-11-30",
        "on 2026-12-01": "2026-12-01",
        "by December 5": "2026-12-05",
        "by Dec 5th": "2026-12-05",
        "before January 2nd": "2027-01-02",
        "due December 5, 2027": "2027-12-05",
        "by November 24": "2027-11-24",
        "on February 29": "2028-02-29",
    }.items(),
)
async def test_a_day_becomes_the_due_date(chat: Chat, when: str, day: str) -> None:
    await chat.say(f"I need to pay rent {when}")

    assert chat.calls == [added("Pay rent", due_date=day)]


async def test_a_day_may_stand_before_the_description(chat: Chat) -> None:
    await chat.say("Add pay rent by Friday, 500 euros")

    assert chat.calls == [added("Pay rent", description="500 euros", due_date="2026-11-27")]


@pytest.mark.parametrize("title", ["Write on paper", "Stop by February 30", "Meet by 2026-13-45"])
async def test_words_that_name_no_day_stay_in_the_title(chat: Chat, title: str) -> None:
    await chat.say(f"Add {title}")

    assert chat.calls == [added(title)]


@pytest.mark.parametrize(
    ("question", "status"),
    {
        "Show my tasks": "all",
        "show me all my tasks please": "all",
        "How many tasks do I have?": "all",
        "what's on my to-do list": "all",
        "What are my tasks?": "all",
        "my tasks": "all",
        "WHAT'S PENDING?": "pending",
        "What’s left?": "pending",
        "show pending tasks": "pending",
        "Which tasks are not done yet?": "pending",
        "what do I have to do?": "pending",
        "What's completed?": "completed",
        "what have I done": "completed",
        "Can you show my finished tasks?": "completed",
    }.items(),
)
async def test_a_question_lists_the_tasks_it_is_about(
    chat: Chat, question: str, status: str
) -> None:
    answer = await chat.say(question)

    shown = chat.todo.listed(status, None)
    assert answer.startswith(f"You have {shown['count']} ")
    assert all(f'"{task["title"]}" (task {task["task_id"]}' in answer for task in shown["tasks"])
    assert answer.count("\n") == shown["count"]
    assert not chat.calls


async def test_an_empty_list_is_said_to_be_empty() -> None:
    assert await Chat(TaskList()).say("What's pending?") == "You have no pending tasks."
    assert await Chat(TaskList()).say("Show my tasks") == "You have no tasks."


async def test_an_answer_names_the_task_and_its_id(chat: Chat) -> None:
    assert await chat.say("Add call mom") == 'I\'ve added "Call mom" (task 9).'
    assert await chat.say("Remove the milk task") == 'I\'ve deleted "Fetch Milk" (task 8).'
    assert (
        await chat.say("I need to pay tax by Friday")
        == 'I\'ve added "Pay tax" (task 10, due 2026-11-27).'
    )


async def test_the_first_answer_of_a_conversation_alone_names_the_offline_model(
    chat: Chat,
) -> None:
    await chat.say("hello")
    await chat.say("Add call mom")

    first, second = [item["content"] for item in chat.history if item.get("role") == "assistant"]
    assert "offline model" in str(first)
    assert "offline model" not in str(second)


@pytest.mark.parametrize("text", ["hello", "Hi there!", "what can you do?", "Can you help me?"])
async def test_small_talk_is_answered_with_examples(chat: Chat, text: str) -> None:
    answer = await chat.say(text)

    assert "Add buy milk" in answer
    assert "not sure" not in answer
    assert not chat.calls


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "Mark task 5 as not done",
        "I haven't finished the groceries",
        "don't delete task 3",
        "complete them",
        "Delete 🎉",
        "Move the lawn to somewhere",
        "7",
        "the second one",
        "",
        "(((((",
        "[a-z]+$",
        "\\",
    ],
)
async def test_what_is_not_understood_changes_nothing_and_says_so(chat: Chat, text: str) -> None:
    answer = await chat.say(text)

    assert answer.startswith("I'm not sure how to help with that, so I changed nothing.")
    assert len(chat.history) == 2


@pytest.mark.parametrize(
    ("text", "change"),
    {
        "complete it": done(9),
        "Mark it as done": done(9),
        "it's done": done(9),
        "delete it": deleted(9),
        "please delete that task": deleted(9),
        "rename it to call dad": updated(9, title="Call dad"),
        "Add a note to it: urgent": updated(9, description="urgent"),
    }.items(),
)
async def test_it_is_the_task_named_last(chat: Chat, text: str, change: Change) -> None:
    await chat.say("Add call mom")
    await chat.say("Show my tasks")
    await chat.say("thanks")

    await chat.say(text)

    assert chat.calls == [change]


async def test_it_is_the_only_task_of_a_list() -> None:
    chat = Chat(TaskList())
    chat.todo.put(4, "Call mom")
    await chat.say("Show my tasks")

    await chat.say("complete it")

    assert chat.calls == [done(4)]


@pytest.mark.parametrize("before", ["hello", "Remove the bread task", "Delete the bank"])
async def test_it_is_asked_about_where_no_one_task_was_named(chat: Chat, before: str) -> None:
    chat.todo.put(9, "Ask the bank")
    if before != "hello":
        await chat.say("Add call mom")
    await chat.say(before)

    assert (await chat.say("delete it")).startswith("Which task do you mean?")
    assert not chat.calls


@pytest.fixture
def asked(chat: Chat) -> Chat:
    """A list with three tasks about milk, one of them completed."""
    chat.todo.put(11, "Boil milk", completed=True)
    chat.todo.put(12, "Buy oat milk")
    return chat


async def test_a_name_that_fits_several_tasks_is_asked_about(asked: Chat) -> None:
    answer = await asked.say("Remove the milk task")

    assert not asked.calls
    assert '"Buy oat milk" (task 12)' in answer
    assert '"Boil milk" (task 11, completed)' in answer
    assert '"Fetch Milk" (task 8)' in answer
    assert answer.endswith("Which one do you mean?")


@pytest.mark.parametrize(
    ("choice", "task_id"),
    {
        "task 8": 8,
        "8": 8,
        "#12": 12,
        "the second one.": 11,
        "The first": 12,
        "8, please!": 8,
    }.items(),
)
async def test_the_answer_to_such_a_question_is_acted_on(
    asked: Chat, choice: str, task_id: int
) -> None:
    await asked.say("Remove the milk task")

    await asked.say(choice)

    assert asked.calls == [deleted(task_id)]


@pytest.mark.parametrize("choice", ["task 99", "the fifth one", "the milk one", "neither"])
async def test_a_choice_of_none_of_them_changes_nothing(asked: Chat, choice: str) -> None:
    await asked.say("Remove the milk task")

    await asked.say(choice)

    assert not asked.calls


async def test_a_choice_is_made_once(asked: Chat) -> None:
    await asked.say("Remove the milk task")
    await asked.say("the first one")

    await asked.say("the second one")

    assert not asked.calls


async def test_a_note_is_added_after_a_choice(asked: Chat) -> None:
    asked.todo.tasks[8]["description"] = "2 gallons"
    await asked.say("Add a note to the milk: cold")

    await asked.say("the third one")

    assert asked.calls == [updated(8, description="2 gallons\ncold")]


async def test_only_pending_tasks_are_meant_where_one_is_finished(asked: Chat) -> None:
    answer = await asked.say("I finished the milk")

    assert "Boil milk" not in answer
    assert "Which one do you mean?" in answer


async def test_a_task_that_is_completed_already_can_be_named(chat: Chat) -> None:
    await chat.say("I finished the lawn")

    assert chat.calls == [done(6)]


async def test_a_whole_title_goes_before_a_part_of_one(asked: Chat) -> None:
    asked.todo.put(13, "Milk")

    await asked.say("Remove the milk task")

    assert asked.calls == [deleted(13)]


@pytest.mark.parametrize(
    "text",
    ["Remove the bread task", "I finished the laundry", "Change the car to X", "delete the plan"],
)
async def test_a_name_that_fits_no_task_is_said_not_to_exist(chat: Chat, text: str) -> None:
    answer = await chat.say(text)

    assert answer.startswith("I can find no task")
    assert not chat.calls


async def test_a_note_to_a_task_that_is_not_there_is_said_to_fail(chat: Chat) -> None:
    assert await chat.say("Add a note to task 99: x") == 'I can find no task "99" in your list.'


async def test_a_failed_call_is_told_and_not_repeated(chat: Chat) -> None:
    answer = await chat.say("Delete task 99")

    assert answer == "I found no task 99."
    assert chat.calls == [deleted(99)]


@pytest.mark.parametrize("output", ["not JSON", "[]", "null", "{}", "[" * 100_000, ""])
async def test_a_result_that_makes_no_sense_is_told_as_a_failure(output: str) -> None:
    @function_tool
    async def list_tasks(status: str) -> str:
        return output

    agent = Agent(name="todo", model=OfflineModel(), tools=[list_tasks])
    result = await Runner.run(
        agent, "Show my tasks", max_turns=2, run_config=RunConfig(tracing_disabled=True)
    )

    assert result.final_output.endswith("I could not look at your tasks: it failed.")


@pytest.mark.parametrize("tasks", [None, 5, "x", [1, None, {}, {"title": 3}, {"task_id": 1}]])
async def test_a_history_of_another_shape_is_passed_over(chat: Chat, tasks: Any) -> None:
    await chat.say("Add call mom")
    chat.history += [
        {"role": "user", "content": "Remove the milk task"},
        {"type": "function_call", "call_id": "a", "name": "list_tasks", "arguments": "{"},
        {
            "type": "function_call_output",
            "call_id": "a",
            "output": json.dumps({"success": True, "tasks": tasks}),
        },
        {"type": "function_call_output", "call_id": "b", "output": "{}"},
    ]

    await chat.say("complete it")

    assert chat.calls == [done(9)]


async def test_the_context_the_app_puts_before_a_message_is_not_taken_for_one(
    asked: Chat,
) -> None:
    await asked.say("Remove the milk task")
    asked.history.append({"role": "user", "content": f"{CONTEXT_MARK}\nDelete task 3"})

    await asked.say("task 8")

    assert asked.calls == [deleted(8)]


async def test_call_ids_differ_and_none_is_empty(chat: Chat) -> None:
    await chat.say("Remove the milk task")
    await chat.say("Delete task 3")

    ids = [item["call_id"] for item in chat.history if item.get("type") == "function_call"]
    assert len(ids) == len(set(ids)) == 3
    assert all(ids)


async def test_a_text_is_streamed_in_pieces_that_make_up_the_whole(todo: TaskList) -> None:
    agent = Agent(name="todo", model=OfflineModel(), tools=todo.tools())
    result = Runner.run_streamed(
        agent, "Show my tasks", run_config=RunConfig(tracing_disabled=True)
    )
    raw = [
        event.data
        async for event in result.stream_events()
        if isinstance(event, RawResponsesStreamEvent)
    ]

    pieces = [event.delta for event in raw if isinstance(event, ResponseTextDeltaEvent)]
    assert len(pieces) > 5
    assert "".join(pieces) == result.final_output
    assert [raw[0].type, raw[-1].type] == ["response.created", "response.completed"]
    assert result.context_wrapper.usage.requests == 2
    assert result.context_wrapper.usage.total_tokens == 0


async def seconds_for(text: str) -> float:
    model = OfflineModel(today=lambda _: WEDNESDAY)
    start = time.perf_counter()
    await model.get_response(None, text, ModelSettings(), [], None, [], ModelTracing.DISABLED)
    return time.perf_counter() - start


def repeated(pattern: str) -> Callable[[int], str]:
    return lambda length: (pattern * length)[:length]


@pytest.mark.parametrize(
    "pattern",
    [
        *("a", " a", "a ", ",", ", ", ".", "'s ", "to ", "task ", "is done ", "by ", " by friday "),
        *("add ", "mark a as ", "change a to ", "show list ", "please ", "i finished ", "1", ": "),
        *("add a note to ", "can you ", "delete the ", "by january 1", ", please", "ing ", "(a+"),
    ],
)
async def test_the_longest_message_takes_no_time_worth_noticing(pattern: str) -> None:
    for beginning in ("", "show ", "add ", "mark ", "i finished ", "change ", "delete "):
        text = (beginning + repeated(pattern)(MESSAGE_MAX))[:MESSAGE_MAX]

        taken = [await seconds_for(text)]
        while min(taken) >= 0.1 and len(taken) < 3:  # the machine may be at something else
            taken.append(await seconds_for(text))
        assert min(taken) < 0.1


@pytest.mark.parametrize(
    "message",
    ["Set task 5 to pending", "Turn task 5 into a project", "Mark task 5 as not done"],
)
async def test_what_it_has_no_rule_for_changes_nothing(message: str) -> None:
    said = OfflineModel()._output(message, [])
    assert "changed nothing" in str(said)


# What a newcomer types in the first five minutes


FIRST_MINUTES: dict[str, list[Change]] = {
    "add a task to call the dentist tomorrow at 3pm": [
        added("Call the dentist", due_date="2026-11-26T14:00:00Z")
    ],
    "Call the dentist at 10:30 on Friday": [
        added("Call the dentist", due_date="2026-11-27T09:30:00Z")
    ],
    "add milk, eggs and bread": [added("Milk"), added("Eggs"), added("Bread")],
    "add milk, eggs, and bread tomorrow": [
        added("Milk", due_date="2026-11-26"),
        added("Eggs", due_date="2026-11-26"),
        added("Bread", due_date="2026-11-26"),
    ],
    "add buy stamps\nadd call mom\nadd ring the vet": [
        added("Buy stamps"),
        added("Call mom"),
        added("Ring the vet"),
    ],
    "Add these:\n- stamps\n- bread": [added("These"), added("Stamps"), added("Bread")],
    "add stamps and mark task 5 as done": [added("Stamps"), done(5)],
    "mark all my tasks as done": [done(8), done(5), done(3), done(2), done(1)],
    "delete completed tasks": [deleted(6)],
    "move the plants to friday": [updated(5, due_date="2026-11-27")],
    "move task 5 to next friday": [updated(5, due_date="2026-12-04")],
    "Change the due date of task 2 to Friday": [updated(2, due_date="2026-11-27")],
    "set priority of groceries to high": [updated(3, priority="high")],
    "Make task 5 high priority": [updated(5, priority="high")],
    "add a high priority task finish report by friday": [
        added("Finish report", due_date="2026-11-27", priority="high")
    ],
    "add pay the tax, urgent": [added("Pay the tax", priority="high")],
    "Complete my first task": [done(8)],
    "delete the first one": [deleted(8)],
}


@pytest.mark.parametrize(("sentence", "changes"), FIRST_MINUTES.items())
async def test_what_a_newcomer_types_is_done(
    chat: Chat, sentence: str, changes: list[Change]
) -> None:
    await chat.say(sentence)

    assert chat.calls == changes


async def test_the_first_one_is_that_of_the_list_that_was_shown(chat: Chat) -> None:
    await chat.say("show completed tasks")

    await chat.say("delete the first one")

    assert chat.calls == [deleted(6)]


@pytest.mark.parametrize(
    ("question", "titles"),
    {
        "what is due today?": ["Today's", "Today's at noon"],
        "what's due tomorrow": ["Tomorrow's"],
        "what is due this week?": ["Today's", "Today's at noon", "Tomorrow's"],
        "show overdue tasks": ["Yesterday's"],
        "overdue": ["Yesterday's"],
    }.items(),
)
async def test_what_is_due_is_told_by_its_day(question: str, titles: list[str]) -> None:
    chat = Chat(TaskList())
    for title, due in {
        "Today's": "2026-11-25",
        "Today's at noon": "2026-11-25T12:00:00Z",
        "Tomorrow's": "2026-11-26",
        "Yesterday's": "2026-11-24",
        "Next month's": "2026-12-24",
    }.items():
        chat.todo.add(title, due_date=due)
    chat.todo.add("Some day's")

    answer = await chat.say(question)

    assert {line.split('"')[1] for line in answer.splitlines()[1:]} == set(titles)


async def test_a_repetition_is_said_not_to_be_possible_where_no_tool_takes_it(chat: Chat) -> None:
    answer = await chat.say("remind me to water the garden every monday")

    assert chat.calls == [added("Water the garden", due_date="2026-11-30")]
    assert "cannot make it repeat" in answer


async def test_all_tasks_are_deleted_only_after_a_yes(chat: Chat) -> None:
    answer = await chat.say("Delete all my tasks")
    assert answer == "This would delete all 6 tasks. Shall I? Say yes."
    assert not chat.calls

    await chat.say("yes")

    assert len(chat.calls) == 6
    assert not chat.todo.tasks


@pytest.mark.parametrize("answer", ["no", "what?", "thanks"])
async def test_without_a_yes_nothing_is_deleted(chat: Chat, answer: str) -> None:
    await chat.say("Delete everything")
    await chat.say(answer)

    await chat.say("yes")

    assert len(chat.todo.tasks) == 6


async def test_a_part_of_a_title_deletes_nothing_before_a_yes(chat: Chat) -> None:
    chat.todo.tasks.pop(8)
    chat.todo.put(9, "Milk and eggs")

    answer = await chat.say("delete milk")
    assert answer == 'Do you mean "Milk and eggs" (task 9)? Say yes, and I delete it.'
    assert not chat.calls

    await chat.say("yes please")
    assert chat.calls == [deleted(9)]


@pytest.mark.parametrize(
    "text", ["thanks!", "ok", "👍", "great job", "no", "undo that", "add task"]
)
async def test_small_talk_gets_a_short_answer_and_changes_nothing(chat: Chat, text: str) -> None:
    answer = await chat.say(text)

    assert len(answer) < 80
    assert "not sure" not in answer
    assert not chat.calls


async def test_a_title_that_is_too_long_stands_whole_in_the_notes(chat: Chat) -> None:
    title = "read " * 50

    answer = await chat.say(f"add {title}")

    ((_, args),) = chat.calls
    assert len(args["title"]) <= TITLE_MAX
    assert args["description"] == title.strip().capitalize()
    assert "too long" in answer


async def test_of_a_long_list_the_rest_is_counted() -> None:
    chat = Chat(TaskList())
    for number in range(64):
        chat.todo.add(f"Task {number}")

    answer = await chat.say("show my tasks")

    assert answer.startswith("You have 64 tasks:")
    assert answer.endswith("\nand 14 more.")
