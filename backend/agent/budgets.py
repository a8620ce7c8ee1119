"""The budget of each model, beside the prompt and the tools, which go with every input."""

import json
from functools import cache

from backend.agent.context.budget import ANSWER_MAX, Budget
from backend.agent.context.tokens import tokenizer_of
from backend.agent.tools import TOOLS
from backend.agent.words.prompt import INSTRUCTIONS


@cache
def _fixed() -> str:
    tools = [
        (tool.template.name, tool.template.description, tool.template.params_json_schema)
        for tool in TOOLS
    ]
    return INSTRUCTIONS + json.dumps(tools)


@cache
def budget_of(model: str, window: int) -> Budget:
    """The budget of a model with `window` tokens for input and answer together."""
    return Budget(window - min(window // 4, ANSWER_MAX), tokenizer_of(model), _fixed())
