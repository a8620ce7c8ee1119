"""What was found out about long texts, since the same ones go into each turn of a conversation."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b


class Remembered[T]:
    """Something about each of at most `kept` texts, by their hashes; the idlest goes first."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._found: OrderedDict[tuple[bytes, Hashable], T] = OrderedDict()

    def of(self, text: str, how: Hashable, find_out: Callable[[], T]) -> T:
        """What `find_out` gives of `text`, asked once; `how` is what else it depends on."""
        digest = blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        key = (digest, how)
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        found = self._found[key] = find_out()
        if len(self._found) > self._kept:
            self._found.popitem(last=False)
        return found
