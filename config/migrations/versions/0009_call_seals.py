"""Places of call records in the chain of their producer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "call_seals",
        sa.Column("producer", sa.String(96), primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("call_ref", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("fields", sa.String(16), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_call_seals_call_ref", "call_seals", ["call_ref"])
    op.create_index("ix_call_seals_ended_ms", "call_seals", ["ended_ms"])


def downgrade() -> None:
    op.drop_table("call_seals")
