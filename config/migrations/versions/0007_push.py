"""Push credentials of devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    with op.batch_alter_table("devices") as table:
        table.add_column(sa.Column("mqtt_password", sa.String(160), nullable=False, server_default=""))
    with op.batch_alter_table("devices") as table:
        table.alter_column("mqtt_password", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("devices") as table:
        table.drop_column("mqtt_password")
