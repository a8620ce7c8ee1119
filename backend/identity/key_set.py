"""The public keys that Better Auth signs with, fetched when they are wanted and kept a while."""

import asyncio
import json
import logging
import math
import time
from typing import Any

import httpx2
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from backend.errors import SignInUnavailable

logger = logging.getLogger(__name__)

ALGORITHMS = frozenset({"EdDSA", "ES256", "ES512", "PS256", "RS256"})
"""What Better Auth can sign with; each has one type of key, and none has a shared secret."""

FRESH_S = 300.0
"""Seconds a set counts without being fetched anew: how long a key that was removed still does."""
STALE_S = 3600.0
"""Seconds a set still counts while no newer one can be had."""
COOL_DOWN_S = 5.0
"""Seconds from one fetch to the next, whatever tokens come in meanwhile."""
FETCH_S = 3.0
SET_MAX = 256 * 1024
"""Bytes; a set lists the keys of a month, each of about 400 bytes."""

_UNREADABLE = (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError, RecursionError)

_UNUSABLE_KEY = (
    PyJWTError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
)
"""What PyJWT makes of an entry that is no key it knows."""


class KeySet:
    """The keys at one address, by their `kid`; requests that want them at once share a fetch."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._client = client
        self._lock = asyncio.Lock()
        self._keys: dict[str, PyJWK] = {}
        self._fetched = self._tried = -math.inf
        self._failed = False

    async def key(self, kid: str) -> PyJWK | None:
        """The key of this name; None where the set, fetched anew for it, does not list it.

        Raises:
            SignInUnavailable: whether it is listed cannot be known, as the set is out of reach.
        """
        if kid not in self._keys or time.monotonic() - self._fetched > FRESH_S:
            await self._refresh()
        known = self._keys.get(kid)
        too_old = time.monotonic() - self._fetched > STALE_S
        if too_old or (known is None and self._failed):
            raise SignInUnavailable
        return known

    async def _refresh(self) -> None:
        """Fetch the set, unless that was done a moment ago, perhaps while we waited for it."""
        async with self._lock:
            if time.monotonic() - self._tried < COOL_DOWN_S:
                return
            try:
                async with asyncio.timeout(FETCH_S):
                    self._keys = await self._fetch()
                self._fetched, self._failed = time.monotonic(), False
            except _UNREADABLE as error:
                self._failed = True
                logger.warning("Better Auth's JWKS cannot be read: %s", type(error).__name__)
            self._tried = time.monotonic()

    async def _fetch(self) -> dict[str, PyJWK]:
        """What the address lists now; no redirect is followed and nothing is unpacked."""
        plain = {"Accept": "application/json", "Accept-Encoding": "identity"}
        body = bytearray()
        async with self._client.stream("GET", self._url, headers=plain) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > SET_MAX:
                    raise ValueError("the set is too large")
        return read_keys(json.loads(body))


def read_keys(document: Any) -> dict[str, PyJWK]:
    """The keys of a JWKS that Better Auth could have signed with; others are passed over.

    Raises:
        ValueError: it is no JWKS.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a key set")
    keys: dict[str, PyJWK] = {}
    for entry in listed:
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str):
            key = _read_key(entry)
            if key is not None:
                keys[entry["kid"]] = key
    return keys


def _read_key(entry: dict[str, Any]) -> PyJWK | None:
    """A key bound to its one algorithm: what the set says, or what goes with its type."""
    if entry.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(entry)
    except _UNUSABLE_KEY:
        return None
    return key if key.algorithm_name in ALGORITHMS else None
