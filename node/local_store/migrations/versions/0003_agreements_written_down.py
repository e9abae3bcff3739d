"""Services, files of large messages, and rejections. Old code reads and writes on: each new column has a default."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.local_store import tables

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rejections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("at", tables.UtcDateTime(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("ebms", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("expected", sa.String(), nullable=False),
        sa.Column("received", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejections")),
    )
    with op.batch_alter_table("rejections", schema=None) as batch_op:
        batch_op.create_index("ix_rejections_message", ["message_id"], unique=False)
        batch_op.create_index("ix_rejections_peer", ["peer", "id"], unique=False)

    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.add_column(sa.Column("service", sa.String(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("body_file", sa.String(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("ref_to_message_id", sa.String(), nullable=True))

    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ref_to_message_id", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("content_mime", sa.String(), server_default="application/json", nullable=False))
        batch_op.add_column(sa.Column("service", sa.String(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("body_file", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_column("body_file")
        batch_op.drop_column("service")
        batch_op.drop_column("content_mime")
        batch_op.drop_column("ref_to_message_id")

    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.drop_column("ref_to_message_id")
        batch_op.drop_column("body_file")
        batch_op.drop_column("service")

    with op.batch_alter_table("rejections", schema=None) as batch_op:
        batch_op.drop_index("ix_rejections_peer")
        batch_op.drop_index("ix_rejections_message")

    op.drop_table("rejections")
