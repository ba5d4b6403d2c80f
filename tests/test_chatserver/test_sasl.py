from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from chatserver.xmppd.sasl import Accounts, Challenge, SaslError, Success, decode


def test_scram_is_not_offered_where_any_password_will_do() -> None:
    assert Accounts("").mechanisms == ("PLAIN", "ANONYMOUS")
    assert Accounts("pw").mechanisms == ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "ANONYMOUS")


def test_plain_takes_the_shared_password_for_any_user() -> None:
    assert Accounts("pw").begin("PLAIN").step(b"\0Ann\0pw") == Success("ann")
    assert Accounts("").begin("PLAIN").step(b"\0bob\0whatever") == Success("bob")


@pytest.mark.parametrize(
    "data", [b"\0ann\0no", b"\0ann\0", b"ann", b"\0\0pw", b"\0a@b\0pw", b"\0a/b\0pw", b"\xff\0a\0pw"]
)
def test_plain_refuses_the_rest(data: bytes) -> None:
    with pytest.raises(SaslError):
        Accounts("pw").begin("PLAIN").step(data)


def test_a_client_without_an_initial_response_is_asked_for_it() -> None:
    mechanism = Accounts("").begin("PLAIN")
    assert mechanism.step(b"") == Challenge(b"")
    assert mechanism.step(b"\0ann\0") == Success("ann")


def test_anonymous_users_are_all_different() -> None:
    users = {Accounts("pw").begin("ANONYMOUS").step(b"") for _ in range(10)}
    assert len(users) == 10


def scram(accounts: Accounts, hash_name: str, password: str) -> tuple[Challenge | Success, bytes]:
    """One login as RFC 5802 has it, and the server's signature that the client expects."""
    mechanism = accounts.begin("SCRAM-SHA-" + hash_name.removeprefix("sha"))
    bare = "n=ann,r=client"
    challenge = mechanism.step(f"n,,{bare}".encode())
    fields = dict(part.split("=", 1) for part in challenge.data.decode().split(","))
    salted = hashlib.pbkdf2_hmac(
        hash_name, password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
    )
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    without_proof = f"c=biws,r={fields['r']}"
    message = f"{bare},{challenge.data.decode()},{without_proof}".encode()
    signature = hmac.digest(hashlib.new(hash_name, client_key).digest(), message, hash_name)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True))).decode()
    expected = hmac.digest(hmac.digest(salted, b"Server Key", hash_name), message, hash_name)
    return mechanism.step(f"{without_proof},p={proof}".encode()), b"v=" + base64.b64encode(expected)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_scram_proves_both_sides(hash_name: str) -> None:
    answer, expected = scram(Accounts("pencil"), hash_name, "pencil")
    assert answer == Success("ann", expected)


def test_scram_refuses_another_password() -> None:
    with pytest.raises(SaslError):
        scram(Accounts("pencil"), "sha256", "pen")


@pytest.mark.parametrize("data", [b"p=tls-unique,,n=a,r=b", b"n,,r=b", b"nonsense", b"\xff", b"n,,n=a"])
def test_scram_refuses_malformed_beginnings(data: bytes) -> None:
    with pytest.raises(SaslError):
        Accounts("pw").begin("SCRAM-SHA-256").step(data)


@pytest.mark.parametrize("data", [b"c=biws,r=other,p=AAAA", b"p=", b"x", b"c=biws,r=clientX,p=%%%"])
def test_scram_refuses_malformed_ends(data: bytes) -> None:
    mechanism = Accounts("pw").begin("SCRAM-SHA-256")
    mechanism.step(b"n,,n=a,r=b")
    with pytest.raises(SaslError):
        mechanism.step(data)


def test_unknown_mechanisms_and_bad_base64_are_refused() -> None:
    with pytest.raises(SaslError):
        Accounts("pw").begin("EXTERNAL")
    with pytest.raises(SaslError):
        decode(b"%%%")
    assert decode(b"=") == b""
