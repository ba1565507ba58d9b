"""Alembic's environment: runs on the connection that `Database.migrate` hands over."""

from alembic import context

from gateway.store import (  # noqa: F401 - their tables
    benefits,
    calibrations,
    certificates,
    claims,
    comparisons,
    engines,
    feedback,
    files,
    health,
    job_events,
    jobs,
    keys,
    ledger,
    loops,
    monitoring,
    policies,
    raters,
    releases,
    retraining,
    rollouts,
    traffic,
    vector_store_batches,
    vector_store_files,
    vector_stores,
)
from gateway.store.database import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
