"""JWTs: which are believed, and what is tried to have others believed."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI

from backend.identity import key_set
from backend.tests.support.databases import statements_sent
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.key_server import KeyServer, SigningKey, private_key, serving_keys

ALGORITHMS = ["EdDSA", "ES256", "ES512", "PS256", "RS256"]


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[KeyServer]:
    async with serving_keys() as keys:
        yield keys


@pytest.fixture(scope="module")
async def app(shared_database_url: str, issuer: KeyServer) -> AsyncIterator[FastAPI]:
    settings = make_settings(shared_database_url, better_auth_url=issuer.address)
    async with running(settings) as app:
        yield app


@pytest.fixture
def keys(issuer: KeyServer, monkeypatch: pytest.MonkeyPatch) -> KeyServer:
    """The issuer, which lists nothing yet; each test signs with keys of its own."""
    monkeypatch.setattr(key_set, "COOL_DOWN_S", 0.0)
    issuer.listed, issuer.fetches = [], 0
    return issuer


@pytest.fixture
def key(keys: KeyServer) -> SigningKey:
    """A key that the issuer lists."""
    key = SigningKey()
    keys.listed = [key.jwk]
    return key


async def ask(app: FastAPI, token: str) -> httpx.Response:
    async with client_of(app) as client:
        return await client.get("/api/tasks", headers={"Authorization": f"Bearer {token}"})


async def status_of(app: FastAPI, token: str) -> int:
    """401 also has to be the envelope of the contract."""
    answer = await ask(app, token)
    if answer.status_code == 401:
        assert answer.json()["error"]["code"] == "INVALID_SESSION"
        assert answer.headers["www-authenticate"] == "Bearer"
    return answer.status_code


def encoded(part: Any) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(key: SigningKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Signed rightly, whatever stands in it."""
    assert isinstance(key.private, Ed25519PrivateKey)
    signing = f"{encoded({'alg': 'EdDSA'} | header)}.{encoded(claims)}"
    return f"{signing}.{encoded(key.private.sign(signing.encode()))}"


def hs256(secret: bytes, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Signed with a shared secret, by hand: libraries refuse to take a public key for one."""
    signing = f"{encoded({'alg': 'HS256'} | header)}.{encoded(claims)}"
    return f"{signing}.{encoded(hmac.digest(secret, signing.encode(), 'sha256'))}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_jwt_is_believed_by_the_algorithm_of_its_key_alone(
    app: FastAPI, keys: KeyServer, algorithm: str
) -> None:
    key, other = SigningKey.of(algorithm), SigningKey.of(algorithm)
    keys.listed = [key.jwk, other.jwk]
    assert await status_of(app, key.sign(keys.claims())) == 200
    assert await status_of(app, key.sign(keys.claims(), kid=other.kid)) == 401
    if algorithm in ("PS256", "RS256"):
        swapped = {"PS256": "RS256", "RS256": "PS256"}[algorithm]
        assert await status_of(app, key.sign(keys.claims(), alg=swapped)) == 401


async def test_the_subject_is_the_user_and_no_session_is_asked_for(
    app: FastAPI, keys: KeyServer, key: SigningKey, alice_id: str, bob_id: str
) -> None:
    with statements_sent() as statements:
        async with client_of(app, key.sign(keys.claims(sub=alice_id))) as alice:
            made = await alice.post("/api/tasks", json={"title": "Mine"})
    assert made.json()["user_id"] == alice_id
    assert not [statement for statement in statements if "session" in statement]
    async with client_of(app, key.sign(keys.claims(sub=bob_id))) as bob:
        assert (await bob.get(f"/api/tasks/{made.json()['id']}")).status_code == 404


async def test_without_an_address_of_better_auth_no_jwt_counts(
    shared_database_url: str, keys: KeyServer, key: SigningKey
) -> None:
    async with running(make_settings(shared_database_url)) as app:
        assert await status_of(app, key.sign(keys.claims())) == 401
    assert keys.fetches == 0


CLAIMS: list[tuple[dict[str, Any], int]] = [
    ({"exp": -5}, 200),
    ({"exp": -15}, 401),
    ({"exp": None}, 401),
    ({"exp": "soon"}, 401),
    ({"exp": 1e400}, 401),
    ({"iat": 5}, 200),
    ({"iat": 3600}, 401),
    ({"iat": None}, 200),
    ({"nbf": -5}, 200),
    ({"nbf": 5}, 200),
    ({"nbf": 3600}, 401),
    ({"sub": None}, 401),
    ({"sub": ""}, 401),
    ({"sub": 7}, 401),
    ({"sub": ["someone"]}, 401),
    ({"sub": "x" * 255}, 200),
    ({"sub": "x" * 256}, 401),
    ({"sub": "some\0one"}, 401),
    ({"sub": "some\none"}, 401),
    ({"sub": "\ud800"}, 401),
    ({"aud": "https://other.example.com"}, 401),
    ({"aud": None}, 401),
    ({"aud": []}, 401),
    ({"aud": {}}, 401),
    ({"iss": "https://other.example.com"}, 401),
    ({"iss": None}, 401),
    ({"iss": ["ours"]}, 401),
]


@pytest.mark.parametrize(("changed", "status"), CLAIMS, ids=str)
async def test_each_claim_is_judged_with_ten_seconds_for_the_clocks(
    app: FastAPI, keys: KeyServer, key: SigningKey, changed: dict[str, Any], status: int
) -> None:
    now = int(time.time())
    shifted = {
        name: now + value if name in ("exp", "iat", "nbf") and type(value) is int else value
        for name, value in changed.items()
    }
    token = by_hand(key, {"kid": key.kid}, keys.claims(**shifted))
    assert await status_of(app, token) == status
    # what a token says of itself is judged before any key is fetched for it
    assert (keys.fetches > 0) is (status == 200)


async def test_one_audience_of_several_may_be_ours(
    app: FastAPI, keys: KeyServer, key: SigningKey
) -> None:
    several = ["https://other.example.com", keys.address]
    assert await status_of(app, key.sign(keys.claims(aud=several))) == 200
    assert await status_of(app, key.sign(keys.claims(aud=several[:1]))) == 401


async def test_issuer_and_audience_may_be_set(
    shared_database_url: str, keys: KeyServer, key: SigningKey
) -> None:
    settings = make_settings(
        shared_database_url,
        better_auth_url="https://app.example.com",
        better_auth_jwks_url=f"{keys.address}/api/auth/jwks",
        better_auth_issuer="the-issuer",
        better_auth_audience="the-chat",
    )
    async with running(settings) as app:
        named = keys.claims(iss="the-issuer", aud="the-chat")
        assert await status_of(app, key.sign(named)) == 200
        assert await status_of(app, key.sign(named | {"aud": "https://app.example.com"})) == 401
        assert await status_of(app, key.sign(named | {"iss": "https://app.example.com"})) == 401


async def test_an_unsigned_jwt_is_refused(app: FastAPI, keys: KeyServer, key: SigningKey) -> None:
    algorithms: list[Any] = ["none", "None", "NONE", "nOnE", "", None, 7, [], ["EdDSA"], {}]
    for algorithm in algorithms:
        unsigned = f"{encoded({'alg': algorithm, 'kid': key.kid})}.{encoded(keys.claims())}"
        for signature in ("", ".", ".AAAA", ".=", f".{encoded(b'x' * 64)}"):
            assert await status_of(app, unsigned + signature) == 401
    assert keys.fetches == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_public_key_is_no_shared_secret(
    app: FastAPI, keys: KeyServer, algorithm: str
) -> None:
    key = SigningKey.of(algorithm)
    keys.listed = [key.jwk]
    public = key.private.public_key()
    known = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(key.jwk).encode(),
        b"",
    ]
    assert await status_of(app, key.sign(keys.claims())) == 200
    for secret in known:
        assert await status_of(app, hs256(secret, {"kid": key.kid}, keys.claims())) == 401


async def test_a_shared_secret_in_the_set_is_no_key(app: FastAPI, keys: KeyServer) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    keys.listed = [{"kty": "oct", "k": encoded(secret), "alg": "HS256", "kid": "shared"}]
    assert await status_of(app, hs256(secret, {"kid": "shared"}, keys.claims())) == 401
    keys.listed = [{"kty": "oct", "k": encoded(secret), "alg": "EdDSA", "kid": "shared"}]
    assert await status_of(app, hs256(secret, {"kid": "shared"}, keys.claims())) == 401


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_keys_that_are_weak_or_for_encryption_are_no_keys(
    app: FastAPI, keys: KeyServer
) -> None:
    weak = SigningKey("weak", "RS256", rsa.generate_private_key(65537, 1024))  # noqa: S505
    sealing = SigningKey("sealing")
    odd = SigningKey("odd").jwk | {"alg": "HS256"}
    keys.listed = [weak.jwk, sealing.jwk | {"use": "enc"}, {"kid": "odd"}, odd, 7]
    assert await status_of(app, weak.sign(keys.claims())) == 401
    assert await status_of(app, sealing.sign(keys.claims())) == 401


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_another_keys_signature_is_refused(
    app: FastAPI, keys: KeyServer, key: SigningKey, algorithm: str
) -> None:
    foreign = SigningKey(key.kid, algorithm, private_key(algorithm))
    assert await status_of(app, foreign.sign(keys.claims())) == 401
    assert await status_of(app, key.sign(keys.claims())) == 200


KIDS: list[Any] = [
    "unknown",
    "../../../../dev/null",
    "/etc/passwd",
    "' UNION SELECT 'key' --",
    "http://127.0.0.1:1/keys",
    "key-1\0",
    "x" * 255,
    "x" * 256,
    "x" * 5_000,
    "",
    None,
    7,
    True,
    ["key-1"],
    {"key-1": "key-1"},
]


async def test_no_name_of_a_key_leads_to_another(app: FastAPI, keys: KeyServer) -> None:
    key = SigningKey("key-1")
    keys.listed = [key.jwk]
    claims = keys.claims()
    assert await status_of(app, by_hand(key, {"kid": "key-1"}, claims)) == 200
    for kid in KIDS:
        keys.fetches = 0
        assert await status_of(app, by_hand(key, {"kid": kid}, claims)) == 401
        assert await status_of(app, hs256(b"", {"kid": kid}, claims)) == 401
        assert keys.fetches == (isinstance(kid, str) and 0 < len(kid) <= 255), kid
    assert await status_of(app, by_hand(key, {}, claims)) == 401
    assert await status_of(app, hs256(b"", {}, claims)) == 401


async def test_a_key_that_the_token_brings_or_points_to_is_never_used(
    app: FastAPI, keys: KeyServer, key: SigningKey
) -> None:
    async with serving_keys() as evil:
        foreign = SigningKey("foreign")
        evil.listed = [foreign.jwk, foreign.jwk | {"kid": key.kid}]
        address = f"{evil.address}/api/auth/jwks"
        for kid in ("foreign", key.kid):
            for brought in (
                {"jku": address},
                {"x5u": address},
                {"jwk": foreign.jwk},
                {"x5c": [encoded(b"certificate")]},
                {"jku": address, "jwk": foreign.jwk | {"kid": kid}},
            ):
                token = foreign.sign(keys.claims(), kid=kid, **brought)
                assert await status_of(app, token) == 401
        assert await status_of(app, foreign.sign(keys.claims(iss=evil.address))) == 401
        assert evil.fetches == 0


def bent(token: str) -> Iterator[str]:
    """A good token with something about it that is not."""
    header, claims, signature = token.split(".")
    yield f"{token}x"
    yield f"{token}="
    yield f"{token}."
    yield f"{token}.{signature}"
    yield f".{token}"
    yield f"{header}.{claims}"
    yield f"{header}.{claims}."
    yield f"{header}..{signature}"
    yield f"{header}.{claims}.{signature[:-4]}"
    yield f"{header}.{claims}.{signature[:10]}%00{signature[10:]}"
    yield f"{header}.{encoded({'sub': 'someone-else'})}.{signature}"
    yield f"{header[:-1]}.{claims}.{signature}"
    yield f"{encoded(b'not json')}.{claims}.{signature}"
    yield f"{encoded(b'[' * 3000)}.{claims}.{signature}"
    yield f"{header}.{encoded(b'[' * 3000)}.{signature}"
    yield f"{encoded([])}.{claims}.{signature}"
    yield f"{header}.{encoded([])}.{signature}"
    yield f"{header}.{encoded(b'9' * 5000)}.{signature}"
    yield f"{header}.{claims}.{signature}".replace("_", "/").replace("-", "+") + "+"


async def test_a_token_that_was_tampered_with_is_refused(
    app: FastAPI, keys: KeyServer, key: SigningKey
) -> None:
    token = key.sign(keys.claims())
    assert await status_of(app, token) == 200
    for attempt in bent(token):
        assert await status_of(app, attempt) == 401, attempt


async def test_what_the_header_demands_and_we_do_not_know_is_refused(
    app: FastAPI, keys: KeyServer, key: SigningKey
) -> None:
    demands: list[dict[str, Any]] = [
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
    ]
    for demand in demands:
        token = key.sign(keys.claims(), **demand)
        assert await status_of(app, token) == 401


async def test_a_jwt_has_room_for_a_whole_user_but_not_for_100_kilobytes(
    app: FastAPI, keys: KeyServer, key: SigningKey
) -> None:
    assert await status_of(app, key.sign(keys.claims(image="x" * 5_000))) == 200
    fetches = keys.fetches
    assert await status_of(app, key.sign(keys.claims(image="x" * 75_000))) == 401
    assert await status_of(app, "a" * 50_000 + "." + "b" * 50_000 + ".c") == 401
    assert keys.fetches == fetches
