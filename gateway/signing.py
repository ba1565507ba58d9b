"""Signed statements: canonical JSON under Ed25519; the only file that imports `cryptography`.

Two programs must make the same bytes of the same statement. The canonical form is RFC 8785 (JSON
Canonicalization Scheme): members sorted by the UTF-16 units of their names, no spaces, shortest
escapes, UTF-8, numbers as ECMAScript prints them (1.0 is `1`, 0.00001 is `0.00001`). What has no
such form is refused: NaN, infinities, integers that no double holds, lone surrogates, other types.

The private key is a PEM file (PKCS #8) of mode 0600, made on first use; its public half lies beside
it as `<name>.pub` (SubjectPublicKeyInfo), to be given to whoever verifies.
"""

import base64
import binascii
import hashlib
import json
import math
import os
import secrets
import stat
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

_KEY_NAME = "signing.key"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SigningError(Exception):
    """A key that cannot be read, or a statement that has no canonical form."""


class PublicKey:
    """The half of a key that verifies.

    Attributes:
        id: The first 16 hex digits of the SHA-256 of the raw 32 bytes.
    """

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.id = hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a public key, or the public half of a private one, from a PEM file.

        Raises:
            SigningError: There is none, or it is no Ed25519 key.
        """
        text = _read(path)
        try:
            if b"PRIVATE KEY" in text:
                private = serialization.load_pem_private_key(text, None)
                found = private.public_key()
            else:
                found = serialization.load_pem_public_key(text)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SigningError(f"{path} holds no key in PEM: {error}") from None
        if not isinstance(found, Ed25519PublicKey):
            raise SigningError(f"{path} holds another key than Ed25519")
        return cls(found)

    def verifies(self, statement: Any, signature: str) -> bool:
        """Return whether `signature` (base64) is this key's over the statement."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), canonical(statement))
        except (InvalidSignature, SigningError, binascii.Error, ValueError):
            return False
        return True


class SigningKey:
    """A private key.

    Attributes:
        public: Its public half.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    @classmethod
    def load_or_make(cls, path: Path) -> Self:
        """Read the key at `path`; where there is none, make it and write both halves.

        Raises:
            SigningError: The file is readable by others, or holds no Ed25519 key.
            OSError: It cannot be written.
        """
        if not path.exists():
            _make(path)
        text = _read(path)
        if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
            raise SigningError(f"{path} can be read by others: chmod 600 it, or make a new key")
        try:
            key = serialization.load_pem_private_key(text, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SigningError(f"{path} holds no private key in PEM: {error}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningError(f"{path} holds another key than Ed25519")
        signing = cls(key)
        beside = public_path(path)
        if not beside.exists():
            pem = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            with suppress(PermissionError):  # a key that is mounted read-only
                _write(beside, pem, 0o644)
        return signing

    def sign(self, statement: Any) -> str:
        """Return the signature over a statement, base64; SigningError where it has no form."""
        return base64.b64encode(self._key.sign(canonical(statement))).decode()


def key_path(home: Path, configured: Path | None = None) -> Path:
    """Return where the private key lies: as configured, or `signing.key` in `home`."""
    return configured or home.absolute() / _KEY_NAME


def public_path(key: Path) -> Path:
    """Return where the public half of the key at `key` lies."""
    return key.with_suffix(".pub")


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of a value (RFC 8785).

    Raises:
        SigningError: A part of it has none; the message says which.
    """
    try:
        return _form(value, "statement").encode()
    except UnicodeEncodeError as error:
        raise SigningError(f"the statement holds text that is no Unicode: {error}") from None


def signable(value: Any) -> Any:
    """Return a value in which numbers without a canonical form are text, and tuples are lists."""
    if isinstance(value, dict):
        return {str(name): signable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [signable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and not _is_double(value):
        return str(value)
    return value


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _form(value: Any, at: str) -> str:
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if not _is_double(value):
            raise SigningError(f"{at} is an integer that no double holds: write it as text")
        return _number(float(value), at)
    if isinstance(value, float):
        return _number(value, at)
    if isinstance(value, list | tuple):
        return f"[{','.join(_form(item, f'{at}[{n}]') for n, item in enumerate(value))}]"
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise SigningError(f"{at} has a name that is no text")
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        members = (
            f"{json.dumps(name, ensure_ascii=False)}:{_form(value[name], f'{at}.{name}')}"
            for name in names
        )
        return f"{{{','.join(members)}}}"
    raise SigningError(f"{at} is a {type(value).__name__}, which JSON does not have")


def _is_double(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _number(value: float, at: str) -> str:
    """Print a double as ECMAScript's Number::toString does (ECMA-262, 6.1.6.1.20)."""
    if not math.isfinite(value):
        raise SigningError(f"{at} is {value}, which JSON does not have")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    # Python's repr has the shortest digits that read back as the same double, as ECMAScript has.
    _, figures, exponent = Decimal(repr(abs(value))).normalize().as_tuple()
    digits, count = "".join(map(str, figures)), len(figures)
    point = count + int(exponent)  # how many digits stand before the point
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return f"{sign}{digits[0]}{'.' if count > 1 else ''}{digits[1:]}{power}"


def _make(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path, pem, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole, or leave the one that another process was first with."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningError(f"the key {path} cannot be read: {error.strerror}") from None
