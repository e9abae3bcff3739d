"""The names of things: States, nodes, authorities, cases, messages.

States carry the EU's house codes (EL, not GR). A node is a State or a State and a part of it (DE, DE-BY); an
authority is written `EE:bb37c2d5c2`, minted once and never derived from its name again.
"""

from __future__ import annotations

import re
import secrets
from typing import NewType

from node.errors import Refused

State = NewType("State", str)
NodeId = NewType("NodeId", str)
AuthorityId = NewType("AuthorityId", str)
EventId = NewType("EventId", str)  # SHA-256 of the canonical event, hexadecimal
CaseId = NewType("CaseId", str)  # the id of the case's first event
CaseNumber = NewType("CaseNumber", str)  # EE-2026-000412
MessageId = NewType("MessageId", str)  # RFC 2822 msg-id without brackets

COMMISSION = AuthorityId("EU:commission")

_STATE = re.compile(r"[A-Z]{2}")
_NODE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,8})?")
_AUTHORITY = re.compile(r"([A-Z]{2}):([a-z0-9-]{1,40})")
_NUMBER = re.compile(r"([A-Z]{2}(?:-[A-Z0-9]{1,8})?)-([0-9]{4})-([0-9]{6,9})(\.[0-9]{1,3})?")


class BadIdentifier(Refused):
    """A text is not the identifier it should be."""

    code = "refused.bad-identifier"


def parse_state(text: str) -> State:
    if not _STATE.fullmatch(text):
        raise BadIdentifier("not a State code", value=text[:20])
    return State(text)


def parse_node(text: str) -> NodeId:
    if not _NODE.fullmatch(text):
        raise BadIdentifier("not a node code", value=text[:20])
    return NodeId(text)


def parse_authority(text: str) -> AuthorityId:
    if not _AUTHORITY.fullmatch(text):
        raise BadIdentifier("not an authority's identifier", value=text[:60])
    return AuthorityId(text)


def parse_number(text: str) -> CaseNumber:
    if not _NUMBER.fullmatch(text):
        raise BadIdentifier("not a case number", value=text[:40])
    return CaseNumber(text)


def state_of(name: NodeId | AuthorityId) -> State:
    """The State of a node or an authority: read off its name, not looked up."""
    return State(name[:2])


def iso_country(state: State) -> str:
    """ISO 3166-1 code of a State: the EU's EL is ISO's GR."""
    return {"EL": "GR"}.get(state, state)


def state_of_iso(country: str) -> State:
    """The EU's code for an ISO 3166-1 country."""
    return State({"GR": "EL"}.get(country, country))


def new_message_id(node: NodeId) -> MessageId:
    """A message id nobody else draws: 128 random bits at the node's name."""
    return MessageId(f"{secrets.token_hex(16)}@{node.lower()}.imi.node")


def new_token(size: int = 16) -> str:
    """`size` random bytes, hexadecimal."""
    return secrets.token_hex(size)
