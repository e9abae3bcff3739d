"""Registrations, access, decisions, password links, changes on their way into the directory.

The role `administrator` is called `local-administrator` from now on; no step and no page ever asked for the old name, so
old code reads and writes on. It does not know the new tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.local_store import tables

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_requests",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("roles", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("coordinator", sa.String(), nullable=False),
        sa.Column("asked_at", tables.UtcDateTime(), nullable=False),
        sa.Column("asked_by", sa.Integer(), nullable=True),
        sa.Column("decided_at", tables.UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_requests")),
    )
    with op.batch_alter_table("access_requests", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_access_requests_authority"), ["authority"], unique=False)
        batch_op.create_index(batch_op.f("ix_access_requests_coordinator"), ["coordinator"], unique=False)

    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", tables.UtcDateTime(), nullable=False),
        sa.Column("coordinator", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.create_index("ix_decisions_authority", ["authority", "id"], unique=False)

    op.create_table(
        "directory_changes",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_changes")),
    )
    with op.batch_alter_table("directory_changes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_directory_changes_authority"), ["authority"], unique=False)

    op.create_table(
        "registrations",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("coordinator", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scopes", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.Column("expires_at", tables.UtcDateTime(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("asked", sa.String(), nullable=False),
        sa.Column("first_user", sa.String(), nullable=False),
        sa.Column("password", sa.String(), nullable=False),
        sa.Column("submitted_at", tables.UtcDateTime(), nullable=True),
        sa.Column("decided_at", tables.UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("authority", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registrations")),
        sa.UniqueConstraint("code", name=op.f("uq_registrations_code")),
    )
    with op.batch_alter_table("registrations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_registrations_coordinator"), ["coordinator"], unique=False)
        batch_op.create_index(batch_op.f("ix_registrations_decided_at"), ["decided_at"], unique=False)

    op.create_table(
        "password_codes",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("expires_at", tables.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_password_codes_user_id")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_password_codes")),
    )
    with op.batch_alter_table("password_codes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_password_codes_user_id"), ["user_id"], unique=False)

    _rename_role("administrator", "local-administrator")


def _rename_role(old: str, new: str) -> None:
    users = sa.table("users", sa.column("id", sa.Integer), sa.column("roles", sa.String))
    connection = op.get_bind()
    for number, roles in connection.execute(sa.select(users.c.id, users.c.roles)).all():
        renamed = ",".join(new if role == old else role for role in roles.split(","))
        if renamed != roles:
            connection.execute(sa.update(users).where(users.c.id == number).values(roles=renamed))


def downgrade() -> None:
    with op.batch_alter_table("password_codes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_password_codes_user_id"))

    op.drop_table("password_codes")
    with op.batch_alter_table("registrations", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_registrations_decided_at"))
        batch_op.drop_index(batch_op.f("ix_registrations_coordinator"))

    op.drop_table("registrations")
    with op.batch_alter_table("directory_changes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_directory_changes_authority"))

    op.drop_table("directory_changes")
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.drop_index("ix_decisions_authority")

    op.drop_table("decisions")
    with op.batch_alter_table("access_requests", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_access_requests_coordinator"))
        batch_op.drop_index(batch_op.f("ix_access_requests_authority"))

    op.drop_table("access_requests")
    _rename_role("local-administrator", "administrator")
