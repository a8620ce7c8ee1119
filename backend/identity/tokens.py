"""The forms in which Better Auth's sign-in reaches us, told apart by their looks alone.

Dy3Kq...                        the session's token: 32 letters and digits, no dot
Dy3Kq....k1vG8...=              the same, signed; perhaps URL-encoded
eyJhb....eyJzd....Xk2...        a JWT: three parts in the alphabet of base64url
"""

import hmac
import re
from base64 import b64encode
from urllib.parse import unquote

from pydantic import SecretStr
from starlette.datastructures import Headers

from backend.errors import InvalidSession

SESSION_TOKEN_MAX = 512
JWT_MAX = 8192
"""Characters; Better Auth puts the whole user into a JWT, which makes 2 to 4 thousand."""

_TOKEN_TEXT = re.compile(r"[!-\-/-~]+")
"""Printable, without blanks and without a dot."""
_SIGNED = re.compile(r"(?P<token>[!-~]+)\.(?P<signature>[A-Za-z0-9+/]{43}=)")
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


def bearer_of(headers: Headers) -> str | None:
    """What stands behind `Bearer`, the scheme in any case, perhaps nothing; None without it.

    Raises:
        InvalidSession: there are several such headers, of which none is to be preferred.
    """
    given = headers.getlist("authorization")
    if len(given) > 1:
        raise InvalidSession
    scheme, _, rest = "".join(given).strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else None


def is_jwt(text: str) -> bool:
    return len(text) <= JWT_MAX and _JWT.fullmatch(text) is not None


def plain_token(text: str) -> str | None:
    """`text`, if it can be a session's token as it stands in the database."""
    possible = len(text) <= SESSION_TOKEN_MAX and _TOKEN_TEXT.fullmatch(text)
    return text if possible else None


def signed_token(text: str, secret: SecretStr | None) -> str | None:
    """The token in `token.signature`; None where the form or the signature is wrong.

    Without a secret the form alone is judged: the token is then worth what it is unsigned.
    """
    if len(text) > 3 * SESSION_TOKEN_MAX:  # each sign may be written as %XX
        return None
    signed = _SIGNED.fullmatch(unquote(text))
    if signed is None or len(signed["token"]) > SESSION_TOKEN_MAX:
        return None
    if secret is not None and not _is_signed(signed["token"], signed["signature"], secret):
        return None
    return signed["token"]


def _is_signed(token: str, signature: str, secret: SecretStr) -> bool:
    digest = hmac.digest(secret.get_secret_value().encode(), token.encode(), "sha256")
    return hmac.compare_digest(b64encode(digest), signature.encode())
