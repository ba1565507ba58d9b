"""Calibrations: what is known of a release's own knowledge, for the decision to retrieve."""

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable

_table = sa.Table(
    "calibrations",
    metadata,
    sa.Column("release", sa.String(200), primary_key=True),
    sa.Column("data_cutoff", sa.Double),
    sa.Column("reference", sa.String(80)),
    sa.Column("similarity_floor", sa.Double),
    sa.Column("nll_ceiling", sa.Double),
    sa.Column("sufficient", sa.Double),
    sa.Column("prompts", sa.Integer, nullable=False),
    sa.Column("answers", sa.Integer, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredCalibration:
    """The calibration of a release; see `retrieval.gate.Calibration` for the first five.

    `prompts` and `answers` say how many the floor and the ceiling come from.
    """

    release: str
    data_cutoff: float | None
    reference: str | None
    similarity_floor: float | None
    nll_ceiling: float | None
    sufficient: float | None
    prompts: int
    answers: int
    updated_at: float


class Calibrations:
    """The calibrations in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, calibration: StoredCalibration) -> None:
        """Write a release's calibration over the one it had."""
        with self._database.begin() as connection:
            connection.execute(_table.delete().where(_table.c.release == calibration.release))
            connection.execute(_table.insert().values(**storable(asdict(calibration))))

    def all(self) -> list[StoredCalibration]:
        """Return all calibrations."""
        with self._database.begin() as connection:
            rows = connection.execute(_table.select().order_by(_table.c.release)).all()
        return [StoredCalibration(**row._mapping) for row in rows]
