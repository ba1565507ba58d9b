"""Retrieval policies, calibrations of releases, health of aliases, and what retrieval brings."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "retrieval_policies",
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_retrieval_policies")),
    )
    op.create_table(
        "calibrations",
        sa.Column("release", sa.String(length=200), nullable=False),
        sa.Column("data_cutoff", sa.Double(), nullable=True),
        sa.Column("reference", sa.String(length=80), nullable=True),
        sa.Column("similarity_floor", sa.Double(), nullable=True),
        sa.Column("nll_ceiling", sa.Double(), nullable=True),
        sa.Column("sufficient", sa.Double(), nullable=True),
        sa.Column("prompts", sa.Integer(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("release", name=op.f("pk_calibrations")),
    )
    op.create_table(
        "alias_health",
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_alias_health")),
    )
    op.create_table(
        "retrieval_benefits",
        sa.Column("topic", sa.String(length=250), nullable=False),
        sa.Column("benefit", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_retrieval_benefits")),
    )
    op.create_table(
        "retrieval_benefit_place",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_retrieval_benefit_place")),
    )
