"""The agent and the one loop that runs it."""

import asyncio
import copy
import json

from agents import (
    Agent,
    FunctionToolResult,
    Model,
    RunConfig,
    RunContextWrapper,
    RunErrorHandlerInput,
    Runner,
    Tool,
    ToolErrorFormatterArgs,
    ToolExecutionConfig,
    ToolsToFinalOutputResult,
    UserError,
)
from agents.run_config import CallModelData, ModelInputData

from backend.agent.context.build import Context
from backend.agent.models.guarded_model import GuardedModel
from backend.agent.models.run_model import ProviderError
from backend.agent.words.answers import found_by
from backend.agent.words.prompt import INSTRUCTIONS, empty_answer
from backend.conversations.tool_calls import changes, strip_unstorable
from backend.journal.turns import Turn
from backend.visible import shows_something

MAX_MODEL_CALLS = 10
"""Model calls of one run at the most; past it the run answers with what it has done."""


class ToolStopped(Exception):
    """A tool could not go on, and its run ended; the cause is what the tool raised."""


def _unknown_tool(unknown: ToolErrorFormatterArgs[Turn]) -> str | None:
    """A tool the model made up is a result it can read; nothing ran, so nothing is recorded."""
    if unknown.kind != "tool_not_found":
        return None
    return json.dumps(
        {"success": False, "error": "There is no such tool.", "error_code": "VALIDATION_ERROR"}
    )


def _stop_at_limit(stopped: RunErrorHandlerInput[Turn]) -> str:
    calls = stopped.context.context.calls
    found = "" if changes(calls) else found_by(calls)
    so_far = found or f"Done so far: {'; '.join(changes(calls)) or 'nothing'}."
    return f"I stopped here, as this took too many steps. {so_far}"


def _pass_on_refusal(refused: RunErrorHandlerInput[Turn]) -> str:
    return str(getattr(refused.error, "refusal", "")) or "I can't help with that."


_RUN = RunConfig(
    tool_execution=ToolExecutionConfig(max_function_tool_concurrency=1),
    tool_not_found_behavior="return_error_to_model",
    tool_error_formatter=_unknown_tool,
)


def create_agent(model: Model, tools: list[Tool], turn: Turn, note: str = "") -> Agent[Turn]:
    """A fresh agent for one run of `turn`; agents and tools are not safe to share between runs.

    `note` is what the model is told besides `INSTRUCTIONS`.
    """
    return Agent(
        name="todo-assistant",
        instructions=INSTRUCTIONS + note,
        model=GuardedModel(model, turn),
        tools=tools,
        tool_use_behavior=_end_where_it_asks,
    )


def _end_where_it_asks(
    run: RunContextWrapper[Turn], _: list[FunctionToolResult]
) -> ToolsToFinalOutputResult:
    """A step in which a call waits for the person is the last of its run."""
    return ToolsToFinalOutputResult(is_final_output=run.context.asks, final_output="")


async def run_agent(agent: Agent[Turn], context: Context, turn: Turn, limit: float) -> str:
    """Run `agent` on `context` for `limit` seconds at the most; its answer, never empty.

    Each call of the model is given what fits. What its tools did is in the turn's record,
    however this ends.

    Raises:
        ProviderError: the model gave no answer, or not within the limit.
        ToolStopped: a tool raised, because it could not go on.
    """

    def fit(given: CallModelData[Turn]) -> ModelInputData:
        return ModelInputData(context.fit(given.model_data.input), given.model_data.instructions)

    run_config = copy.copy(_RUN)  # made anew it would have its type hints read each time
    run_config.call_model_input_filter = fit
    try:
        async with asyncio.timeout(limit):
            result = await Runner.run(
                agent,
                context.items,
                context=turn,
                max_turns=MAX_MODEL_CALLS,
                run_config=run_config,
                error_handlers={
                    "max_turns": _stop_at_limit,
                    "model_refusal": _pass_on_refusal,
                },
            )
    except TimeoutError as error:
        raise ProviderError("timeout") from error
    except UserError as error:
        # the SDK's wrapping of an exception out of a tool
        if isinstance(error.__cause__, Exception):
            raise ToolStopped from error.__cause__
        raise
    except ProviderError:
        raise
    except Exception as error:
        # tools speak through the case above; what is left is an answer the SDK cannot take
        raise ProviderError("bad_answer") from error
    answer = strip_unstorable(str(result.final_output or "")).strip()
    return answer if shows_something(answer) else empty_answer(changes(turn.calls))
