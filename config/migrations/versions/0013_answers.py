"""Whether anything of a request with an Idempotency-Key was done, kept with what was done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    with op.batch_alter_table("api_answers") as table:
        table.add_column(sa.Column("written", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("api_answers") as table:
        table.drop_column("written")
