"""Sessions of the console: what a signed cookie says, and the secret that signs it.

A session is no row in the store. The cookie names a key by its public prefix and the time at which
the session ends, under an HMAC-SHA-256 (RFC 2104) of a secret that all workers share. Whether the
key still lives and what it may do is asked of the key ring each time: a revoked key ends all of its
sessions.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import time
from pathlib import Path

import msgspec

LASTS_S = 12 * 3600.0
_SECRET_BYTES = 32
_NAME = "console.secret"


class SecretError(Exception):
    """The file of the secret cannot be used."""


class Session(msgspec.Struct, frozen=True):
    """Who is logged in.

    Attributes:
        key: Prefix of the API key.
        ends_at: Unix seconds.
        id: Random; the form token hangs on it.
    """

    key: str
    ends_at: float
    id: str


class Sealer:
    """Signs what cookies carry, and reads it again.

    Args:
        secret: At least 32 bytes that only this installation knows.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def open_session(self, key: str) -> Session:
        """Return a new session of a key."""
        return Session(key, time.time() + LASTS_S, secrets.token_urlsafe(16))

    def seal(self, purpose: str, value: msgspec.Struct | str) -> str:
        """Return a value as signed text that fits a cookie."""
        body = msgspec.json.encode(value)
        return f"{_text(body)}.{_text(self._mac(purpose, body))}"

    def read_session(self, sealed: str) -> Session | None:
        """Return the session, or None where it is not one of ours or is over."""
        body = self._unseal("session", sealed)
        if body is None:
            return None
        session = msgspec.json.decode(body, type=Session)
        return session if session.ends_at > time.time() else None

    def read_text(self, purpose: str, sealed: str) -> str | None:
        """Return a text that was sealed for a purpose, or None where it is not one of ours."""
        body = self._unseal(purpose, sealed)
        return None if body is None else msgspec.json.decode(body, type=str)

    def form_token(self, session: Session) -> str:
        """Return what forms of a session carry, so that no other site can post them."""
        return _text(self._mac("form", session.id.encode()))

    def is_form_token(self, session: Session, token: str) -> bool:
        """Return whether a form is of the session, in constant time."""
        return hmac.compare_digest(self.form_token(session).encode(), token.encode())

    def _unseal(self, purpose: str, sealed: str) -> bytes | None:
        text, _, given = sealed.partition(".")
        try:
            body = _bytes(text)
        except (binascii.Error, ValueError):
            return None
        expected = _text(self._mac(purpose, body))
        return body if hmac.compare_digest(expected.encode(), given.encode()) else None

    def _mac(self, purpose: str, body: bytes) -> bytes:
        return hmac.digest(self._secret, purpose.encode() + b"\0" + body, hashlib.sha256)


def load_secret(home: Path, configured: Path | None = None) -> bytes:
    """Return the secret that signs sessions: of a file, or of `console.secret` in `home`.

    Where that one is missing it is made. Gateways of several hosts need the same.

    Raises:
        SecretError: The file is missing, too short, or readable by others.
    """
    path = configured or home.absolute() / _NAME
    try:
        if configured is None and not path.exists():
            _make(path)
        text = path.read_bytes().strip()
        others = stat.S_IMODE(path.stat().st_mode) & 0o077
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror or error}") from None
    if others and configured is None:
        raise SecretError(f"{path} can be read by others: chmod 600 it, or delete it")
    if len(text) < _SECRET_BYTES:
        raise SecretError(f"{path} is shorter than {_SECRET_BYTES} bytes (openssl rand -hex 32)")
    return text


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_hex(_SECRET_BYTES).encode() + b"\n")
    with contextlib.suppress(FileExistsError):  # another worker was first
        os.link(partial, path)
    partial.unlink()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), b"-_", validate=True)
