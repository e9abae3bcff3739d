"""Alembic's entry: runs the versions on the connection it is handed."""

from __future__ import annotations

from alembic import context

from node.local_store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    user_module_prefix="tables.",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
