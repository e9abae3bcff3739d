"""Signals: receipts and errors, written signed, read with suspicion.

A receipt says: the receiving node has this message, intact, stored. It repeats every reference of the message's
signature, so it is checked against the references stored when the message was built. Only a verified receipt is
success; an error that is not signed is reported, not believed.

Source: ebMS 3.0 Core sections 5.2.3 and 6; AS4 1.0 section 5.1.8; ebBP signals 2.0.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from lxml import etree

from node.federation.as4 import mime, names, own_form, pieces, reading
from node.federation.as4.building import write_timestamp
from node.federation.as4.canonical import attribute, text
from node.federation.as4.envelope import Envelope, parse_envelope, read_info, read_own_info
from node.federation.as4.errors import (
    As4Error,
    BadEnvelope,
    BadSignature,
    BrokenMime,
    InvalidReceipt,
    NoSignal,
    PolicyBroken,
    TooLarge,
)
from node.federation.as4.model import Agreement, Built, Limits, Random, Reference, SignatureForm, Signer
from node.federation.as4.signing import envelope, write_reference, write_timestamp_and_id
from node.federation.as4.verifying import read_reference, verify_envelope

_SIGNAL_TYPE = f"{names.SOAP}; charset=UTF-8"
_DUPLICATE = re.compile(r"duplicate", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A receipt whose signature verifies; `check_receipt` says whether it is for what we sent."""

    message_id: str
    ref_to_message_id: str | None
    timestamp: datetime
    references: tuple[Reference, ...]
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSignal:
    """An ebMS error. One that is not authenticated may come from anyone on the way: record it and keep trying."""

    message_id: str
    ref_to_message_id: str | None
    timestamp: datetime
    code: str
    severity: str
    short_description: str
    description: str
    authenticated: bool
    detail: str = ""  # phase4 says here what happened; its description is the code's own sentence

    @property
    def says_duplicate(self) -> bool:
        """Whether the peer says it had the message before: EBMS:4001, or words to that effect (phase4)."""
        said = f"{self.short_description} {self.description} {self.detail}"
        return self.code == "EBMS:4001" or (self.code == "EBMS:0004" and _DUPLICATE.search(said) is not None)


Signal = Receipt | ErrorSignal


def build_receipt(
    references: Sequence[Reference],
    *,
    ref_to_message_id: str,
    message_id: str,
    at: datetime,
    form: SignatureForm,
    signer: Signer,
    random: Random = os.urandom,
) -> Built:
    """The signed receipt for the message whose signature has `references`."""
    parts = "".join(pieces.RECEIPTED.format(reference=write_reference(one, pieces.DECLARE_DS)) for one in references)
    receipt = f"{pieces.RECEIPT_OPEN}{parts}{pieces.RECEIPT_CLOSE}"
    return _signal(receipt, ref_to_message_id, message_id, at=at, form=form, signer=signer, random=random)


def build_error(
    error: As4Error | type[As4Error],
    *,
    ref_to_message_id: str | None,
    message_id: str,
    at: datetime,
    form: SignatureForm,
    signer: Signer,
    random: Random = os.urandom,
) -> Built:
    """The signed error signal for `error`: its ebMS code, the fixed sentence of its class, and which field differed.

    For an internal fault pass the class As4Error itself: EBMS:0004, which peers try again.
    """
    row = error.ebms
    refers = f' refToMessageInError="{attribute(ref_to_message_id)}"' if ref_to_message_id else ""
    element = (
        f'<eb:Error category="{row.category}" errorCode="{row.code}" origin="{row.origin}"{refers}'
        f' severity="{row.severity}" shortDescription="{row.name}">'
        f'<eb:Description xml:lang="en">{text(_described(error))}</eb:Description></eb:Error>'
    )
    return _signal(element, ref_to_message_id, message_id, at=at, form=form, signer=signer, random=random)


def _described(error: As4Error | type[As4Error]) -> str:
    said = "" if isinstance(error, type) else error.difference
    return f"{error.description} {said}".strip()


def _signal(
    content: str,
    ref_to_message_id: str | None,
    message_id: str,
    *,
    at: datetime,
    form: SignatureForm,
    signer: Signer,
    random: Random,
) -> Built:
    refers = f"<eb:RefToMessageId>{text(ref_to_message_id)}</eb:RefToMessageId>" if ref_to_message_id else ""
    info = f"{write_timestamp_and_id(write_timestamp(at), text(message_id))}{refers}"
    soap, references = envelope(
        f"<eb:SignalMessage><eb:MessageInfo>{info}</eb:MessageInfo>{content}</eb:SignalMessage>",
        token=random(16).hex(),
        security="",
        attached=(),
        form=form,
        signer=signer,
    )
    return Built(content_type=_SIGNAL_TYPE, pieces=(soap,), soap=soap, references=references)


def read_signal(content_type: str, body: bytes, agreement: Agreement, *, at: datetime) -> Signal:
    """The receipt or error in the answer to a message, whatever the HTTP status was.

    Raises:
        NoSignal: empty, not an ebMS envelope, or a unit that is neither receipt nor error.
        InvalidReceipt: a receipt that is not signed as agreed, or is malformed.
    """
    own = _own_receipt(content_type, body, agreement, at)
    if own is not None:
        return own
    found = _signal_envelope(content_type, body, agreement.limits)
    error = _first_failure(reading.all_children(found.unit, names.EB, "Error"))
    if error is not None:
        return _error_signal(found, error, agreement, at)
    receipts = reading.all_children(found.unit, names.EB, "Receipt")
    if not receipts:
        raise NoSignal("the answer holds neither a receipt nor an error")
    if len(receipts) > 1:
        raise InvalidReceipt("the answer holds several receipts")
    try:
        return _receipt(found, receipts[0], agreement, at)
    except (BadEnvelope, BadSignature, PolicyBroken) as fault:
        raise InvalidReceipt(f"a receipt that cannot be believed: {fault}") from fault


def _own_receipt(content_type: str, body: bytes, agreement: Agreement, at: datetime) -> Receipt | None:
    """A receipt in our own form, if it is one and nothing is wrong with it."""
    try:
        package = mime.unpack(content_type, body, agreement.limits)
        own = own_form.read(package.soap) if len(package.soap) <= agreement.limits.soap else None
        found = own_form.read_receipt(own.unit) if own else None
        if own is None or found is None or own.key or own.parts:  # a signal encrypts nothing
            return None
        fields, references = found
        info = read_own_info(fields)
        certificate, _ = verify_envelope(own, agreement, at=at)
    except (BadEnvelope, BadSignature, BrokenMime, PolicyBroken, TooLarge):
        return None
    return Receipt(
        message_id=info.message_id,
        ref_to_message_id=info.ref_to_message_id,
        timestamp=info.timestamp,
        references=references,
        certificate=certificate,
    )


def _signal_envelope(content_type: str, body: bytes, limits: Limits) -> Envelope:
    try:
        package = mime.unpack(content_type, body, limits)
        found = parse_envelope(package.soap, limits)
    except (BadEnvelope, BrokenMime, TooLarge) as error:
        raise NoSignal(f"the answer is no ebMS message: {error}") from error
    if found.unit.tag != f"{{{names.EB}}}SignalMessage":
        raise NoSignal("the answer is no signal")
    return found


def _first_failure(errors: Sequence[etree._Element]) -> etree._Element | None:
    failures = [error for error in errors if error.get("severity") == "failure"]
    return next(iter(failures or errors), None)


def _receipt(found: Envelope, receipt: etree._Element, agreement: Agreement, at: datetime) -> Receipt:
    certificate, _ = verify_envelope(found, agreement, at=at)
    message_id, ref_to_message_id, timestamp = read_info(found.unit)
    information = reading.only_child(receipt, names.EBBP, "NonRepudiationInformation")
    parts = reading.all_children(information, names.EBBP, "MessagePartNRInformation")
    return Receipt(
        message_id=message_id,
        ref_to_message_id=ref_to_message_id,
        timestamp=timestamp,
        references=tuple(read_reference(reading.only_child(part, names.DS, "Reference")) for part in parts),
        certificate=certificate,
    )


def _error_signal(found: Envelope, error: etree._Element, agreement: Agreement, at: datetime) -> ErrorSignal:
    try:
        message_id, ref_to_message_id, timestamp = read_info(found.unit)
    except BadEnvelope as fault:
        raise NoSignal(f"a malformed error signal: {fault}") from fault
    return ErrorSignal(
        message_id=message_id,
        ref_to_message_id=ref_to_message_id or error.get("refToMessageInError"),
        timestamp=timestamp,
        code=error.get("errorCode", "")[:20],
        severity=error.get("severity", "")[:20],
        short_description=error.get("shortDescription", "")[:200],
        description=(error.findtext(f"{{{names.EB}}}Description") or "")[:500],
        detail=(error.findtext(f"{{{names.EB}}}ErrorDetail") or "")[:500],
        authenticated=_is_authentic(found, agreement, at),
    )


def _is_authentic(found: Envelope, agreement: Agreement, at: datetime) -> bool:
    try:
        verify_envelope(found, agreement, at=at)
    except (BadEnvelope, BadSignature, PolicyBroken):
        return False
    return True


def check_receipt(receipt: Receipt, *, message_id: str, sent: Sequence[Reference]) -> None:
    """Whether the receipt is for `message_id` and repeats every reference in `sent`. Raises InvalidReceipt.

    Compared are URI, algorithms and digest, not bytes: peers write references anew.
    """
    if receipt.ref_to_message_id != message_id:
        raise InvalidReceipt("the receipt is for another message", message_id=message_id)
    received = {_comparable(reference) for reference in receipt.references}
    if not sent or not received.issuperset(map(_comparable, sent)):
        raise InvalidReceipt("the receipt is for other bytes than were sent", message_id=message_id)


def _comparable(reference: Reference) -> tuple[str, bytes, str, str]:
    return reference.uri, reference.digest, reference.transform, reference.digest_method
