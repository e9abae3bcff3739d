"""The outbox marks what may be sent: the first waiting message of each order key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.local_store import tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FIRST = """
UPDATE outbox SET due_at = coalesce(next_attempt_at, posted_at)
WHERE state = 'waiting' AND id IN (
    SELECT min(id) FROM outbox WHERE state != 'received' GROUP BY order_key, recipient
)
"""


def upgrade() -> None:
    """Mark what waits already."""
    op.add_column("outbox", sa.Column("due_at", tables.UtcDateTime(), nullable=True))
    op.execute(sa.text(_FIRST))
    op.drop_index("ix_outbox_lane", "outbox")
    op.create_index(
        "ix_outbox_due", "outbox", ["recipient", "due_at", "id"], sqlite_where=sa.text("due_at IS NOT NULL")
    )
    op.create_index(
        "ix_outbox_unfinished",
        "outbox",
        ["recipient", "order_key", "id", "state"],
        sqlite_where=sa.text("state != 'received'"),
    )
    op.create_index(
        "ix_outbox_untold", "outbox", ["posted_at"], sqlite_where=sa.text("state != 'received' AND told_at IS NULL")
    )


def downgrade() -> None:
    """Back to a lane that looks through all that waits."""
    for name in ("ix_outbox_untold", "ix_outbox_unfinished", "ix_outbox_due"):
        op.drop_index(name, "outbox")
    op.create_index("ix_outbox_lane", "outbox", ["recipient", "id"], sqlite_where=sa.text("state = 'waiting'"))
    op.drop_column("outbox", "due_at")
