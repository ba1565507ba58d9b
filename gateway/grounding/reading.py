"""Reads from the store what workers know for grounding."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from gateway.bodies import Retrieval
from gateway.grounding.books import Books
from gateway.store.benefits import Benefits, TopicBenefit
from gateway.store.calibrations import Calibrations, StoredCalibration
from gateway.store.database import Database
from gateway.store.health import PASSING, AliasHealth, Healths
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
            health={health.alias: health.acting for health in healths},
            drifted=dict(_drifted(healths)),
            switched_off=frozenset(each.topic for each in benefits if each.benefit.off),
            owners=self.owners(),
        )
        return Read(books, benefits)

    def _state(self, health: AliasHealth) -> str:
        """Return how good an alias's answers are; while it is retrained, as good as before."""
        return (
            self._healths.settled(health.alias).state if health.state in PASSING else health.state
        )


def _policies(stored: Iterable[StoredPolicy]) -> Iterator[tuple[tuple[str, str], Retrieval]]:
    for policy in stored:
        try:
            yield (policy.kind, policy.name), msgspec.convert(policy.fields, Retrieval)
        except msgspec.ValidationError as error:
            # One row must not keep the others, nor keys and routes, from being read.
            _log.warning("the policy of the %s %s: %s", policy.kind, policy.name, error)


def _drifted(healths: Iterable[AliasHealth]) -> Iterator[tuple[str, tuple[Area, ...]]]:
    """Return the topics that drifted, of each alias that is warned of."""
    for health in healths:
        if health.acting != "WARN":
            continue
        try:
            yield (
                health.alias,
                msgspec.convert(health.evidence.get("drifted", ()), tuple[Area, ...]),
            )
        except msgspec.ValidationError as error:  # retrieval then helps with every topic
            _log.warning("what drifted of %s: %s", health.alias, error)


def _calibration(row: StoredCalibration) -> Calibration:
    return Calibration(
        data_cutoff=row.data_cutoff,
        reference=row.reference,
        similarity_floor=row.similarity_floor,
        nll_ceiling=row.nll_ceiling,
        sufficient=row.sufficient,
    )
