"""Reads from the store what workers know for grounding."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from gateway.bodies import Retrieval
from gateway.grounding.books import Books, Standing
from gateway.store.benefits import Benefits, TopicBenefit
from gateway.store.calibrations import Calibrations, StoredCalibration
from gateway.store.database import Database
from gateway.store.health import AliasHealth, Healths
from gateway.store.policies import Policies, StoredPolicy
from retrieval.gate import Calibration
from retrieval.records import Area

_log = logging.getLogger(__name__)
Owners = Mapping[str, str | None]


class Read(NamedTuple):
    """The books, and what the metrics show."""

    books: Books
    benefits: list[TopicBenefit]


class BooksReader:
    """Reads the books.

    Args:
        database: The store.
        owners: Reads whose the vector stores are.
    """

    def __init__(self, database: Database, owners: Callable[[], Owners]) -> None:
        self._policies = Policies(database)
        self._calibrations = Calibrations(database)
        self._healths = Healths(database)
        self._benefits = Benefits(database)
        self.owners = owners

    def read(self) -> Read:
        """Read all of them; StoreError where the store is away."""
        benefits, healths = self._benefits.all(), self._healths.all()
        books = Books(
            policies=dict(_policies(self._policies.all())),
            calibrations={row.release: _calibration(row) for row in self._calibrations.all()},
            health={health.alias: _standing(health) for health in healths},
            switched_off=frozenset(each.topic for each in benefits if each.benefit.off),
            owners=self.owners(),
        )
        return Read(books, benefits)


def _policies(stored: Iterable[StoredPolicy]) -> Iterator[tuple[tuple[str, str], Retrieval]]:
    for policy in stored:
        try:
            yield (policy.kind, policy.name), msgspec.convert(policy.fields, Retrieval)
        except msgspec.ValidationError as error:
            # One row must not keep the others, nor keys and routes, from being read.
            _log.warning("the policy of the %s %s: %s", policy.kind, policy.name, error)


def _standing(health: AliasHealth) -> Standing:
    """Return how an alias stands; which topics drifted is told where it is warned of."""
    release = health.evidence.get("release")
    about = release if isinstance(release, str) else None
    if health.acting != "WARN":
        return Standing(health.acting, about)
    try:
        areas = msgspec.convert(health.evidence.get("drifted", ()), tuple[Area, ...])
    except msgspec.ValidationError as error:  # retrieval then helps with every topic
        _log.warning("what drifted of %s: %s", health.alias, error)
        areas = ()
    return Standing(health.acting, about, areas)


def _calibration(row: StoredCalibration) -> Calibration:
    return Calibration(
        data_cutoff=row.data_cutoff,
        reference=row.reference,
        similarity_floor=row.similarity_floor,
        nll_ceiling=row.nll_ceiling,
        sufficient=row.sufficient,
    )
