"""Tries to hand over messages to lines, and what came of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    with op.batch_alter_table("number_messages") as table:
        table.add_column(sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("next_at", sa.Double(), nullable=False, server_default="0"))
        table.add_column(sa.Column("failure", sa.String(200), nullable=False, server_default=""))
        table.add_column(sa.Column("given_up", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("number_messages") as table:
        for column in ("given_up", "failure", "next_at", "attempts"):
            table.drop_column(column)
