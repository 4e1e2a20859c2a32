"""What became of each device that a call was for, and who pays for a leg that was forwarded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    with op.batch_alter_table("calls") as table:
        table.add_column(sa.Column("offers", sa.Text(), nullable=False, server_default="[]"))
    with op.batch_alter_table("call_legs") as table:
        table.add_column(sa.Column("payer", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("payer_user", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("call_legs") as table:
        table.drop_column("payer_user")
        table.drop_column("payer")
    with op.batch_alter_table("calls") as table:
        table.drop_column("offers")
