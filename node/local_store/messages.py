"""Tables of what was sent to and received from other nodes: wire bytes, receipts, and how far delivery is.

Rows are written with SQLAlchemy Core: they are many, and nothing else maps to them. The inbox remembers for ever.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from node.local_store.tables import Base


class OutboxRow(Base):
    """One message to one node. `id` is its place in the lane; messages of one `order_key` arrive in this order.

    `due_at` is set on what may be sent: on the first waiting message of an order key, and on no other. The lane's index
    holds these rows only, so that the next batch is found as fast behind a million waiting messages as behind none.
    """

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(unique=True)
    recipient: Mapped[str]
    order_key: Mapped[str]
    conversation: Mapped[str]
    action: Mapped[str]
    posted_at: Mapped[datetime]
    state: Mapped[str]  # waiting, received, refused, parked (waits behind a refused one of its order key)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]  # when it may be sent; None while another of its order key goes first
    unanswered: Mapped[bool] = mapped_column(default=False)  # some attempt may have arrived without our hearing of it
    last_error: Mapped[str] = mapped_column(default="")
    told_at: Mapped[datetime | None]  # when sender and operator were told that there is no receipt (EBMS:0301)
    content: Mapped[bytes | None] = mapped_column(LargeBinary)  # cleared once the message is built
    content_reference: Mapped[str] = mapped_column(default="")  # or where `open_file` finds it
    ref_to_message_id: Mapped[str | None]  # the message it answers, in a two-way exchange
    content_mime: Mapped[str] = mapped_column(default="application/json", server_default="application/json")
    service: Mapped[str] = mapped_column(default="", server_default="")  # empty: the first the agreement names
    files: Mapped[str] = mapped_column(default="[]")  # JSON: [[name, media type, reference], …]
    properties: Mapped[str] = mapped_column(default="{}")
    content_type: Mapped[str] = mapped_column(default="")
    body: Mapped[bytes | None] = mapped_column(LargeBinary)  # the bytes posted, the same at every attempt
    body_file: Mapped[str] = mapped_column(default="", server_default="")  # or where they lie, if they are many
    signed: Mapped[str] = mapped_column(default="")  # JSON: the references of our signature
    signing_certificate: Mapped[bytes | None] = mapped_column(LargeBinary)  # DER
    receipt: Mapped[bytes | None] = mapped_column(LargeBinary)  # the receipt's SOAP
    receipt_certificate: Mapped[bytes | None] = mapped_column(LargeBinary)  # DER
    received_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_outbox_due", "recipient", "due_at", "id", sqlite_where=text("due_at IS NOT NULL")),
        Index(
            "ix_outbox_unfinished", "recipient", "order_key", "id", "state", sqlite_where=text("state != 'received'")
        ),
        Index("ix_outbox_untold", "posted_at", sqlite_where=text("state != 'received' AND told_at IS NULL")),
        Index("ix_outbox_order_key", "order_key", "id"),
        Index("ix_outbox_conversation", "conversation"),
    )


class AttemptRow(Base):
    """One time a message was posted to its peer, and what came back. The newest of each message are kept."""

    __tablename__ = "attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    message: Mapped[int]  # the outbox row's id
    at: Mapped[datetime]  # when its outcome was known
    outcome: Mapped[str]  # received, again, never again, no answer
    said: Mapped[str] = mapped_column(default="")  # the peer's words: ebMS code, short description, description
    authenticated: Mapped[bool | None]  # whether the peer's signature stands under its answer; None: there is no signal
    status: Mapped[int | None]  # HTTP, where that is all that came back
    milliseconds: Mapped[int]  # from posting to the answer

    __table_args__ = (Index("ix_attempts_message", "message", "id"),)


class InboxRow(Base):
    """One message from one node, with the receipt it was answered with: the same bytes for every repeat."""

    __tablename__ = "inbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    sender: Mapped[str]
    message_id: Mapped[str]
    conversation: Mapped[str]
    service: Mapped[str] = mapped_column(default="", server_default="")
    ref_to_message_id: Mapped[str | None]
    action: Mapped[str]
    received_at: Mapped[datetime]
    signed: Mapped[str]  # JSON: the references of its signature; a repeat has the same
    content_type: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)  # empty if they lie in `body_file`
    body_file: Mapped[str] = mapped_column(default="", server_default="")
    signing_certificate: Mapped[bytes] = mapped_column(LargeBinary)  # DER
    receipt: Mapped[bytes] = mapped_column(LargeBinary)
    receipt_certificate: Mapped[bytes] = mapped_column(LargeBinary)  # DER, ours
    repeats: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        UniqueConstraint("sender", "message_id"),
        Index("ix_inbox_conversation", "conversation"),
    )


class RejectionRow(Base):
    """A message this node refused: what its sender was told, and the field that differed. The newest are kept."""

    __tablename__ = "rejections"

    id: Mapped[int] = mapped_column(primary_key=True)
    peer: Mapped[str]
    message_id: Mapped[str] = mapped_column(default="")  # as far as it could be read; nobody vouches for it
    at: Mapped[datetime]
    code: Mapped[str]  # ours: peer.not-agreed
    ebms: Mapped[str]  # as the peer was told: EBMS:0010
    reason: Mapped[str]
    field: Mapped[str] = mapped_column(default="")
    expected: Mapped[str] = mapped_column(default="")
    received: Mapped[str] = mapped_column(default="")

    __table_args__ = (Index("ix_rejections_message", "message_id"), Index("ix_rejections_peer", "peer", "id"))
