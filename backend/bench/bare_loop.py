"""The other half of the pair: `Runner.run` as the SDK's documentation shows it.

Neither HTTP in front nor a database; agent and five tools are made anew for each run, as a
service makes them that binds its tools to the person. A line of JSON on stdin says what to
run (`{"message", "items", "turns"}`), a line on stdout how many seconds it took.
"""

import asyncio
import json
import sys
from typing import Any

from agents import (
    Agent,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    TResponseInputItem,
    function_tool,
    set_tracing_disabled,
)
from agents.tool import Tool
from openai import AsyncOpenAI
from uvicorn.loops.auto import auto_loop_factory

from backend.bench.database import history_text

AT_ONCE = 16
INSTRUCTIONS = """You are a friendly assistant that manages a person's to-do list.
Use the tools to add, list, complete, delete and update tasks. Never guess the id of a task:
list the tasks first when you do not know it. Ask when a request is not clear. Confirm what
you did in one short sentence. If a tool reports an error, tell the person what went wrong."""


def tools() -> list[Tool]:
    @function_tool
    async def add_task(
        title: str,
        description: str | None = None,
        due_date: str | None = None,
        priority: str | None = None,
    ) -> str:
        """Add a task to the list.

        Args:
            title: What is to be done, at most 200 characters.
            description: More about it, at most 1000 characters.
            due_date: When it is due, as an ISO 8601 date or time.
            priority: low, medium or high.
        """
        return json.dumps({"success": True, "task_id": 1, "title": title, "status": "pending"})

    @function_tool
    async def list_tasks(
        status: str = "all", search: str | None = None, limit: int | None = None
    ) -> str:
        """List the tasks.

        Args:
            status: all, pending or completed.
            search: Words that the title or the description holds.
            limit: How many at the most.
        """
        return json.dumps({"success": True, "tasks": [], "count": 0})

    @function_tool
    async def complete_task(task_id: int) -> str:
        """Mark a task as done.

        Args:
            task_id: The id of the task.
        """
        return json.dumps({"success": True, "task_id": task_id, "status": "completed"})

    @function_tool
    async def delete_task(task_id: int) -> str:
        """Delete a task.

        Args:
            task_id: The id of the task.
        """
        return json.dumps({"success": True, "task_id": task_id})

    @function_tool
    async def update_task(
        task_id: int,
        title: str | None = None,
        description: str | None = None,
        due_date: str | None = None,
        priority: str | None = None,
    ) -> str:
        """Change a task; what is not given stays.

        Args:
            task_id: The id of the task.
            title: The new title.
            description: The new description.
            due_date: The new due date, as an ISO 8601 date or time.
            priority: low, medium or high.
        """
        return json.dumps({"success": True, "task_id": task_id, "title": title})

    return [add_task, list_tasks, complete_task, delete_task, update_task]


def _input(message: str, items: int) -> list[TResponseInputItem]:
    history: list[TResponseInputItem] = [
        {"role": "assistant" if position % 2 else "user", "content": history_text(position)}
        for position in range(items - 1)
    ]
    return [*history, {"role": "user", "content": message}]


async def _measure(client: AsyncOpenAI, message: str, items: int, turns: int) -> float:
    """Seconds for `turns` runs, `AT_ONCE` at a time."""
    given = _input(message, items)
    waiting = iter(range(turns))

    async def work() -> None:
        for _ in waiting:
            model = OpenAIResponsesModel("gpt-4o-mini", client)
            agent: Agent[Any] = Agent(
                name="Todo assistant", instructions=INSTRUCTIONS, tools=tools(), model=model
            )
            await Runner.run(agent, given, run_config=RunConfig(tracing_disabled=True))

    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return loop.time() - started


def main() -> None:
    set_tracing_disabled(True)
    client = AsyncOpenAI(api_key="bench", base_url=sys.argv[1])
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        for line in sys.stdin:
            seconds = runner.run(_measure(client, **json.loads(line)))
            sys.stdout.write(f"{seconds}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
