"""What can be wrong with a message, and what the peer is told about it.

Every class names its ebMS error (`ebms`), whose values travel in the error signal. The peer reads the name and the
fixed `description` of the class, never `str(error)`: that sentence is for our log, and may say more than a forger
should learn (as with decryption, where every cause gives the same answer).

Source: ebMS 3.0 Core section 6.7, AS4 1.0 section 3, WS-Security; eDelivery AS4 error handling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from node.errors import PeerError


@dataclass(frozen=True, slots=True, kw_only=True)
class EbmsCode:
    """One row of the ebMS table: the attributes of `eb:Error`."""

    code: str
    name: str
    category: str
    severity: str = "failure"
    origin: str = "ebMS"


VALUE_NOT_RECOGNIZED = EbmsCode(code="EBMS:0001", name="ValueNotRecognized", category="Content")
FEATURE_NOT_SUPPORTED = EbmsCode(code="EBMS:0002", name="FeatureNotSupported", category="Content", severity="warning")
VALUE_INCONSISTENT = EbmsCode(code="EBMS:0003", name="ValueInconsistent", category="Content")
OTHER = EbmsCode(code="EBMS:0004", name="Other", category="Content")
CONNECTION_FAILURE = EbmsCode(code="EBMS:0005", name="ConnectionFailure", category="Communication")
MIME_INCONSISTENCY = EbmsCode(code="EBMS:0007", name="MimeInconsistency", category="Unpackaging")
UNPACKAGING_NOT_SUPPORTED = EbmsCode(code="EBMS:0008", name="FeatureNotSupported", category="Unpackaging")
INVALID_HEADER = EbmsCode(code="EBMS:0009", name="InvalidHeader", category="Unpackaging")
PROCESSING_MODE_MISMATCH = EbmsCode(code="EBMS:0010", name="ProcessingModeMismatch", category="Processing")
EXTERNAL_PAYLOAD_ERROR = EbmsCode(code="EBMS:0011", name="ExternalPayloadError", category="Content")
FAILED_AUTHENTICATION = EbmsCode(
    code="EBMS:0101", name="FailedAuthentication", category="Processing", origin="security"
)
FAILED_DECRYPTION = EbmsCode(code="EBMS:0102", name="FailedDecryption", category="Processing", origin="security")
POLICY_NONCOMPLIANCE = EbmsCode(code="EBMS:0103", name="PolicyNoncompliance", category="Processing", origin="security")
DELIVERY_FAILURE = EbmsCode(code="EBMS:0202", name="DeliveryFailure", category="Communication", origin="reliability")
MISSING_RECEIPT = EbmsCode(code="EBMS:0301", name="MissingReceipt", category="Communication")
INVALID_RECEIPT = EbmsCode(code="EBMS:0302", name="InvalidReceipt", category="Communication")
DECOMPRESSION_FAILURE = EbmsCode(code="EBMS:0303", name="DecompressionFailure", category="Communication")
DUPLICATE_DETECTED = EbmsCode(code="EBMS:4001", name="DuplicateDetected", category="Content")  # phase4's own

_MAX_SAID = 300

EBMS_CODES = {row.code: row for row in list(globals().values()) if isinstance(row, EbmsCode)}


class As4Error(PeerError):
    """A message, receipt or error signal breaks the profile or the agreement.

    `message_id` is the MessageId of the message at fault, once it could be read (unauthenticated). `field` is what in it
    differs from the agreement, with what was `expected` and what was `received`: that much the peer is told too, as it
    is no secret between the parties and the only thing its operator can act on.
    """

    code = "peer.as4"
    ebms: ClassVar[EbmsCode] = OTHER
    description: ClassVar[str] = "The message could not be processed."

    def __init__(
        self, message: str, *, message_id: str | None = None, field: str = "", expected: str = "", received: str = ""
    ) -> None:
        super().__init__(message)
        self.message_id = message_id
        self.field, self.expected, self.received = field, expected[:_MAX_SAID], received[:_MAX_SAID]

    @property
    def difference(self) -> str:
        """Which field differed from the agreement, and how; empty if none is to blame."""
        return f"{self.field}: expected {self.expected!r}, received {self.received!r}" if self.field else ""


class BrokenMime(As4Error):
    """The HTTP entity is not the multipart/related (or plain SOAP) entity the profile asks for."""

    code = "peer.broken-mime"
    ebms = MIME_INCONSISTENCY
    description = "The MIME entity does not follow the profile."


class TooLarge(As4Error):
    """The entity, its header or its number of parts passes the limits of this node."""

    code = "peer.too-large"
    ebms = VALUE_INCONSISTENT
    description = "The message passes the size limits of the receiver."


class BadEnvelope(As4Error):
    """The SOAP envelope is not well-formed, carries what SOAP forbids, or lacks a mandatory ebMS element."""

    code = "peer.bad-envelope"
    ebms = INVALID_HEADER
    description = "The SOAP envelope or its ebMS header is not valid."


class ExternalPayload(As4Error):
    """A part is said to lie elsewhere: only attached parts are taken."""

    code = "peer.external-payload"
    ebms = EXTERNAL_PAYLOAD_ERROR
    description = "A payload part does not refer to an attachment of the message."


class PartsDiffer(As4Error):
    """The parts named in the header are not the parts attached."""

    code = "peer.parts-differ"
    ebms = MIME_INCONSISTENCY
    description = "The attached parts are not the parts named in the header."


class UnexpectedUnit(As4Error):
    """A signal came where a user message must come, or the other way round.

    No error signal is sent for a signal: two nodes could answer each other for ever.
    """

    code = "peer.unexpected-unit"
    ebms = UNPACKAGING_NOT_SUPPORTED
    description = "This kind of message unit is not expected here."


class NotOurParty(As4Error):
    """From or To is not a party of the agreement."""

    code = "peer.not-our-party"
    ebms = VALUE_NOT_RECOGNIZED
    description = "The sender or the recipient is not known here."


class NotAgreed(As4Error):
    """Service, action or agreement are not those agreed with this peer."""

    code = "peer.not-agreed"
    ebms = PROCESSING_MODE_MISMATCH
    description = "Agreement, service or action are not agreed between the parties."


class PolicyBroken(As4Error):
    """Not signed, not encrypted, not covered by the signature, or by an algorithm that is not agreed."""

    code = "peer.policy"
    ebms = POLICY_NONCOMPLIANCE
    description = "The message does not follow the agreed security policy."


class BadSignature(As4Error):
    """The message is not signed, as it stands, by a certificate the trust list holds for its sender."""

    code = "peer.bad-signature"
    ebms = FAILED_AUTHENTICATION
    description = "The signature of the message could not be verified."


class FailedDecryption(As4Error):
    """A part could not be decrypted: unknown key, damaged key or damaged ciphertext, which all look alike."""

    code = "peer.failed-decryption"
    ebms = FAILED_DECRYPTION
    description = "The message could not be decrypted."


class FailedDecompression(As4Error):
    """A compressed part is damaged, too large once decompressed, or lacks its MimeType."""

    code = "peer.failed-decompression"
    ebms = DECOMPRESSION_FAILURE
    description = "A compressed part could not be decompressed."


class WrongCharset(As4Error):
    """A text or XML part is not text in the CharacterSet its header names, or that is none we read."""

    code = "peer.wrong-charset"
    ebms = VALUE_INCONSISTENT
    description = "A part is not in the character set named for it."


class ClashingRepeat(As4Error):
    """A known MessageId came again with other content."""

    code = "peer.clashing-repeat"
    ebms = VALUE_INCONSISTENT
    description = "A message with this MessageId and other content was received before."


class InvalidReceipt(As4Error):
    """The receipt is unsigned, not for our message, or for other bytes than we sent."""

    code = "peer.invalid-receipt"
    ebms = INVALID_RECEIPT
    description = "The receipt does not match the message sent."


class NoSignal(As4Error):
    """The answer to a message holds neither a receipt nor an ebMS error."""

    code = "peer.no-signal"
    ebms = MISSING_RECEIPT
    description = "The answer holds no ebMS signal."
