"""Rates, packages, credit, and the numbers that users have linked to contacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "rates",
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("rate_table", sa.String(32), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("per_minute", sa.BigInteger(), nullable=False),
        sa.Column("connection_fee", sa.BigInteger(), nullable=False),
        sa.Column("minimum_seconds", sa.Integer(), nullable=False),
        sa.Column("increment_seconds", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("zone", sa.String(32), nullable=False),
        sa.Column("valid_from", sa.String(10), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_rates")),
    )
    op.create_table(
        "packages",
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("zones", sa.JSON(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_packages")),
    )
    op.add_column("accounts", sa.Column("credit", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("accounts", sa.Column("packages", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("users", sa.Column("contacts", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("users", "contacts")
    op.drop_column("accounts", "packages")
    op.drop_column("accounts", "credit")
    op.drop_table("packages")
    op.drop_table("rates")
