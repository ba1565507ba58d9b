import contextlib
import dataclasses
import hashlib
import hmac
import timeit
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import KeyRing, Principal
from gateway.errors import AuthenticationFailed, PermissionDenied
from gateway.store.keys import ApiKey, KeyLimits

_SECRET = "s" * 42 + "-"
_TEXT = f"dg-0123abcd-{_SECRET}"


def _key(prefix: str = "0123abcd", revoked_at: float | None = None) -> ApiKey:
    digest = hashlib.sha256(_SECRET.encode()).digest()
    return ApiKey(prefix, digest, "k", frozenset({"inference"}), 1.0, revoked_at)


def _ring(keys: Sequence[ApiKey], open_without_keys: bool = False) -> KeyRing:
    ring = KeyRing(open_without_keys=open_without_keys)
    ring.load(keys)
    return ring


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_known_key_is_its_principal(scheme: str) -> None:
    principal = _ring([_key()]).authenticate(f"{scheme} {_TEXT}".encode())
    assert principal == Principal("0123abcd", frozenset({"inference"}))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic " + _TEXT.encode(),
        _TEXT.encode(),
        b"Bearer dg-ffffffff-" + _SECRET.encode(),
        b"Bearer dg-0123abcd-" + b"t" * 43,
        b"Bearer dg-0123ABCD-" + _SECRET.encode(),
        b"Bearer " + _TEXT.encode() + b"\n",
        b"Bearer " + _TEXT.encode() + b"x",
        b"Bearer " + b"\xff\x00" * 10_000,
    ],
)
def test_anything_else_is_refused_without_being_repeated(header: bytes) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        _ring([_key()]).authenticate(header)
    assert caught.value.status == 401
    assert caught.value.code == "invalid_api_key"
    assert _SECRET not in str(caught.value)
    assert "0123" not in str(caught.value)


def test_a_key_that_was_accepted_is_refused_once_it_is_revoked() -> None:
    ring = _ring([_key()])
    header = f"Bearer {_TEXT}".encode()
    assert ring.authenticate(header) == ring.authenticate(header)
    ring.load([_key(revoked_at=2.0)])
    with pytest.raises(AuthenticationFailed):
        ring.authenticate(header)


def test_each_key_is_its_own_caller_in_any_order() -> None:
    other = "dg-ffffffff-" + _SECRET
    ring = _ring([_key(), _key(prefix="ffffffff")])
    for _ in range(2):
        for text, prefix in ((_TEXT, "0123abcd"), (other, "ffffffff")):
            assert ring.authenticate(f"Bearer {text}".encode()).key_prefix == prefix
    with pytest.raises(AuthenticationFailed):
        ring.authenticate(f"Bearer {other[:-1]}".encode())


def test_a_revoked_key_fails_as_an_unknown_one() -> None:
    errors = []
    for keys in ([_key(revoked_at=2.0)], [_key(prefix="ffffffff")]):
        with pytest.raises(AuthenticationFailed) as caught:
            _ring(keys).authenticate(f"Bearer {_TEXT}".encode())
        errors.append((caught.value.body(), caught.value.headers()))
    assert errors[0] == errors[1]


def test_loading_replaces_what_was_known() -> None:
    ring = _ring([_key()])
    ring.load([_key(revoked_at=2.0)])
    with pytest.raises(AuthenticationFailed):
        ring.authenticate(f"Bearer {_TEXT}".encode())
    ring.load([_key()])
    assert ring.authenticate(f"Bearer {_TEXT}".encode()).key_prefix == "0123abcd"


def test_a_principal_carries_the_limits_of_its_key() -> None:
    limits = KeyLimits(tokens_per_day=9)
    limited = dataclasses.replace(_key(), limits=limits)
    assert _ring([limited]).authenticate(f"Bearer {_TEXT}".encode()).limits == limits
    assert _ring([_key()]).authenticate(f"Bearer {_TEXT}".encode()).limits is None


def test_no_header_is_refused() -> None:
    with pytest.raises(AuthenticationFailed):
        _ring([_key()]).authenticate(None)
    with pytest.raises(AuthenticationFailed):
        _ring([]).authenticate(None)


def test_without_any_key_the_ring_may_be_open_but_never_for_admin() -> None:
    ring = _ring([], open_without_keys=True)
    # Clients must send some key; a placeholder is as good as none.
    for header in (None, b"Bearer placeholder"):
        principal = ring.authenticate(header)
        assert principal == Principal(None, frozenset({"inference", "feedback"}))
        with pytest.raises(PermissionDenied):
            ring.require(principal, "admin")


@pytest.mark.parametrize("revoked_at", [None, 2.0])
def test_one_key_ever_made_closes_the_ring(revoked_at: float | None) -> None:
    ring = _ring([], open_without_keys=True)
    ring.load([_key(revoked_at=revoked_at)])
    for header in (None, b"Bearer placeholder"):
        with pytest.raises(AuthenticationFailed):
            ring.authenticate(header)


def test_a_missing_scope_is_403() -> None:
    ring = _ring([_key()])
    principal = ring.authenticate(f"Bearer {_TEXT}".encode())
    ring.require(principal, "inference")
    with pytest.raises(PermissionDenied) as caught:
        ring.require(principal, "admin")
    assert caught.value.status == 403
    assert caught.value.code == "insufficient_scope"


@pytest.mark.parametrize("header", [b"Bearer " + _TEXT.encode(), b"Bearer x", b"Basic \xff", b""])
@pytest.mark.parametrize("prefix", ["0123abcd", "ffffffff"])
def test_digests_are_compared_whatever_was_sent(
    monkeypatch: pytest.MonkeyPatch, header: bytes, prefix: str
) -> None:
    compared: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    with contextlib.suppress(AuthenticationFailed):
        _ring([_key(prefix)]).authenticate(header)
    assert compared == [(32, 32)]


@given(st.binary() | st.binary().map(lambda tail: b"Bearer dg-0123abcd-" + tail))
def test_any_bytes_are_refused(header: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        _ring([_key()]).authenticate(header)


def test_it_takes_microseconds() -> None:
    ring, header = _ring([_key()]), f"Bearer {_TEXT}".encode()
    fastest = min(timeit.repeat(lambda: ring.authenticate(header), number=1000, repeat=10)) / 1000
    assert fastest < 20e-6  # about 2 µs on an idle machine


def test_a_key_is_known_by_its_prefix_until_it_is_revoked() -> None:
    ring = _ring([_key()])
    assert ring.named("0123abcd") == Principal("0123abcd", frozenset({"inference"}))
    assert ring.named("ffffffff") is None
    ring.load([_key(revoked_at=2.0)])
    assert ring.named("0123abcd") is None


def test_what_is_lent_stands_for_a_key_once() -> None:
    ring = _ring([_key()])
    header = ring.lend("0123abcd")
    assert ring.authenticate(header).key_prefix == "0123abcd"
    with pytest.raises(AuthenticationFailed):
        ring.authenticate(header)
    late = ring.lend("0123abcd")
    ring.load([_key(revoked_at=2.0)])
    with pytest.raises(AuthenticationFailed):
        ring.authenticate(late)
