"""Whose the vector stores are: all that answering a request must know of them."""

from gateway.store.database import Database
from gateway.store.vector_stores import VectorStores


def owners(database: Database) -> dict[str, str | None]:
    """Return the key prefix that each vector store belongs to; None: the operator's own.

    Stores that were deleted or have expired are left out: nobody may search them.
    """
    return VectorStores(database).owners()
