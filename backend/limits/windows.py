"""Moving windows in this process: a hit costs little, and the idlest key is forgotten first.

The store in memory that `limits` brings goes through every key it holds after a hit, which
takes 100 ms at 20,000, and never lets a key go by itself.
"""

import time
from collections import OrderedDict, deque
from typing import Any

from limits.storage import MovingWindowSupport, Storage

KEYS_MAX = 20_000
"""Keys that a store remembers; past it the one whose last call is the oldest is forgotten."""


class RecentCalls(Storage, MovingWindowSupport):
    """The times of the calls of each key, idlest key first, oldest call first.

    What leaves a window is dropped when its key is next looked at, so the work of a hit is
    that of the calls it was once told of.
    """

    STORAGE_SCHEME = ["recent"]  # noqa: RUF012  # as `limits` declares it
    base_exceptions = ValueError

    def __init__(self, uri: str | None = None, **options: Any) -> None:
        super().__init__(uri, **options)
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._calls)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = time.time()
        calls = self._calls.setdefault(key, deque())
        self._calls.move_to_end(key)
        if len(self._calls) > KEYS_MAX:
            self._calls.popitem(last=False)
        _drop_before(now - expiry, calls)
        if len(calls) + amount > limit:
            return False
        calls.extend([now] * amount)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        now = time.time()
        calls = self._calls.get(key, deque())
        _drop_before(now - expiry, calls)
        return (calls[0] if calls else now), len(calls)

    def clear(self, key: str) -> None:
        self._calls.pop(key, None)

    def reset(self) -> int:
        forgotten = len(self._calls)
        self._calls.clear()
        return forgotten

    def check(self) -> bool:
        return True

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError

    def get(self, key: str) -> int:
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError


def _drop_before(start: float, calls: deque[float]) -> None:
    if calls and calls[-1] < start:
        calls.clear()
    while calls and calls[0] < start:
        calls.popleft()
