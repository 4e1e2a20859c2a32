"""Life of numbers: subscriptions, quarantine, events, ports, messages to lines; duties of nodes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBERS = ("expires_at", "until_at", "since", "held_since")


def upgrade() -> None:
    op.add_column("devices", sa.Column("sim_country", sa.String(2), nullable=True))
    op.add_column("devices", sa.Column("sim_seen_at", sa.Double(), nullable=False, server_default="0"))
    for name in _NUMBERS:
        op.add_column("numbers", sa.Column(name, sa.Double(), nullable=False, server_default="0"))
    for name in ("kept_for", "kept_account"):
        op.add_column("numbers", sa.Column(name, sa.String(64), nullable=True))
    op.add_column("numbers", sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"))
    for name in ("kept_for", "kept_account"):
        op.create_index(op.f(f"ix_numbers_{name}"), "numbers", [name])
    op.create_index("ix_numbers_state_until_at", "numbers", ["state", "until_at"])
    op.create_index("ix_numbers_state_expires_at", "numbers", ["state", "expires_at"])
    op.create_index("ix_numbers_state_e164", "numbers", ["state", "e164"])
    counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "number_events",
        sa.Column("id", counted, nullable=False),
        sa.Column("e164", sa.String(16), nullable=False),
        sa.Column("at_time", sa.Double(), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("state_before", sa.String(16), nullable=True),
        sa.Column("state_after", sa.String(16), nullable=True),
        sa.Column("former", sa.String(64), nullable=False),
        sa.Column("user_ref", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_events")),
    )
    op.create_index("ix_number_events_e164_id", "number_events", ["e164", "id"])
    op.create_table(
        "ports",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("direction", sa.String(4), nullable=False),
        sa.Column("e164", sa.String(16), nullable=False),
        sa.Column("user_ref", sa.String(64), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("rio", sa.String(12), nullable=False),
        sa.Column("port_at", sa.Double(), nullable=False),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.Column("confirm_by", sa.Double(), nullable=False),
        sa.Column("had_left", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(24), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ports")),
    )
    op.create_index(op.f("ix_ports_e164"), "ports", ["e164"])
    op.create_index("ix_ports_state_port_at", "ports", ["state", "port_at"])
    op.create_table(
        "number_messages",
        sa.Column("id", counted, nullable=False),
        sa.Column("e164", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("port", sa.String(32), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_messages")),
    )
    op.create_index(op.f("ix_number_messages_port"), "number_messages", ["port"])
    op.create_index(op.f("ix_number_messages_sent_at"), "number_messages", ["sent_at"])
    op.create_table(
        "rio_references",
        sa.Column("e164", sa.String(16), nullable=False),
        sa.Column("reference", sa.String(6), nullable=False),
        sa.Column("user_ref", sa.String(64), nullable=False),
        sa.Column("held_since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("e164", name=op.f("pk_rio_references")),
    )
    op.create_table(
        "duties",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duties")),
    )


def downgrade() -> None:
    for table in ("duties", "rio_references", "number_messages", "ports", "number_events"):
        op.drop_table(table)
    for index in ("state_e164", "state_expires_at", "state_until_at", "kept_account", "kept_for"):
        op.drop_index(f"ix_numbers_{index}", "numbers")
    for column in ("version", "kept_account", "kept_for", *reversed(_NUMBERS)):
        op.drop_column("numbers", column)
    op.drop_column("devices", "sim_seen_at")
    op.drop_column("devices", "sim_country")
