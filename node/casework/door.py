"""What is asked of another node's event before it is folded (procedures.md section 4).

What is wrong for ever is refused; what may only be unknown here *yet* is held and asked again after the directory, the
trust list or the catalogue was renewed. None of it enters the fold: directories differ between nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.orm import Session

from node.casework.tools import CLOCK_SKEW, Tools
from node.domain.events import RECEIVED, Event, SignedEvent, signing_input
from node.domain.handover import HAND_OVER, MOVED, TAKEN_OVER, is_well_formed, nth
from node.federation.peers import UnknownPeer
from node.ids import NodeId, state_of
from node.local_store import cases

PASSED: Final = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refused`: never; else `held` says what is missing, and is empty for an event that may be folded."""

    held: str = PASSED
    refused: str = ""


def judge(tools: Tools, session: Session, signed: SignedEvent) -> Verdict:
    """Whether an event of another node may enter the fold.

    Held: unknown-certificate, unknown-authority, other-node, unknown-move, not-ours, unknown-procedure, unknown-edition,
    no-access, ahead-of-clock. Refused: signature, foreign-state, scope, number.
    """
    event = signed.event
    try:
        signer, certificate = tools.peers.certificate_by_fingerprint(signed.certificate)
    except UnknownPeer:
        return Verdict(held="unknown-certificate")
    if not _is_signed(signed, certificate.public_key()):
        return Verdict(refused="signature")
    if refused := _never(tools, session, event, signer):
        return Verdict(refused=refused)
    return Verdict(held=_not_yet(tools, session, event, signer))


def _is_signed(signed: SignedEvent, key: object) -> bool:
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(signed.signature, signing_input(signed.event.id))
    except InvalidSignature:
        return False
    return True


def _never(tools: Tools, session: Session, event: Event, signer: NodeId) -> str:
    if state_of(signer) != event.state:
        return "foreign-state"
    if signer == tools.node:
        # Relayed back to us: what we signed and no longer have means that this node was restored from a backup.
        return ""
    if event.scope in ("authority", "state") and event.state != state_of(tools.node):
        return "scope"
    if event.opening:
        number = event.opening.number
        if not number.startswith(f"{signer}-") or "." in number:
            return "number"
        if cases.case_of_number(session, number) not in (None, event.case_id):
            return "number"
    return ""


def _not_yet(tools: Tools, session: Session, event: Event, signer: NodeId) -> str:
    if held := _not_for(tools, session, event, signer):
        return held
    if event.catalogue > tools.catalogue.edition:
        return "unknown-edition"
    if event.at > tools.clock.now() + CLOCK_SKEW:
        return "ahead-of-clock"
    return _definition(tools, session, event)


def _not_for(tools: Tools, session: Session, event: Event, signer: NodeId) -> str:
    """Why the signer may not sign for the author, as far as the directory knows.

    What a node signed for an authority that has left it stays good: the hand-over in the case says which of it counts,
    and without one nothing does. `moved` is believed when the directory tells of the same move.
    """
    homes = tools.homes(event.author)
    if not homes:
        return "unknown-authority"
    if event.scope == "authority" and homes[-1] != tools.node:
        return "not-ours"  # what an authority keeps to itself travels only when it moves, ahead of the directory
    if event.step == MOVED:
        number = nth(event) if is_well_formed(event) else len(homes)
        return "" if homes[number - 1 : number + 1] == (signer, event.control.get("to")) else "unknown-move"
    if signer == homes[-1]:
        return PASSED
    if signer not in homes:
        return "other-node"
    return PASSED if event.step == TAKEN_OVER or _is_handed_over(session, event) else "other-node"


def _is_handed_over(session: Session, event: Event) -> bool:
    """Whether a hand-over of the author by both nodes stands in the case."""
    stored = cases.events_of(session, event.case_id)
    steps = {s.signed.event.step for s in stored if not s.door and s.signed.event.author == event.author}
    return {MOVED, TAKEN_OVER} <= steps


def _definition(tools: Tools, session: Session, event: Event) -> str:
    """Whether the definition is here, and its author has access to it (asked of every step but a receipt)."""
    if event.opening:
        procedure = tools.catalogue.by_digest(event.opening.digest)
    else:
        row = cases.find(session, event.case_id)
        procedure = tools.catalogue.by_digest(row.digest) if row and row.digest else None
        if procedure is None:
            return PASSED  # judged once its case has opened; until then nothing is folded
    if procedure is None:
        return "unknown-procedure"
    if event.step not in (RECEIVED, *HAND_OVER) and not tools.access(event.author, procedure.id):
        return "no-access"
    return PASSED
