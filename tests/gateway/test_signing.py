import json
import math
import os
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.signing import (
    PublicKey,
    SigningError,
    SigningKey,
    canonical,
    key_path,
    public_path,
    signable,
)

# RFC 8785, appendix B: doubles by their bits, and how they are written.
_NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.load_or_make(tmp_path / "signing.key")


@pytest.mark.parametrize(("bits", "text"), _NUMBERS.items())
def test_doubles_are_written_as_rfc_8785_has_them(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number) == text.encode()


def test_the_example_of_rfc_8785() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(value).decode() == (
        '{"literals":[null,true,false],'
        '"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_names_are_sorted_by_their_utf_16_units() -> None:
    # RFC 8785, 3.2.3: the emoji's first unit is D83D, below FB33, although its code point is above.
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = json.loads(canonical(dict.fromkeys(names, 0)))
    assert list(written) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)  # fmt: skip
def test_what_is_read_back_has_the_same_form(value: Any) -> None:
    form = canonical(value)
    assert canonical(json.loads(form, parse_int=float)) == form  # as JSON readers with doubles do
    assert canonical(json.loads(json.dumps(value))) == form


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": [1, math.nan]}, "statement.a[1] is nan"),
        ({"a": math.inf}, "statement.a is inf"),
        ({"seed": 2**53 + 1}, "statement.seed is an integer that no double holds"),
        ({"seed": 10**400}, "statement.seed is an integer"),
        ({1: 2}, "statement has a name that is no text"),
        ({"p": Path("x")}, "statement.p is a PosixPath"),
        ("\ud800", "no Unicode"),
    ],
)
def test_what_has_no_canonical_form_is_refused_by_name(value: Any, told: str) -> None:
    with pytest.raises(SigningError) as refused:
        canonical(value)
    assert told in str(refused.value)


def test_numbers_without_a_form_become_text() -> None:
    value = signable({"e": math.inf, "seed": 2**60 + 1, "ok": (True, 1.5)})
    assert value == {"e": "inf", "seed": str(2**60 + 1), "ok": [True, 1.5]}
    canonical(value)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = key_path(tmp_path / "home")
    first = SigningKey.load_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = SigningKey.load_or_make(path)
    assert again.public.id == first.public.id
    assert PublicKey.load(public_path(path)).id == first.public.id
    assert {file.name for file in path.parent.iterdir()} == {"signing.key", "signing.pub"}


def test_a_public_half_that_was_lost_is_written_again(tmp_path: Path, key: SigningKey) -> None:
    public_path(tmp_path / "signing.key").unlink()
    SigningKey.load_or_make(tmp_path / "signing.key")
    assert PublicKey.load(tmp_path / "signing.pub").id == key.public.id


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, key: SigningKey) -> None:
    os.chmod(tmp_path / "signing.key", 0o640)
    with pytest.raises(SigningError, match="can be read by others"):
        SigningKey.load_or_make(tmp_path / "signing.key")


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n", b"\x00\xff"])
def test_a_file_that_is_no_key_is_told_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing.key"
    path.write_bytes(content)
    path.chmod(0o600)
    for load in (SigningKey.load_or_make, PublicKey.load):
        with pytest.raises(SigningError, match=r"signing\.key holds no"):
            load(path)


def test_a_signature_holds_for_its_statement_and_key_alone(tmp_path: Path, key: SigningKey) -> None:
    statement = {"a": 1, "b": [1.0, "é"]}
    signature = key.sign(statement)
    assert key.public.verifies({"b": [1, "é"], "a": 1}, signature)  # the same in canonical form
    assert not key.public.verifies({"a": 2, "b": [1.0, "é"]}, signature)
    assert not key.public.verifies({"a": math.nan}, signature)
    other = SigningKey.load_or_make(tmp_path / "other.key")
    assert not other.public.verifies(statement, signature)
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    for wrong in (flipped, signature[:-4], "", "not base64!"):
        assert not key.public.verifies(statement, wrong)
