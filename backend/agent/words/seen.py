"""Calls of models and of tools as they are told, by OpenTelemetry's conventions for both."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any, Self

from openai.types.responses import ResponseFunctionToolCall, ResponseOutputItem

from backend.journal.spending import Spending
from backend.telemetry import spans
from backend.telemetry.figures import MODEL_COST, MODEL_SECONDS, MODEL_TOKENS

TEXT_MAX = 20_000
"""Characters of what was asked and answered that are told, where people's texts may be."""


class SeenModel:
    """A call of a model, from its request to the last of its answer, inside its block.

    `by` are provider and model by their names in the settings, which are few. What is waited for
    it is added to `spending`, as is what it costs, which is taken from there at the end.
    """

    def __init__(self, by: tuple[str, str], spending: Spending, given: Any) -> None:
        self._by = {"gen_ai.provider.name": by[0], "gen_ai.request.model": by[1]}
        self._labels = {"gen_ai.operation.name": "chat", **self._by}
        self._spending = spending
        self._before = _spent_so_far(spending)
        self._given = given
        self._output: Sequence[ResponseOutputItem] = ()
        self._span = spans.span(f"chat {by[1]}", self._labels, "client", detached=True)

    def __enter__(self) -> Self:
        self._began, self._over = perf_counter(), 0.0
        self._span.__enter__()
        return self

    def asking(self) -> AbstractContextManager[object]:
        """The stretch in which the request goes out, to be told which trace it belongs to."""
        return self._span.within()

    def over(self) -> None:
        """Stop the clock: the answer is here; only a place to work may still be waited for."""
        self._over = perf_counter()

    def answered(self, output: Sequence[ResponseOutputItem]) -> None:
        """Keep the model's answer, of which the span tells how much it was."""
        self._output = output

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *rest: object
    ) -> None:
        seconds = (self._over or perf_counter()) - self._began
        self._spending.waited += seconds
        labels = self._labels
        if error is not None:
            labels = {**labels, "error.type": _span_reason(error)}
            self._span.fail(_span_reason(error))
        MODEL_SECONDS.record(seconds, labels)
        self._count()
        self._tell_texts()
        self._span.__exit__(None)

    def _count(self) -> None:
        used = [
            now - before
            for now, before in zip(_spent_so_far(self._spending), self._before, strict=True)
        ]
        for name, amount in zip(("input", "output"), used, strict=False):
            if amount:
                MODEL_TOKENS.record(amount, {**self._labels, "gen_ai.token.type": name})
                self._span.note({f"gen_ai.usage.{name}_tokens": int(amount)})
        if used[2]:
            MODEL_COST.add(used[2], self._by)
        if self._output:
            calls = any(isinstance(each, ResponseFunctionToolCall) for each in self._output)
            self._span.note({"gen_ai.response.finish_reasons": ["tool_call" if calls else "stop"]})

    def _tell_texts(self) -> None:
        tracing = spans.tracing()
        if tracing is None or not tracing.tells_texts:
            return
        said = [each.model_dump(exclude_none=True) for each in self._output]
        self._span.note(
            {
                "gen_ai.input.messages": json.dumps(self._given, default=str)[:TEXT_MAX],
                "gen_ai.output.messages": json.dumps(said, default=str)[:TEXT_MAX],
            }
        )


def _spent_so_far(spending: Spending) -> tuple[float, float, float]:
    """Tokens in and out, and dollars, so far."""
    return spending.input or 0, spending.output or 0, float(spending.cost or 0)


def _span_reason(error: BaseException) -> str:
    """Why there is no answer: a word of ours, else the kind of the error."""
    return str(getattr(error, "reason", None) or type(error).__qualname__)


class SeenCall:
    """A call of a tool, inside its block; what is asked and answered is not told."""

    def __init__(self, name: str, call_id: str = "") -> None:
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
        }
        if call_id:
            attributes["gen_ai.tool.call.id"] = call_id
        self._span = spans.span(f"execute_tool {name}", attributes)

    def __enter__(self) -> Self:
        self._span.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._span.__exit__(*error)

    def answered(self, answer: str) -> None:
        """What it gives, as JSON, of which a failure's code is told."""
        if self._span is not spans.SILENCE and '"error_code"' in answer:
            result = json.loads(answer)
            if not result.get("success", True):
                self._span.fail(str(result.get("error_code")))
