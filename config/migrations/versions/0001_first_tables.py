"""Accounts, users, devices, numbers, trunks, the directory's revision, call records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("manager", sa.String(64), nullable=True),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_accounts")),
    )
    op.create_table(
        "users",
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("default_number", sa.String(16), nullable=True),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_users")),
        sa.ForeignKeyConstraint(["account"], ["accounts.ref"], name=op.f("fk_users_account")),
    )
    op.create_index(op.f("ix_users_account"), "users", ["account"])
    op.create_table(
        "devices",
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("user_ref", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("sim", sa.String(16), nullable=True),
        sa.Column("sim_verified", sa.Boolean(), nullable=False),
        sa.Column("sip_username", sa.String(64), nullable=True),
        sa.Column("sip_password", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_devices")),
        sa.ForeignKeyConstraint(["user_ref"], ["users.ref"], name=op.f("fk_devices_user_ref")),
        sa.UniqueConstraint("sip_username", name=op.f("uq_devices_sip_username")),
    )
    op.create_index(op.f("ix_devices_user_ref"), "devices", ["user_ref"])
    op.create_index(op.f("ix_devices_sim"), "devices", ["sim"])
    op.create_table(
        "numbers",
        sa.Column("e164", sa.String(16), nullable=False),
        sa.Column("user_ref", sa.String(64), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("category", sa.String(16), nullable=False),
        sa.Column("calls", sa.Boolean(), nullable=False),
        sa.Column("hide", sa.Boolean(), nullable=False),
        sa.Column("ring_seconds", sa.Double(), nullable=False),
        sa.Column("block", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("e164", name=op.f("pk_numbers")),
        sa.ForeignKeyConstraint(["user_ref"], ["users.ref"], name=op.f("fk_numbers_user_ref")),
    )
    op.create_index(op.f("ix_numbers_user_ref"), "numbers", ["user_ref"])
    op.create_table(
        "trunks",
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("peers", sa.JSON(), nullable=False),
        sa.Column("accept_from", sa.JSON(), nullable=False),
        sa.Column("port_must_match", sa.Boolean(), nullable=False),
        sa.Column("username", sa.String(64), nullable=True),
        sa.Column("password", sa.String(128), nullable=False),
        sa.Column("prefixes", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("max_channels", sa.Integer(), nullable=False),
        sa.Column("max_cps", sa.Double(), nullable=False),
        sa.Column("number_format", sa.String(16), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("options_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_trunks")),
        sa.UniqueConstraint("username", name=op.f("uq_trunks_username")),
    )
    state = op.create_table(
        "directory_state",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("forgotten", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_state")),
    )
    op.bulk_insert(state, [{"id": 1, "revision": 0, "forgotten": 0}])
    op.create_table(
        "directory_changes",
        sa.Column("revision", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("revision", "kind", "key", name=op.f("pk_directory_changes")),
    )
    _create_call_tables()


def _create_call_tables() -> None:
    op.create_table(
        "calls",
        sa.Column("call_ref", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("config_version", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("ringing_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("billable_seconds", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("user_ref", sa.String(64), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("caller_presented", sa.Text(), nullable=False),
        sa.Column("caller_hidden", sa.Boolean(), nullable=False),
        sa.Column("dialled", sa.Text(), nullable=False),
        sa.Column("called", sa.Text(), nullable=False),
        sa.Column("original_called", sa.Text(), nullable=False),
        sa.Column("diversions", sa.JSON(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("trunk", sa.String(64), nullable=False),
        sa.Column("gateway_number", sa.Text(), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("device_class", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ended_by", sa.String(16), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("trace", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("call_ref", name=op.f("pk_calls")),
    )
    op.create_index("ix_calls_started_ms", "calls", ["started_ms"])
    op.create_index("ix_calls_account_started_ms", "calls", ["account", "started_ms"])
    op.create_index("ix_calls_number_started_ms", "calls", ["number", "started_ms"])
    op.create_table(
        "call_legs",
        sa.Column("call_ref", sa.String(64), nullable=False),
        sa.Column("leg", sa.String(16), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("user_ref", sa.String(64), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("device_class", sa.String(16), nullable=False),
        sa.Column("trunk", sa.String(64), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("transport", sa.String(8), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("ringing_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ended_by", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("call_ref", "leg", name=op.f("pk_call_legs")),
        sa.ForeignKeyConstraint(
            ["call_ref"], ["calls.call_ref"], name=op.f("fk_call_legs_call_ref"), ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    for table in (
        "call_legs",
        "calls",
        "directory_changes",
        "directory_state",
        "trunks",
        "numbers",
        "devices",
        "users",
        "accounts",
    ):
        op.drop_table(table)
