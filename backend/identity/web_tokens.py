"""JWTs of Better Auth's plugin: proof by signature, for which no database is asked.

A JWT is good until it expires, a quarter of an hour by default, also where its session has
ended before.
"""

from typing import Any, cast

import jwt
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from backend.errors import InvalidSession
from backend.identity.key_set import ALGORITHMS, KeySet
from backend.models import USER_ID_MAX

LEEWAY_S = 10
"""How far the clocks of two machines may be apart."""
KID_MAX = 255

_CHECKED: dict[str, Any] = {
    "require": ["exp", "sub", "iss", "aud"],
    "enforce_minimum_key_length": True,
    **{f"verify_{claim}": True for claim in ("exp", "nbf", "iat", "iss", "aud", "sub")},
}


class WebTokens:
    """Judges JWTs by the keys of one issuer, for one audience."""

    def __init__(self, keys: KeySet, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    async def user_of(self, token: str, audience: str | None = None) -> str:
        """The `sub` of a JWT, which may be made for `audience` instead.

        What the token says of itself is judged first, so that the keys are fetched only for
        one that could be right.

        Raises:
            InvalidSession: it is malformed, not for us, out of its time, or not signed with a
                key of the set by the algorithm of that key.
            SignInUnavailable: the keys are out of reach.
        """
        claimed = self._read(token, audience)
        key = await self._keys.key(_kid(claimed["header"]))
        if key is None:
            raise InvalidSession
        return str(self._read(token, audience, key)["payload"]["sub"])

    def _read(self, token: str, audience: str | None, key: PyJWK | None = None) -> dict[str, Any]:
        """Header and claims, the claims judged; the signature too where a key is given."""
        try:
            read = jwt.decode_complete(
                token,
                key or "",
                algorithms=[key.algorithm_name] if key else None,
                options=cast(Any, _CHECKED | {"verify_signature": key is not None}),
                issuer=self._issuer,
                audience=[self._audience, *filter(None, [audience])],
                leeway=LEEWAY_S,
            )
        except (PyJWTError, ValueError, TypeError):
            raise InvalidSession from None
        user_id = read["payload"]["sub"]
        if not (0 < len(user_id) <= USER_ID_MAX and user_id.isprintable()):
            raise InvalidSession
        return read


def _kid(header: dict[str, Any]) -> str:
    """The name of the key that a token claims to be signed with.

    Nothing else of a header is of use, least of all a key in it or an address of keys.
    """
    algorithm, kid = header.get("alg"), header.get("kid")
    if not (isinstance(algorithm, str) and isinstance(kid, str)):
        raise InvalidSession
    if algorithm not in ALGORITHMS or not 0 < len(kid) <= KID_MAX:
        raise InvalidSession
    return kid
