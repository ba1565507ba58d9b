"""Vector stores, their files and the batches in which files were added."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "vector_stores",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("key_prefix", sa.String(length=8), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("chunking", sa.JSON(), nullable=True),
        sa.Column("expires_after_days", sa.Integer(), nullable=True),
        sa.Column("last_active_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("removed_at", sa.Double(), nullable=True),
        sa.Column("dropped_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vector_stores")),
    )
    op.create_index(op.f("ix_vector_stores_key_prefix"), "vector_stores", ["key_prefix"])
    op.create_table(
        "vector_store_files",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("vector_store_id", sa.String(length=80), nullable=False),
        sa.Column("file_id", sa.String(length=40), nullable=False),
        sa.Column("key_prefix", sa.String(length=8), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.JSON(), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("chunking", sa.JSON(), nullable=True),
        sa.Column("batch_id", sa.String(length=40), nullable=True),
        sa.Column("usage_bytes", sa.BigInteger(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("passages", sa.Integer(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claim", sa.String(length=100), nullable=True),
        sa.Column("claimed_until", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_vector_store_files")),
    )
    op.create_index(op.f("ix_vector_store_files_file_id"), "vector_store_files", ["file_id"])
    op.create_index(op.f("ix_vector_store_files_status"), "vector_store_files", ["status"])
    op.create_index(op.f("ix_vector_store_files_stale"), "vector_store_files", ["stale"])
    op.create_index(op.f("ix_vector_store_files_batch_id"), "vector_store_files", ["batch_id"])
    op.create_index(
        "ix_vector_store_files_vector_store_id_file_id",
        "vector_store_files",
        ["vector_store_id", "file_id"],
        unique=True,
    )
    op.create_table(
        "vector_store_file_batches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("vector_store_id", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("cancelled_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vector_store_file_batches")),
    )
    op.create_index(
        op.f("ix_vector_store_file_batches_vector_store_id"),
        "vector_store_file_batches",
        ["vector_store_id"],
    )
