"""Trunks: how their carriers want to be spoken to, and registration with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_COLUMNS = (
    ("caller_format", sa.String(16), ""),
    ("identity", sa.String(16), "pai"),
    ("trusted", sa.Boolean(), sa.true()),
    ("privacy", sa.String(32), "id"),
    ("diversion", sa.String(16), "both"),
    ("domain", sa.String(255), ""),
    ("host", sa.String(255), ""),
    ("headers", sa.JSON(), "[]"),
    ("register", sa.Boolean(), sa.false()),
    ("registrar", sa.String(255), ""),
    ("auth_username", sa.String(64), ""),
    ("register_seconds", sa.Integer(), "3600"),
)
"""Name, type, and the value of the trunks that are there already."""


def upgrade() -> None:
    with op.batch_alter_table("trunks") as trunks:
        for name, kind, default in _COLUMNS:
            trunks.add_column(sa.Column(name, kind, nullable=False, server_default=default))


def downgrade() -> None:
    with op.batch_alter_table("trunks") as trunks:
        for name, _, _ in reversed(_COLUMNS):
            trunks.drop_column(name)
