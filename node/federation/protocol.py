"""What to answer to what, and when to try again: decisions as functions of values.

A message is delivered when its signed receipt repeats what we signed, and at no other time. Whatever else comes back
says whether to try again: with the same bytes, for ever, or never again.

| what came back                              | what it means                                   |
|---|---|
| nothing, or no ebMS signal                   | unknown: the peer may have it; again            |
| receipt that is unsigned or for other bytes  | unknown; again, and shown to the operator       |
| unsigned error, or one about another message | a stranger could say it; again, recorded        |
| signed EBMS:0004, 0005, 0202                 | not now; again                                  |
| signed EBMS:4001, or 0004 "duplicate"        | delivered, if an earlier attempt had no answer  |
| any other signed error                       | refused for good: this order key is parked      |

Source: AS4 1.0 section 3.2 (reception awareness); docs/explanation/delivery.md.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from node.federation import as4
from node.federation.as4 import errors
from node.ids import NodeId

AGAIN: Final = frozenset({"EBMS:0004", "EBMS:0005", "EBMS:0202"})
USUAL: Final = as4.Retry()


class Misaddressed(as4.As4Error):
    """A message names a sender that the peer that brought it may not carry for: it is neither the sender nor a relay."""

    code = "peer.misaddressed"
    ebms = errors.VALUE_INCONSISTENT
    description = "The message does not come from the party that delivers it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The peer has it: `receipt` proves it, or is None where only a duplicate error says so."""

    receipt: as4.Receipt | None
    soap: bytes = b""  # the receipt's own bytes, kept as evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Not known to be delivered: the same bytes again, later.

    `answered`: the peer said that it does not have it; otherwise it may.
    """

    reason: str
    answered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverAgain:
    """The peer refused it for good."""

    reason: str


Outcome = Received | Again | NeverAgain


def judge_carrier(header: as4.Header, carriers: Collection[NodeId], *, carrier: NodeId, party: str) -> None:
    """Raises Misaddressed unless who is connected may bring the sender's messages.

    Args:
        carriers: of the sender that From names: itself, its listed relay, and ours; none if From names nobody.
        party: what `carrier` calls itself in messages of its own.
    """
    if carrier not in carriers:
        raise Misaddressed(
            "From/PartyId is another one's",
            message_id=header.message_id,
            field="From/PartyId",
            expected=party,
            received=header.sender.id,
        )


def judge_answer(
    signal: as4.Signal, *, message_id: str, signed: tuple[as4.Reference, ...], unanswered: bool
) -> Outcome:
    """What the answer to a message means.

    Args:
        signed: the references of the message's signature.
        unanswered: whether an earlier attempt stayed without an answer.
    """
    if isinstance(signal, as4.Receipt):
        try:
            as4.check_receipt(signal, message_id=message_id, sent=signed)
        except as4.InvalidReceipt as error:
            return Again(reason=f"{error.ebms.code}: {error}")
        return Received(receipt=signal)
    if signal.ref_to_message_id != message_id:  # an old error about another message proves nothing about this one
        return Again(reason=f"an error about another message or about none: {signal.code}")
    said = f"{signal.code} {signal.short_description}: {signal.description} {signal.detail}".strip()
    if not signal.authenticated:
        return Again(reason=f"unsigned error, not believed: {said}")
    if signal.says_duplicate:
        return Received(receipt=None) if unanswered else NeverAgain(reason=said)
    return Again(reason=said, answered=True) if signal.code in AGAIN else NeverAgain(reason=said)


def delay(failures: int, dice: float, retry: as4.Retry = USUAL) -> timedelta:
    """How long to wait after so many failures in a row: 1 s, 2 s, 4 s … 15 min, give or take three percent.

    Args:
        dice: uniform in [0, 1).
        retry: as agreed with the peer, if it is not the usual.
    """
    seconds = min(retry.first.total_seconds() * 2.0 ** min(failures - 1, 20), retry.longest.total_seconds())
    return timedelta(seconds=seconds * (0.97 + 0.06 * dice))
