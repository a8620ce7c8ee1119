"""A short text by the model, outside of any turn: no tools, one answer, a time limit."""

import asyncio
import json
import logging
from typing import Any

from agents import Agent, Model, RunConfig, Runner

from backend.conversations.tool_calls import strip_unstorable

logger = logging.getLogger(__name__)

WRITING_SECONDS = 20.0

_RUN_OF_NOTES = RunConfig(workflow_name="notes")


async def write(model: Model, instructions: str, given: dict[str, Any]) -> str | None:
    """What `model` writes about `given`, as it comes; None where it fails or takes too long.

    `given` goes in as JSON, so that a text in it can neither end its place nor speak for the app.
    """
    agent = Agent[None](name="notes", instructions=instructions, model=model)
    try:
        async with asyncio.timeout(WRITING_SECONDS):
            asked = json.dumps(given, ensure_ascii=False)
            result = await Runner.run(agent, asked, max_turns=1, run_config=_RUN_OF_NOTES)
    except Exception as error:
        logger.warning("the model wrote no note", exc_info=error)
        return None
    return strip_unstorable(str(result.final_output or ""))
