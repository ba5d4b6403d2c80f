"""SASL on the server's side: PLAIN (RFC 4616), ANONYMOUS (RFC 4505), SCRAM (RFC 5802, RFC 7677). No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

from chatserver.xmppd.stanzas import is_local_part, token

SCRAM_ITERATIONS = 4096
_SCRAM_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}


class SaslError(Exception):
    """The login is refused; `condition` is one of RFC 6120, section 6.5."""

    def __init__(self, condition: str) -> None:
        super().__init__(condition)
        self.condition = condition


class Challenge(NamedTuple):
    """What the client is asked next."""

    data: bytes


class Success(NamedTuple):
    """Who it is, and what the mechanism still has to say."""

    user: str
    data: bytes = b""


class Mechanism(Protocol):
    """One login by one mechanism."""

    def step(self, data: bytes) -> Challenge | Success:
        """Take what the client says. Raises SaslError."""
        ...


def decode(text: bytes) -> bytes:
    """SASL's base64, where = is the empty string. Raises SaslError."""
    text = text.strip()
    try:
        return b"" if text == b"=" else base64.b64decode(text, validate=True)
    except binascii.Error:
        raise SaslError("incorrect-encoding") from None


@dataclass(frozen=True, slots=True)
class Accounts:
    """Everybody with the shared password.

    An empty one lets any password pass; SCRAM can't do that, so it is not offered then.
    """

    password: str
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    @property
    def mechanisms(self) -> Sequence[str]:
        """What is offered, strongest first."""
        return (*(_SCRAM_HASHES if self.password else ()), "PLAIN", "ANONYMOUS")

    def begin(self, mechanism: str) -> Mechanism:
        """Start a login. Raises SaslError."""
        if mechanism not in self.mechanisms:
            raise SaslError("invalid-mechanism")
        if mechanism == "PLAIN":
            return _Plain(self)
        return _Anonymous() if mechanism == "ANONYMOUS" else _Scram(self, _SCRAM_HASHES[mechanism])

    def check_name(self, name: str) -> str:
        """The user's name as it stands in addresses. Raises SaslError."""
        if not is_local_part(name):
            raise SaslError("not-authorized")
        return name.lower()


class _Plain:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def step(self, data: bytes) -> Challenge | Success:
        if not data:
            return Challenge(b"")
        try:
            _, name, password = data.decode().split("\0")
        except ValueError:
            raise SaslError("malformed-request") from None
        expected = self._accounts.password
        if expected and not hmac.compare_digest(password.encode(), expected.encode()):
            raise SaslError("not-authorized")
        return Success(self._accounts.check_name(name))


class _Anonymous:
    def step(self, data: bytes) -> Challenge | Success:
        return Success(token().lower())


@lru_cache(maxsize=8)
def _scram_keys(hash_name: str, password: str, salt: bytes) -> tuple[bytes, bytes]:
    """Stored key and server key (RFC 5802, section 3), once for all: users share password and salt."""
    salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    return hashlib.new(hash_name, client_key).digest(), hmac.digest(salted, b"Server Key", hash_name)


class _Scram:
    def __init__(self, accounts: Accounts, hash_name: str) -> None:
        self._accounts = accounts
        self._hash = hash_name
        self._user = ""
        self._gs2 = b""
        self._nonce = ""
        self._first = ""  # client-first-message-bare "," server-first-message

    def step(self, data: bytes) -> Challenge | Success:
        if not data:
            return Challenge(b"")
        try:
            text = data.decode()
            return self._final(text) if self._first else self._begin(text)
        except (ValueError, KeyError):
            raise SaslError("malformed-request") from None

    def _begin(self, text: str) -> Challenge:
        binding, authzid, bare = text.split(",", 2)
        if binding not in ("n", "y"):  # no channel binding is offered
            raise SaslError("malformed-request")
        fields = _fields(bare)
        name = fields["n"].replace("=2C", ",").replace("=3D", "=")
        self._user = self._accounts.check_name(name)
        self._gs2 = f"{binding},{authzid},".encode()
        self._nonce = fields["r"] + secrets.token_urlsafe(18)
        salt = base64.b64encode(self._accounts.salt).decode()
        challenge = f"r={self._nonce},s={salt},i={SCRAM_ITERATIONS}"
        self._first = f"{bare},{challenge}"
        return Challenge(challenge.encode())

    def _final(self, text: str) -> Success:
        without_proof, _, proof_text = text.rpartition(",p=")
        fields = _fields(without_proof)
        proof = base64.b64decode(proof_text, validate=True)
        if fields["r"] != self._nonce or base64.b64decode(fields["c"], validate=True) != self._gs2:
            raise SaslError("not-authorized")
        stored, server = _scram_keys(self._hash, self._accounts.password, self._accounts.salt)
        message = f"{self._first},{without_proof}".encode()
        signature = hmac.digest(stored, message, self._hash)
        if len(proof) != len(signature):
            raise SaslError("not-authorized")
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.new(self._hash, client_key).digest(), stored):
            raise SaslError("not-authorized")
        verifier = base64.b64encode(hmac.digest(server, message, self._hash))
        return Success(self._user, b"v=" + verifier)


def _fields(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(","))
