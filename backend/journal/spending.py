"""What a turn's model calls cost in tokens, as the provider counted them."""

from dataclasses import dataclass

COUNT_MAX = 100_000_000
"""Tokens of one answer of a model at the most; more has been counted by nobody."""


@dataclass(slots=True)
class Spending:
    """The tokens of all runs of a turn; None is unknown, not none.

    `cached` are those of `input` that the provider had kept from an earlier request.
    """

    input: int | None = None
    cached: int | None = None
    output: int | None = None

    def add(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> None:
        """Count one answer of the model; what is nothing, or more than can be, is unknown."""
        counts = input_tokens, cached_tokens, output_tokens
        if not (input_tokens or output_tokens) or not all(0 <= n <= COUNT_MAX for n in counts):
            return
        self.input = (self.input or 0) + input_tokens
        self.cached = (self.cached or 0) + cached_tokens
        self.output = (self.output or 0) + output_tokens
