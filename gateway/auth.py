"""The key ring: who calls, decided from memory in constant time.

Keys are compared by the SHA-256 of their secret; one that is unknown takes as long as one that is
known. The ring is loaded from the store now and then, so a store that is away rejects nobody.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import AuthenticationFailed, PermissionDenied
from gateway.store.keys import NO_LIMITS, PATTERN, ApiKey, KeyLimits, digest

_NO_DIGEST: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: the public prefix of its key (None without one), what it may do and how much."""

    key_prefix: str | None
    scopes: frozenset[str]
    limits: KeyLimits | None = None


_NOBODY: Final = Principal(None, frozenset({"inference", "feedback"}))


class KeyRing:
    """The keys that this process knows.

    Args:
        open_without_keys: Whether callers need no key while none was ever made (loopback only).
    """

    def __init__(self, open_without_keys: bool) -> None:
        self._open = open_without_keys
        self._keys: dict[bytes, tuple[bytes, Principal]] = {}
        self._any_ever = False
        # The last header that was accepted since `load`, and whose it is: most gateways have few
        # clients, and parsing and hashing the same again costs them 2 us a request.
        self._last = b""
        self._last_principal = _NOBODY
        self._by_prefix: dict[str, Principal] = {}
        self._lent: dict[bytes, str] = {}

    def load(self, keys: Sequence[ApiKey]) -> None:
        """Take over the keys of the store, revoked ones included, in place of those known."""
        self._any_ever = bool(keys)
        self._last = b""
        self._keys = {
            key.prefix.encode(): (key.digest, _principal(key))
            for key in keys
            if key.revoked_at is None
        }
        self._by_prefix = {p.key_prefix or "": p for _, p in self._keys.values()}

    def named(self, prefix: str) -> Principal | None:
        """Return the caller whose key has this prefix, or None where it is unknown or revoked."""
        return self._by_prefix.get(prefix)

    def lend(self, prefix: str) -> bytes:
        """Return an `Authorization` header that stands for a key once, in this process alone.

        The console asks by it in the name of whoever is logged in; keys are kept as digests.
        """
        header = b"Bearer lent-" + secrets.token_urlsafe(32).encode()
        self._lent[header] = prefix
        return header

    def authenticate(self, authorization: bytes | None) -> Principal:
        """Return the caller behind an `Authorization` header.

        Raises:
            AuthenticationFailed: No key, not a key, an unknown or a revoked one.
        """
        if authorization is None:
            if self._open and not self._any_ever:
                return _NOBODY
            raise AuthenticationFailed(
                "An API key is needed: `Authorization: Bearer dg-…`.", code="missing_api_key"
            )
        if self._last and hmac.compare_digest(authorization, self._last):
            return self._last_principal
        scheme, _, text = authorization.partition(b" ")
        match = PATTERN.fullmatch(text) if scheme.lower() == b"bearer" else None
        known, principal = _NO_DIGEST, _NOBODY
        found = False
        given = digest(match[2] if match else b"")
        if match is not None and match[1] in self._keys:
            known, principal = self._keys[match[1]]
            found = True
        if not (hmac.compare_digest(given, known) and found):
            lent = self._by_prefix.get(self._lent.pop(authorization, ""))
            if lent is not None:
                return lent
            if self._open and not self._any_ever:
                return _NOBODY  # clients send a placeholder where no key is needed
            raise AuthenticationFailed("The API key is not valid.", code="invalid_api_key")
        self._last, self._last_principal = authorization, principal
        return principal

    def require(self, principal: Principal, scope: str) -> None:
        """Raise PermissionDenied unless the caller holds `scope`."""
        if scope not in principal.scopes:
            raise PermissionDenied(
                f"This needs a key with the scope `{scope}`.", code="insufficient_scope"
            )


def _principal(key: ApiKey) -> Principal:
    limits = None if key.limits == NO_LIMITS else key.limits
    return Principal(key.prefix, key.scopes, limits)
