"""What is known of models by name: their windows and prices, from `genai-prices`.

The library carries its data and is asked for nothing over the network. It is loaded when the
first model is looked up, which takes some tenths of a second: at the start, never in a turn.
What the settings say of a model goes before it.
"""

from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any

from backend.journal.spending import Pricing
from backend.settings.providers import OFFLINE_MODEL, Price

UNKNOWN_WINDOW = 8_192
"""Tokens that a model takes of which nothing is known."""
_OFFLINE_WINDOW = 128_000
_WINDOWS_THERE_NOT = {
    "command-r": 128_000,
    "gpt-4.5": 128_000,
    "gpt-5": 400_000,
    "gemini-": 1_048_576,
    "claude-": 200_000,
    "gpt-oss": 131_072,
    "llama-3.1": 131_072,
    "llama-3.2": 131_072,
    "llama-3.3": 131_072,
    "llama3.1": 131_072,
    "llama3.2": 131_072,
    "llama3.3": 131_072,
    "mistral-large": 128_000,
    "mistral-small": 32_768,
    "mixtral": 32_768,
    "qwen2.5": 32_768,
    "qwen3": 32_768,
}
"""Of families whose newest, or whose open models under their names on one's own machine, the
library does not have."""
_MILLION = Decimal(1_000_000)


@lru_cache(maxsize=1000)
def window_of(model: str, base_url: str | None = None) -> int:
    """Tokens that a model takes at once, input and answer together; by its host, else its name."""
    if model == OFFLINE_MODEL:
        return _OFFLINE_WINDOW
    windows = (found.context_window for _, found in _found(model, base_url))
    if window := next(filter(None, windows), None):
        return int(window)
    name = model.lower().rpartition("/")[2]
    families = [family for family in _WINDOWS_THERE_NOT if name.startswith(family)]
    return _WINDOWS_THERE_NOT[max(families, key=len)] if families else UNKNOWN_WINDOW


@lru_cache(maxsize=1000)
def pricing_of(model: str, base_url: str | None = None) -> Pricing | None:
    """What its tokens cost, by its host, else its name; None where nobody says it."""
    if model == OFFLINE_MODEL:
        return None
    priced = [pair for pair in _found(model, base_url) if pair[1].prices]
    if not priced:
        return None
    maker, found = priced[0]

    def price(given: int, cached: int, made: int) -> Decimal | None:
        from genai_prices import Usage

        used = Usage(input_tokens=given, cache_read_tokens=cached, output_tokens=made)
        try:
            total: Decimal = found.calc_price(used, maker).total_price
        except (ValueError, LookupError, ArithmeticError):
            return None
        return total

    return price


def _found(model: str, base_url: str | None) -> Iterator[tuple[Any, Any]]:
    """A provider and its model, as the library knows them: the likeliest first."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    for name in dict.fromkeys((model, model.rpartition("/")[2])):
        for url in dict.fromkeys((base_url, None)):
            with suppress(LookupError):
                yield snapshot.find_provider_model(name, None, None, url)


def agreed(price: Price) -> Pricing:
    """The pricing that the settings say."""
    cached_price = price.input if price.cached is None else price.cached

    def of(given: int, cached: int, made: int) -> Decimal | None:
        whole = (given - cached) * price.input + cached * cached_price + made * price.output
        return whole / _MILLION

    return of
