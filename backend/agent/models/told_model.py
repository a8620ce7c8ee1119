"""A model whose answers are streamed and told as they come, while the run gets them whole.

So a run that is watched is the same run as any other: one loop, one way to fail, and tools that
begin when the answer is there. The SDK's own streamed loop is not used; it would cost more for
each delta, and a run that is cut off there says less of what it has done.
"""

from collections.abc import AsyncIterator
from typing import Any

from agents import ItemHelpers, Model, ModelResponse, Usage
from agents.items import TResponseOutputItem, TResponseStreamEvent
from openai.types.responses import Response, ResponseOutputMessage

from backend.agent.models.run_model import ProviderError, RunModel
from backend.agent.words.answers import is_only_a_call, may_become_a_call
from backend.agent.words.events import Telling


class ToldModel(Model):
    """`model`, told to `telling`."""

    def __init__(self, model: RunModel, telling: Telling) -> None:
        self._model = model
        self._telling = telling

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        telling = self._telling
        telling.begin_answer()
        items: list[TResponseOutputItem] = []
        said, held = "", list[tuple[str, str]]()
        whole: Response | None = None
        # to its end, which its own last event is: so it closes itself
        async for event in self._model.stream_response(*args, **kwargs):
            match event.type:
                case "response.output_text.delta":
                    said += event.delta
                    held.append((event.item_id, event.delta))
                    if not may_become_a_call(said, telling.names):
                        for piece in held:
                            telling.hear(*piece)
                        held.clear()
                case "response.output_item.done":
                    items.append(event.item)
                case "response.completed":
                    whole = event.response
        if whole is None:
            raise ProviderError("bad_answer")
        output = whole.output or items
        texts = [
            _text_of_message(item) for item in output if isinstance(item, ResponseOutputMessage)
        ]
        # a call in words is never shown: the model is asked again
        telling.settle([] if is_only_a_call("".join(texts), telling.names) else texts)
        return ModelResponse(output, usage=_usage(whole), response_id=whole.id)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        return self._model.stream_response(*args, **kwargs)


def _text_of_message(message: ResponseOutputMessage) -> str:
    return ItemHelpers.extract_text(message) or ""


def _usage(response: Response) -> Usage:
    """What the answer has cost, as far as it says."""
    told = response.usage
    if told is None:
        return Usage(requests=1)
    return Usage(
        requests=1,
        input_tokens=told.input_tokens,
        output_tokens=told.output_tokens,
        total_tokens=told.total_tokens,
        input_tokens_details=told.input_tokens_details,
        output_tokens_details=told.output_tokens_details,
    )
