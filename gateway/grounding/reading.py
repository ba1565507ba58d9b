"""Reads from the store what workers know for grounding."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from gateway.bodies import Retrieval
from gateway.grounding.books import Books
from gateway.store.benefits import Benefits, TopicBenefit
from gateway.store.calibrations import Calibrations, StoredCalibration
from gateway.store.database import Database
from gateway.store.health import Healths
from gateway.store.policies import Policies
from retrieval.gate import Calibration

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
        benefits = self._benefits.all()
        books = Books(
            policies={
                (policy.kind, policy.name): msgspec.convert(policy.fields, Retrieval)
                for policy in self._policies.all()
            },
            calibrations={row.release: _calibration(row) for row in self._calibrations.all()},
            health={health.alias: health.state for health in self._healths.all()},
            switched_off=frozenset(each.topic for each in benefits if each.benefit.off),
            owners=self.owners(),
        )
        return Read(books, benefits)


def _calibration(row: StoredCalibration) -> Calibration:
    return Calibration(
        data_cutoff=row.data_cutoff,
        reference=row.reference,
        similarity_floor=row.similarity_floor,
        nll_ceiling=row.nll_ceiling,
        sufficient=row.sufficient,
    )
