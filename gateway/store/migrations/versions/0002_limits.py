"""Limits of keys, and the ledger of what they have used."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply it."""
    for name in (
        "requests_per_minute",
        "tokens_per_minute",
        "max_concurrency",
        "tokens_per_day",
        "tokens_per_month",
    ):
        op.add_column("keys", sa.Column(name, sa.BigInteger(), nullable=True))
    op.create_table(
        "ledger",
        sa.Column("key_prefix", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("window_start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_prefix", "kind", "window_start", name=op.f("pk_ledger")),
    )
    op.create_table(
        "ledger_slots",
        sa.Column("key_prefix", sa.String(length=8), nullable=False),
        sa.Column("holder", sa.String(length=100), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key_prefix", "holder", name=op.f("pk_ledger_slots")),
    )
