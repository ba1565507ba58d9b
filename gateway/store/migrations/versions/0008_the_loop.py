"""Rollouts, loops, certificates, claims, moves of aliases; what becomes of retraining requests."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "claims",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("token", sa.String(length=100), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claims")),
    )
    op.create_table(
        "loops",
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_loops")),
    )
    op.create_table(
        "certificates",
        sa.Column("release", sa.String(length=200), nullable=False),
        sa.Column("statement", sa.JSON(), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("release", name=op.f("pk_certificates")),
    )
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_moves")),
    )
    op.create_index(op.f("ix_alias_moves_alias"), "alias_moves", ["alias"])
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("candidate", sa.String(length=200), nullable=False),
        sa.Column("previous", sa.String(length=200), nullable=False),
        sa.Column("request", sa.String(length=40), nullable=True),
        sa.Column("job", sa.String(length=40), nullable=True),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("stage", sa.String(length=40), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("wish", sa.String(length=20), nullable=True),
        sa.Column("wished_by", sa.Text(), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_index(op.f("ix_rollouts_alias"), "rollouts", ["alias"])
    live = sa.text("status IN ('paused', 'running', 'waiting')")
    op.create_index(
        "ix_rollouts_live",
        "rollouts",
        ["alias"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.add_column("traffic", sa.Column("shadow_of", sa.Text(), nullable=True))
    for column in (
        sa.Column("step", sa.String(length=20), nullable=True),
        sa.Column("attribution", sa.JSON(), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("job", sa.String(length=40), nullable=True),
        sa.Column("rollout", sa.String(length=40), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("told", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.Double(), nullable=True),
    ):
        op.add_column("retraining_requests", column)
