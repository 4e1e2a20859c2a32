"""What happens to calls that come in: blocks, hours, forwarding, GSM, and Greetings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.add_column(sa.Column("call_waiting", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("block", sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("spam", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("devices") as table:
        table.add_column(sa.Column("answer", sa.String(8), nullable=False, server_default="voip"))
    with op.batch_alter_table("numbers") as table:
        table.add_column(sa.Column("spam", sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("hours", sa.JSON(), nullable=True))
        table.add_column(sa.Column("forward", sa.JSON(), nullable=True))
        table.add_column(sa.Column("voicemail", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("gsm_fallback", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("account", sa.String(64), nullable=True))
        table.create_foreign_key(op.f("fk_numbers_account_accounts"), "accounts", ["account"], ["ref"])
        table.create_index(op.f("ix_numbers_account"), ["account"])
    op.create_table(
        "greetings",
        sa.Column("number", sa.String(16), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("strategy", sa.String(16), nullable=False),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.Column("ring_seconds", sa.Double(), nullable=False),
        sa.Column("repeat_count", sa.Integer(), nullable=False),
        sa.Column("limit_seconds", sa.Double(), nullable=False),
        sa.Column("hours", sa.JSON(), nullable=True),
        sa.Column("open_flow", sa.JSON(), nullable=False),
        sa.Column("closed_flow", sa.JSON(), nullable=False),
        sa.Column("unanswered_flow", sa.JSON(), nullable=False),
        sa.Column("block", sa.JSON(), nullable=False),
        sa.Column("spam", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.ref"], name=op.f("fk_greetings_account_accounts")),
        sa.ForeignKeyConstraint(["number"], ["numbers.e164"], name=op.f("fk_greetings_number_numbers")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_greetings")),
    )
    op.create_index(op.f("ix_greetings_account"), "greetings", ["account"])


def downgrade() -> None:
    op.drop_table("greetings")
    with op.batch_alter_table("numbers") as table:
        table.drop_index(op.f("ix_numbers_account"))
        table.drop_constraint(op.f("fk_numbers_account_accounts"), type_="foreignkey")
        for name in ("account", "gsm_fallback", "voicemail", "forward", "hours", "spam"):
            table.drop_column(name)
    with op.batch_alter_table("devices") as table:
        table.drop_column("answer")
    with op.batch_alter_table("users") as table:
        for name in ("spam", "block", "call_waiting"):
            table.drop_column(name)
