"""Alembic's environment: runs on the connection that `Database.migrate` hands over."""

from alembic import context

from gateway.store import (  # noqa: F401 - their tables
    engines,
    feedback,
    files,
    job_events,
    jobs,
    keys,
    ledger,
    releases,
    traffic,
)
from gateway.store.database import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
