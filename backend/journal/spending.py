"""What a turn's model calls cost, in tokens as the provider counted them and in US dollars."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

COUNT_MAX = 100_000_000
"""Tokens of one answer of a model at the most; more has been counted by nobody."""

type Pricing = Callable[[int, int, int], Decimal | None]
"""The cost of an answer, in US dollars: of its input tokens, the cached ones of them, its output.

None where the price is not known.
"""


@dataclass(slots=True)
class Spending:
    """The tokens of one attempt at a turn; None is unknown, not none.

    `cached` are those of `input` that the provider had kept from an earlier request.
    """

    input: int | None = None
    cached: int | None = None
    output: int | None = None
    cost: Decimal | None = None
    """At the prices of the moments at which the answers came."""
    pricing: Pricing | None = None
    waited: float = 0.0
    """Seconds in which models, and servers of tools, were waited for."""

    def add(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> None:
        """Count one answer of the model; what is nothing, or more than can be, is unknown."""
        counts = input_tokens, cached_tokens, output_tokens
        if not (input_tokens or output_tokens) or not all(0 <= n <= COUNT_MAX for n in counts):
            return
        self.input = (self.input or 0) + input_tokens
        self.cached = (self.cached or 0) + cached_tokens
        self.output = (self.output or 0) + output_tokens
        cost = (
            self.pricing(input_tokens, min(cached_tokens, input_tokens), output_tokens)
            if (self.pricing)
            else None
        )
        if cost is not None:
            self.cost = (self.cost or Decimal()) + cost

    def booked(self) -> dict[str, object]:
        """The values of a write that books it, as `statements.BOOKED` names them."""
        return {
            "spent_input": self.input,
            "spent_cached": self.cached,
            "spent_output": self.output,
            "spent_cost": self.cost,
        }


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other


def together(one: Spending, other: Spending) -> Spending:
    """The tokens of both."""
    return Spending(
        _sum(one.input, other.input),
        _sum(one.cached, other.cached),
        _sum(one.output, other.output),
    )
