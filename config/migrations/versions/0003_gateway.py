"""Gateway numbers, and what call records tell of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "gateway_numbers",
        sa.Column("e164", sa.String(16), nullable=False),
        sa.Column("trunk", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.PrimaryKeyConstraint("e164", name=op.f("pk_gateway_numbers")),
    )
    op.create_index(op.f("ix_gateway_numbers_trunk"), "gateway_numbers", ["trunk"])
    op.add_column("calls", sa.Column("lease", sa.Text(), nullable=False, server_default=""))
    op.add_column("calls", sa.Column("sim", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("calls", "sim")
    op.drop_column("calls", "lease")
    op.drop_table("gateway_numbers")
