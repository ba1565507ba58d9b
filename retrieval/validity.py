"""Which documents hold at a moment: removed, not yet valid, expired and superseded ones do not."""

import dataclasses
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from retrieval.records import Document

Booleans = npt.NDArray[np.bool_]
Times = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Validity:
    """When each of n documents holds. Never changed in place: searches read it without a lock.

    Attributes:
        alive: Whether it is still there, neither removed nor replaced.
        valid_from: Unix seconds from which it holds, or -inf.
        valid_to: Unix seconds from which it holds no more, or inf.
        superseded_at: Unix seconds from which another document replaces it, or inf.
        updated_at: Unix seconds of its content.
    """

    alive: Booleans
    valid_from: Times
    valid_to: Times
    superseded_at: Times
    updated_at: Times

    @classmethod
    def of(cls, documents: Iterable[Document], superseded_at: Iterable[float]) -> "Validity":
        """Return the validity of living documents."""
        rows = [
            (
                -np.inf if document.valid_from is None else document.valid_from,
                np.inf if document.valid_to is None else document.valid_to,
                at,
                document.updated_at,
            )
            for document, at in zip(documents, superseded_at, strict=True)
        ]
        times = np.ascontiguousarray(np.asarray(rows, np.float64).reshape(-1, 4).T)
        return cls(np.ones(len(rows), np.bool_), *times)

    def __len__(self) -> int:
        return len(self.alive)

    def joined(self, more: "Validity") -> "Validity":
        """Return these documents and then `more`."""
        pairs = (
            (getattr(self, field.name), getattr(more, field.name))
            for field in dataclasses.fields(self)
        )
        return Validity(*(np.concatenate(pair) for pair in pairs))

    def without(self, documents: list[int]) -> "Validity":
        """Return it with these documents gone."""
        alive = self.alive.copy()
        alive[documents] = False
        return dataclasses.replace(self, alive=alive)

    def superseded(self, at: dict[int, float]) -> "Validity":
        """Return it with documents superseded from these times (inf: not at all)."""
        times = self.superseded_at.copy()
        times[list(at)] = list(at.values())
        return dataclasses.replace(self, superseded_at=times)

    def holds(self, now: float) -> Booleans:
        """Return for each document whether it holds at `now`."""
        until = np.minimum(self.valid_to, self.superseded_at)
        return np.asarray(self.alive & (self.valid_from <= now) & (now < until), np.bool_)

    def until(self, now: float) -> float:
        """Return the first moment after `now` at which another set of documents holds."""
        times = (self.valid_from, self.valid_to, self.superseded_at)
        return min((float(np.min(t, initial=np.inf, where=t > now)) for t in times), default=np.inf)


class Supersession(msgspec.Struct, array_like=True):
    """That `source` replaces another document from `since`; `alive`: `source` is still there."""

    source: str
    since: float
    alive: bool = True


class Supersessions:
    """Who replaces whom.

    A document that was removed after it had replaced another goes on replacing it: were it not so,
    clearing away the middle one of three versions would bring back the first. Adding the replaced
    document again brings it back.

    Args:
        known: What a generation has stored.
    """

    def __init__(self, known: dict[str, list[Supersession]] | None = None) -> None:
        self._of: dict[str, list[Supersession]] = known or {}
        self._by: dict[str, set[str]] = {}
        for target, found in self._of.items():
            for supersession in found:
                self._by.setdefault(supersession.source, set()).add(target)

    @property
    def targets(self) -> set[str]:
        """The ids of the documents that are replaced by others."""
        return set(self._of)

    def added(self, document: Document) -> set[str]:
        """Note an added document; returns the ids whose supersession may have changed."""
        changed = self._withdraw(document.id, None)
        since = -np.inf if document.valid_from is None else document.valid_from
        for target in set(document.supersedes) - {document.id}:
            self._of.setdefault(target, []).append(Supersession(document.id, since))
            self._by.setdefault(document.id, set()).add(target)
            changed.add(target)
        again = self._of.get(document.id, [])
        if any(not supersession.alive for supersession in again):
            self._keep(document.id, [found for found in again if found.alive])
        return changed

    def removed(self, document: str, at: float) -> set[str]:
        """Note that a document was removed at `at`; returns the ids concerned."""
        return self._withdraw(document, at)

    def since(self, document: str) -> float:
        """Return from when a document is superseded, or inf."""
        return min((found.since for found in self._of.get(document, ())), default=np.inf)

    def stored(self, living: Iterable[str]) -> dict[str, list[Supersession]]:
        """Return what a generation has to store: what living documents do or suffer."""
        names = set(living)
        return {
            target: kept
            for target, found in self._of.items()
            if (kept := [one for one in found if one.alive or target in names])
        }

    def _withdraw(self, source: str, removed_at: float | None) -> set[str]:
        targets = self._by.pop(source, set())
        for target in targets:
            found = []
            for one in self._of.get(target, []):
                if one.source != source:
                    found.append(one)
                elif removed_at is not None and one.since <= removed_at:
                    found.append(Supersession(source, one.since, alive=False))
                    self._by.setdefault(source, set()).add(target)
            self._keep(target, found)
        return targets

    def _keep(self, target: str, found: list[Supersession]) -> None:
        if found:
            self._of[target] = found
        else:
            self._of.pop(target, None)
