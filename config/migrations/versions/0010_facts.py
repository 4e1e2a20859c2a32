"""What the decisions of a call were made of, with its record."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    with op.batch_alter_table("calls") as table:
        table.add_column(sa.Column("facts", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("calls") as table:
        table.drop_column("facts")
