"""Whose the vector stores are: all that answering a request must know of them."""

import sqlalchemy as sa

from gateway.store.database import Database

_stores = sa.table("vector_stores", sa.column("id"), sa.column("key_prefix"))


def owners(database: Database) -> dict[str, str | None]:
    """Return the key prefix that each vector store belongs to; None: the operator's own."""
    with database.begin() as connection:
        if not sa.inspect(connection).has_table("vector_stores"):
            return {}  # TEMPORARY until 0004
        rows = connection.execute(sa.select(_stores.c.id, _stores.c.key_prefix)).all()
    return {row.id: row.key_prefix for row in rows}
