"""How much was asked lately and how long it took, in steps of time, for people to look at."""

import math
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.store.database import Database
from gateway.store.traffic import table

FAILED = ("error", "truncated")
_MOST_TIMED = 4000


@dataclass(frozen=True, slots=True)
class Step:
    """A step of time.

    Attributes:
        requests: That began in it.
        failed: Those of them that had no whole answer, though their client waited for it.
        median_s: Of their durations, where any was looked at.
        p95_s: The 95th percentile.
    """

    requests: int
    failed: int
    median_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class Pace:
    """What was asked between two times.

    Attributes:
        steps: Of equal length, from then to now.
        requests: In all of them.
        failed: Without a whole answer.
        median_s: Of the durations.
        p95_s: The 95th percentile.
        first_token_s: Median time to the first token of streams, where there were any.
    """

    steps: tuple[Step, ...]
    requests: int
    failed: int
    median_s: float | None
    p95_s: float | None
    first_token_s: float | None


class Activity:
    """Reads the traffic log for how busy it is; mirrored requests are left out.

    Args:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def pace(self, since: float, until: float, steps: int, alias: str | None = None) -> Pace:
        """Return what was asked between two times (Unix seconds), of one alias or of all.

        Requests are counted, all of them; durations are those of the last 4,000.
        """
        width = (until - since) / steps
        where = [
            table.c.created_at >= since,
            table.c.created_at < until,
            table.c.shadow_of.is_(None),
        ]
        if alias is not None:
            where.append(table.c.alias == alias)
        failed = sa.func.sum(sa.case((table.c.outcome.in_(FAILED), 1), else_=0))
        with self._database.begin() as connection:
            place = (table.c.created_at - since) / width
            if connection.dialect.name == "postgresql":
                place = sa.func.trunc(place)  # its casts round
            step = sa.cast(place, sa.Integer).label("step")
            counted = sa.select(step, sa.func.count(), failed).where(*where).group_by(step)
            counts = {row[0]: (row[1], int(row[2])) for row in connection.execute(counted)}
            timed = (
                sa.select(table.c.created_at, table.c.duration_s, table.c.ttft_s)
                .where(*where)
                .order_by(table.c.created_at.desc())
                .limit(_MOST_TIMED)
            )
            times = connection.execute(timed).all()
        durations: dict[int, list[float]] = {}
        for at, duration, _ in times:
            durations.setdefault(int((at - since) / width), []).append(duration)
        everything = [row.duration_s for row in times]
        return Pace(
            tuple(
                Step(*counts.get(n, (0, 0)), *_spread(durations.get(n, []))) for n in range(steps)
            ),
            sum(requests for requests, _ in counts.values()),
            sum(bad for _, bad in counts.values()),
            *_spread(everything),
            _spread([row.ttft_s for row in times if row.ttft_s is not None])[0],
        )


def _spread(values: list[float]) -> tuple[float | None, float | None]:
    """Return the median and the 95th percentile (nearest rank)."""
    if not values:
        return None, None
    ordered = sorted(values)
    half, most = (ordered[math.ceil(q * len(ordered)) - 1] for q in (0.5, 0.95))
    return half, most
