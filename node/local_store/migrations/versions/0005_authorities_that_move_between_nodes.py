"""Authorities that move between nodes. Old code runs beside the tables, but knows no hand-over: update both nodes first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.local_store import tables

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accepted_moves",
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("moved", sa.String(), nullable=False),
        sa.Column("nth", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("authority", "case_id", name=op.f("pk_accepted_moves")),
    )
    op.create_table(
        "caught_up",
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("authority", name=op.f("pk_caught_up")),
    )
    op.create_table(
        "leaving",
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("to_node", sa.String(), nullable=False),
        sa.Column("nth", sa.Integer(), nullable=False),
        sa.Column("at", tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("authority", name=op.f("pk_leaving")),
    )


def downgrade() -> None:
    op.drop_table("leaving")
    op.drop_table("caught_up")
    op.drop_table("accepted_moves")
