"""Pages of rows: what lies after or before a row, in the order of a list."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def page(
    connection: sa.Connection,
    query: sa.Select[Any],
    columns: Sequence[sa.ColumnElement[Any]],
    *,
    after: Sequence[Any] | None = None,
    before: Sequence[Any] | None = None,
    limit: int = 20,
    ascending: bool = False,
) -> tuple[list[sa.Row[Any]], bool]:
    """Return the rows of a page in the list's order, and whether there are more that way.

    Args:
        connection: Where to ask.
        query: What the list holds.
        columns: What it is ordered by; together they are unique.
        after: The columns of the row after which the page begins.
        before: Those of the row before which it ends; without `after` the page is the last one
            before that row.
        limit: Most rows of a page.
        ascending: Whether the smallest comes first.
    """
    here = sa.tuple_(*columns)
    if after is not None:
        there = sa.tuple_(*after)
        query = query.where(here > there if ascending else here < there)
    if before is not None:
        there = sa.tuple_(*before)
        query = query.where(here < there if ascending else here > there)
    backwards = before is not None and after is None
    order = [column.asc() if ascending != backwards else column.desc() for column in columns]
    rows = list(connection.execute(query.order_by(*order).limit(limit + 1)).all())
    more = len(rows) > limit
    rows = rows[:limit]
    return (rows[::-1] if backwards else rows), more
