"""An issuer of JWTs under our control: keys of each kind, and a server that lists them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import get_default_algorithms

type PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def private_key(algorithm: str) -> PrivateKey:
    """A new key for one of Better Auth's algorithms."""
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES512":
            return ec.generate_private_key(ec.SECP521R1())
        case "PS256" | "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return Ed25519PrivateKey.generate()


@dataclass
class SigningKey:
    """A key, the name it goes by, and the algorithm it is listed with."""

    kid: str = field(default_factory=lambda: uuid4().hex)
    algorithm: str = "EdDSA"
    private: PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @classmethod
    def of(cls, algorithm: str) -> Self:
        return cls(algorithm=algorithm, private=private_key(algorithm))

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half, as Better Auth lists it."""
        kind: Any = get_default_algorithms()[self.algorithm]
        public: dict[str, Any] = kind.to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        return public | {"alg": self.algorithm, "kid": self.kid}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A JWT of these claims; `header` may name another key, algorithm, or more."""
        algorithm = header.pop("alg", self.algorithm)
        fields = {"kid": self.kid} | header
        return jwt.encode(claims, self.private, algorithm, headers=fields)


class KeyServer:
    """Lists keys at `/api/auth/jwks` and counts how often it is asked for anything."""

    def __init__(self) -> None:
        self.address = ""
        self.listed: list[Any] = []
        self.fetches = 0
        self.status = 200
        self.body: bytes | None = None
        """What is answered in place of the list."""
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        """Answers wait for it; set unless a test clears it."""
        self.gate.set()

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Those of a good token; one that is changed to None is left out."""
        now = int(time.time())
        whole = {"sub": "someone", "iss": self.address, "aud": self.address}
        whole |= {"iat": now, "exp": now + 900} | changed
        return {name: value for name, value in whole.items() if value is not None}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.fetches += 1
            self.asked.set()
            await self.gate.wait()
            body = json.dumps({"keys": self.listed}).encode() if self.body is None else self.body
            status = f"{self.status} {HTTPStatus(self.status).phrase}"
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
            head += f"Location: {self.address}/elsewhere\r\n" if self.status == 302 else ""
            writer.write(f"{head}\r\n".encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # who asked has left
        finally:
            writer.close()


@asynccontextmanager
async def serving_keys() -> AsyncIterator[KeyServer]:
    """A key server on the loopback, in this event loop."""
    keys = KeyServer()
    server = await asyncio.start_server(keys.answer, "127.0.0.1", 0)
    keys.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield keys
        keys.gate.set()
