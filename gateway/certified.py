"""What the API tells of a release's certificate: read and verified in threads, once for each."""

import asyncio
from pathlib import Path
from typing import Any

from gateway import signing
from gateway.store.certificates import Certificate, Certificates
from gateway.store.database import StoreError
from gateway.store.releases import Release
from gateway.verifying import signed_by


class Certified:
    """The certificates as clients see them.

    Args:
        certificates: Where they are kept.
        key: The private key of this host; only its public half is read.
    """

    def __init__(self, certificates: Certificates, key: Path) -> None:
        self._certificates = certificates
        self._public = signing.public_path(key)
        # By release: the signature that was looked at, and what is told of it.
        self._told: dict[str, tuple[str, dict[str, Any]]] = {}

    async def of(self, release: Release) -> dict[str, Any] | None:
        """Return what is told of a release's certificate, or None where it has none.

        `verified` is None where another key signed than this host's. While the store is away, what
        was told last is told again.
        """
        return await asyncio.to_thread(self.read, release)

    def read(self, release: Release) -> dict[str, Any] | None:
        """Return the same as `of`, for callers in threads."""
        known = self._told.get(release.id)
        try:
            found = self._certificates.get(release.id)
        except StoreError:
            return None if known is None else known[1]
        if found is None:
            return None
        if known is not None and known[0] == found.signature and known[1]["verified"] is not None:
            return known[1]
        told = self._summary(release, found)
        self._told[release.id] = (found.signature, told)
        return told

    def _summary(self, release: Release, found: Certificate) -> dict[str, Any]:
        statement = found.statement
        rollout, evaluation = statement.get("rollout") or {}, statement.get("evaluation") or {}
        return {
            "type": statement.get("type"),
            "certified_at": statement.get("certified_at"),
            "files": len(statement.get("files") or {}),
            "parents": [parent.get("id") for parent in statement.get("parents") or []],
            "evaluation": evaluation.get("verdict"),
            "rollout": {
                name: rollout.get(name)
                for name in ("id", "alias", "status", "stage", "approved_by", "finished_at")
            }
            if rollout
            else None,
            "statement_sha256": signing.digest(statement),
            "key_id": found.key_id,
            "signature": found.signature,
            "verified": self._verified(release, found),
        }

    def _verified(self, release: Release, found: Certificate) -> bool | None:
        try:
            key = signing.PublicKey.load(self._public)
        except signing.SigningError:
            return None
        if key.id != found.key_id:
            return None
        return signed_by(found, key) and found.statement.get("files") == release.digests
