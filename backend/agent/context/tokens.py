"""Tokens, counted as OpenAI's models count them, by a vocabulary that comes with its package.

A token of such a vocabulary stands for one byte of UTF-8 or more, so the number of bytes is
never too low. Most inputs are known to fit by that alone, and nothing has to be tokenized.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from backend.agent.context.remembered import Remembered

ITEM = 3
"""Tokens that frame an item, besides those of its values: OpenAI's rule for a message."""
OTHERS_MARGIN = 1.3
"""By how much the vocabulary of another maker may need more tokens than the one counted with."""
_PIECE = 50_000
"""Characters tokenized at once; the tokenizer refuses texts of more than 200,000 tokens."""
_LONG = 300
"""Characters from which on a text's tokens are remembered rather than counted again."""
_counts: Remembered[int] = Remembered(20_000)
_CL100K = ("gpt-4-", "gpt-3.5", "gpt-35")
_O200K = ("gpt-4o", "gpt-4.1", "gpt-5", "gpt-oss", "chatgpt", "o1", "o3", "o4")


@cache
def _encoding(name: str) -> Any:
    # its import and its tables take half a second and 140 MB, so not at ours
    from bpe_openai import get_encoding  # type: ignore[import-untyped]

    return get_encoding(name)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """How a model's tokens are counted: a vocabulary, and a factor where it is not its own."""

    encoding: str
    margin: float = 1.0

    def count(self, text: str) -> int:
        """The tokens of `text`; what looks like a special token is text."""
        if len(text) < _LONG:
            return self._count(text)
        return _counts.of(text, self, lambda: self._count(text))

    def _count(self, text: str) -> int:
        pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
        encode = _encoding(self.encoding).encode_ordinary
        return math.ceil(self.margin * sum(len(encode(piece)) for piece in pieces))

    def count_items(self, items: Iterable[Any]) -> int:
        """The tokens of items of a model's input."""
        return sum(ITEM + sum(map(self.count, texts(item))) for item in items)


def tokenizer_of(model: str) -> Tokenizer:
    """The tokenizer of a model by its name, without its maker's (`openai/gpt-4o`)."""
    name = model.lower().rpartition("/")[2]
    if name.startswith(_O200K):
        return Tokenizer("o200k_base")
    if name == "gpt-4" or name.startswith(_CL100K):
        return Tokenizer("cl100k_base")
    return Tokenizer("o200k_base", OTHERS_MARGIN)


@asynccontextmanager
async def load_tokenizer() -> AsyncIterator[None]:
    """Read the vocabulary in a thread, so that no turn and no start waits for it."""
    loading = asyncio.create_task(asyncio.to_thread(_encoding, "o200k_base"))
    try:
        yield
    finally:
        await loading


def at_most(text: str) -> int:
    """A bound on the tokens of `text` in any vocabulary of bytes: its length in UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def items_at_most(items: Iterable[Any]) -> int:
    """A bound on the tokens of items of a model's input."""
    return sum(ITEM + sum(map(at_most, texts(item))) for item in items)


def texts(value: Any) -> Iterator[str]:
    """Every text among the values of an item, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
