"""Entry point of Alembic; `config.database.upgrade` calls it with an open connection."""

from __future__ import annotations

from alembic import context

from config.database import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite can alter little in place: Alembic then copies the table.
    render_as_batch=True,
    # The caller's transaction is the transaction: a start that fails half-way leaves the old schema.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
