"""Whether a release is what its certificate says: signature, record, files on disk, parents.

Each check is a `Finding`; what does not hold is told with the file or the field that is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import signing
from gateway.digests import FileDigests, differences, size
from gateway.store.certificates import Certificate, Certificates
from gateway.store.database import Database
from gateway.store.releases import Release, Releases

# Told of a part of the work: its name, the bytes of it, and the bytes that were just read.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was checked, whether it holds, and what was found, line by line."""

    check: str
    passed: bool
    found: tuple[str, ...]


def verify(
    database: Database, release_id: str, key: signing.PublicKey, told: Progress | None = None
) -> list[Finding]:
    """Check a release against its certificate.

    Args:
        database: The store.
        release_id: The release.
        key: Whose signature is asked for.
        told: Told of the bytes that are read.

    Raises:
        KeyError: There is no such release.
        StoreError: The store is away.
    """
    releases = Releases(database)
    release = releases.get(release_id)
    if release is None:
        raise KeyError(release_id)
    certificate = Certificates(database).get(release_id)
    if certificate is None:
        return [Finding("certificate", False, ("there is none: `driftgate releases certify`",))]
    statement = certificate.statement
    return [
        _signature(certificate, key),
        _record(release, statement),
        _files("files", Path(release.path), statement.get("files"), told),
        *_adapter(release, statement, told),
        _parents(releases, Certificates(database), release, statement, key),
    ]


def signed_by(certificate: Certificate, key: signing.PublicKey) -> bool:
    """Return whether the certificate is about its release, and signed by a key."""
    subject = certificate.statement.get("subject")
    return subject == certificate.release and key.verifies(
        certificate.statement, certificate.signature
    )


def _signature(certificate: Certificate, key: signing.PublicKey) -> Finding:
    if signed_by(certificate, key):
        return Finding("signature", True, (f"Ed25519 by key {key.id}",))
    if certificate.key_id != key.id:
        why = f"signed by key {certificate.key_id}, not by {key.id}: give its public half by --key"
    elif certificate.statement.get("subject") != certificate.release:
        why = f"the statement is about {certificate.statement.get('subject')!r}"
    else:
        why = "statement or signature was changed"
    return Finding("signature", False, (why,))


def _record(release: Release, statement: dict[str, Any]) -> Finding:
    """Compare the release as the store has it with what was signed."""
    signed: dict[str, Any] = statement.get("release") or {}
    wrong = [
        f"{name}: {getattr(release, name, None)!r}, signed was {value!r}"
        for name, value in signed.items()
        if getattr(release, name, None) != value
    ]
    wrong += [
        f"{name}: not as signed"
        for name, now in (("digests", release.digests), ("recipe", release.recipe))
        if signing.signable(now) != statement.get(_SIGNED_AS.get(name, name))
    ]
    return Finding("record", not wrong, tuple(wrong) or (f"{len(signed)} fields as signed",))


_SIGNED_AS = {"digests": "files"}


def _files(check: str, folder: Path, digests: Any, told: Progress | None) -> Finding:
    if not isinstance(digests, dict) or not digests:
        return Finding(check, False, ("the certificate names no files",))
    if not folder.is_dir():
        return Finding(check, False, (f"{folder} is missing",))
    total = size(folder, digests)
    step = None if told is None else lambda count: told(check, total, count)
    wrong = differences(folder, digests, FileDigests(), step)
    summary = f"{len(digests)} files, {total / 2**20:.1f} MiB as signed"
    return Finding(check, not wrong, tuple(wrong) or (summary,))


def _adapter(release: Release, statement: dict[str, Any], told: Progress | None) -> list[Finding]:
    """Check the adapter where it is kept; it may be deleted, for the merged weights serve."""
    signed = statement.get("adapter")
    if signed is None or release.adapter_path is None:
        return []
    folder = Path(release.adapter_path)
    if not folder.is_dir():
        return [Finding("adapter", True, ("not kept",))]
    return [_files("adapter", folder, signed.get("files"), told)]


def _parents(
    releases: Releases,
    certificates: Certificates,
    release: Release,
    statement: dict[str, Any],
    key: signing.PublicKey,
) -> Finding:
    """Follow the chain to the model that was pulled: each is known, and is what it was."""
    signed: list[dict[str, Any]] = statement.get("parents") or []
    wrong, expected = [], release.base_release
    for parent in signed:
        id = str(parent.get("id"))
        if id != expected:
            wrong.append(f"{id}: {expected} should come here")
        known = releases.get(id)
        if known is None:
            wrong.append(f"{id}: not registered here")
            return Finding("parents", False, tuple(wrong))
        if signing.digest(known.digests) != parent.get("digests_sha256"):
            wrong.append(f"{id}: its digests are not what they were")
        own = certificates.get(id)
        if own is not None and own.key_id == key.id and not signed_by(own, key):
            wrong.append(f"{id}: its own certificate was changed")
        expected = known.base_release
    if expected is not None:
        wrong.append(f"{expected}: the chain breaks off before it")
    chain = " ← ".join([release.id, *(str(parent.get("id")) for parent in signed)])
    return Finding("parents", not wrong, tuple(wrong) or (chain,))
