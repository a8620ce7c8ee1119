"""What a model's input may have in tokens, and how much of it is for what was said before."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from backend.agent.context.tokens import Tokenizer, at_most, items_at_most

ANSWER_MAX = 16_384
"""Tokens left for the answer at the most; a quarter of the window where that is less."""
NOW_MAX = 8_000
"""Tokens kept from the history for the new message, the day's context and the run's own calls,
at the most; a quarter of the input where that is less."""
BYTES_A_TOKEN = 3
"""Of JSON in English, at the least."""
RESULT_MAX = 4_000
"""Tokens of one tool result at the most; an eighth of the input where that is less."""


@cache
def _fixed_tokens(tokenizer: Tokenizer, fixed: str) -> int:
    return tokenizer.count(fixed)


@dataclass(frozen=True)
class Budget:
    """The bounds of one model's input: `tokens` for all of it.

    `fixed` are the prompt and the tools, which go with every input.
    """

    tokens: int
    tokenizer: Tokenizer
    fixed: str

    @cached_property
    def history(self) -> int:
        """Tokens for what was said before; zero where the fixed part takes up everything."""
        now = min(self.tokens // 4, NOW_MAX)
        return max(0, self.tokens - now - _fixed_tokens(self.tokenizer, self.fixed))

    @property
    def history_at_least(self) -> int:
        """A lower bound of `history`, for which nothing is tokenized."""
        return self.tokens - min(self.tokens // 4, NOW_MAX) - at_most(self.fixed)

    @property
    def result(self) -> int:
        """Tokens of one tool result."""
        return min(self.tokens // 8, RESULT_MAX)

    def size(self, items: Iterable[Any]) -> int:
        """The tokens of an input of `items`, with the fixed part."""
        return _fixed_tokens(self.tokenizer, self.fixed) + self.tokenizer.count_items(items)

    def holds(self, items: list[Any], known: int = 0) -> bool:
        """Whether an input of `items` is within bounds by its bytes, `known` bytes besides.

        False says only that it has to be counted.
        """
        return at_most(self.fixed) + known + items_at_most(items) <= self.tokens

    @property
    def more_tools(self) -> int:
        """Bytes that more tools than ours may say of themselves: a quarter of the input."""
        return self.tokens * BYTES_A_TOKEN // 4

    def less(self, size: int) -> "Budget":
        """What is left beside more tools, which say `size` bytes of themselves."""
        return replace(self, tokens=max(0, self.tokens - size // BYTES_A_TOKEN)) if size else self

    def halved(self, sent: Iterable[Any]) -> "Budget":
        """Half of what `sent` turned out to be, for a model that says it is too long."""
        return replace(self, tokens=min(self.tokens, self.size(sent)) // 2)
