"""What a server has refused, so that it is not sent again: learnt from its own words."""

import logging
import re
from collections.abc import Iterator
from typing import Any

from openai import APIStatusError

from backend.settings.providers import Asking

logger = logging.getLogger(__name__)

_TOLD = (
    (
        r"roles? must alternate|conversation roles|consecutive (user )?messages",
        {"roles": "alternate"},
    ),
    (
        r"(system|developer)['\"` ]*(role|messages?) (is |are )?not supported",
        {"roles": "no_system"},
    ),
    (
        r"reasoning_content.{0,80}(passed back|is missing|is required|must be)",
        {"reasoning_back": "always"},
    ),
    (
        r"reasoning_(content|details)['\"`]? ?(is |are )?(unsupported|not |unexpected|unknown)",
        {"reasoning_back": "never"},
    ),
)
_REFUSED = re.compile(
    r"unsupported|not supported|does ?n.t support|unrecogni[sz]ed|unknown|unexpected|not permitted"
    r"|not allowed|extra (inputs|fields)|only the default",
    re.IGNORECASE,
)
_DROPPED = (
    "parallel_tool_calls", "stream_options", "reasoning_effort", "reasoning", "temperature",
    "max_tokens", "verbosity", "store", "strict", "tool_choice",
)  # fmt: skip
"""Parameters that an answer does not depend on."""
_LESSONS = [(re.compile(form, re.IGNORECASE | re.DOTALL), said) for form, said in _TOLD]


class Lessons:
    """What one model of one server has taught this process."""

    def __init__(self) -> None:
        self.asking = Asking()
        self.dropped: set[str] = set()
        self._learnt: set[re.Pattern[str]] = set()

    def learn(self, error: APIStatusError, parameters: dict[str, Any]) -> bool:
        """Whether the same request may succeed, if it is sent with what has been learnt."""
        if error.status_code not in (400, 422, 500):  # llama.cpp fails so in its template
            return False
        words = f"{error.message} {error.body}"[:4000]
        for form, said in _LESSONS:
            if form not in self._learnt and form.search(words):
                self._learnt.add(form)
                kept = {"roles": "no_system"} if self.asking.roles == "no_system" else {}
                self.asking = self.asking.model_copy(update={**said, **kept})
                logger.warning("a provider teaches", extra={"fields": said})
                return True
        for name in self._named(error, words, parameters):
            self.dropped.add(name)
            logger.warning("a provider refuses a parameter", extra={"fields": {"parameter": name}})
            return True
        return False

    def _named(
        self, error: APIStatusError, words: str, parameters: dict[str, Any]
    ) -> Iterator[str]:
        if not _REFUSED.search(words):
            return
        for name in _DROPPED:
            sent = name in parameters or (name == "strict" and "tools" in parameters)
            named = error.param == name or re.search(rf"\b{name}\b", words)
            if sent and named and name not in self.dropped:
                yield name

    def without_dropped(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters without what has been refused."""
        kept = {name: value for name, value in parameters.items() if name not in self.dropped}
        if "strict" in self.dropped and isinstance(kept.get("tools"), list):
            kept["tools"] = [_lax(tool) for tool in kept["tools"]]
        return kept


def _lax(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool without the word `strict`, in either format."""
    lax = {name: value for name, value in tool.items() if name != "strict"}
    if isinstance(lax.get("function"), dict):
        lax["function"] = _lax(lax["function"])
    return lax
