"""eDelivery AS4 messages, 1.15 and 2.0, as values: bytes and keys in, messages and verdicts out. No input or output here.

Sending:

    built = build(message, agreement=agreement, signer=signer, encrypt_for=certificate)
    # store built.body and dump_references(built.references), then post; again the same bytes on every retry
    signal = read_signal(content_type, answer, agreement, at=now)        # Receipt or ErrorSignal
    check_receipt(signal, message_id=..., sent=load_references(stored))  # only this is success

Receiving, in stages, cheap and unauthenticated ones first, so that the caller can look things up in between:

    package = unpack(content_type, body, limits)               # sizes, MIME
    header = parse_soap(package, limits)                       # XML; then: which agreement has header.sender with us?
    verified = verify(package, header, agreement, at=now)      # agreed? who signed, and does it cover everything?
    decrypted = decrypt(verified, keys)                        # and: are the parts those that were signed?
    # a known (sender, message id): same_content() with the stored references -> the stored receipt, else ClashingRepeat
    message = decompress(decrypted)                            # bounded
    # store message and receipt in one transaction, then answer
    receipt = build_receipt(verified.references, ref_to_message_id=header.message_id, ...)

Every failure is an As4Error; `build_error` makes the signal that answers it.
"""

from node.federation.as4.building import build
from node.federation.as4.decrypting import Decrypted, decompress, decrypt
from node.federation.as4.envelope import Header, Party, parse_soap
from node.federation.as4.errors import (
    EBMS_CODES,
    As4Error,
    BadEnvelope,
    BadSignature,
    BrokenMime,
    ClashingRepeat,
    EbmsCode,
    ExternalPayload,
    FailedDecompression,
    FailedDecryption,
    InvalidReceipt,
    NoSignal,
    NotAgreed,
    NotOurParty,
    PartsDiffer,
    PolicyBroken,
    TooLarge,
    UnexpectedUnit,
    WrongCharset,
)
from node.federation.as4.export import Exchange, export
from node.federation.as4.mime import Attachment, Package, unpack
from node.federation.as4.model import (
    ANY,
    Agreement,
    Built,
    Decrypter,
    KeyReference,
    Limits,
    Part,
    Reference,
    Retry,
    Service,
    SignatureForm,
    Signer,
    UserMessage,
    dump_references,
    load_references,
    node_of,
    party_of,
    same_content,
)
from node.federation.as4.names import SERVICE, TEST_ACTION, TEST_SERVICE
from node.federation.as4.signals import (
    ErrorSignal,
    Receipt,
    Signal,
    build_error,
    build_receipt,
    check_receipt,
    read_signal,
)
from node.federation.as4.spooling import BIG, Content, Source, Spool, chunks_of, size_of, whole
from node.federation.as4.suites import COMMON, CURVES, RSA, SUITES, Suite, suite_of
from node.federation.as4.verifying import Verified, check_agreed, verify

__all__ = [
    "ANY",
    "BIG",
    "COMMON",
    "CURVES",
    "EBMS_CODES",
    "RSA",
    "SERVICE",
    "SUITES",
    "TEST_ACTION",
    "TEST_SERVICE",
    "Agreement",
    "As4Error",
    "Attachment",
    "BadEnvelope",
    "BadSignature",
    "BrokenMime",
    "Built",
    "ClashingRepeat",
    "Content",
    "Decrypted",
    "Decrypter",
    "EbmsCode",
    "ErrorSignal",
    "Exchange",
    "ExternalPayload",
    "FailedDecompression",
    "FailedDecryption",
    "Header",
    "InvalidReceipt",
    "KeyReference",
    "Limits",
    "NoSignal",
    "NotAgreed",
    "NotOurParty",
    "Package",
    "Part",
    "PartsDiffer",
    "Party",
    "PolicyBroken",
    "Receipt",
    "Reference",
    "Retry",
    "Service",
    "Signal",
    "SignatureForm",
    "Signer",
    "Source",
    "Spool",
    "Suite",
    "TooLarge",
    "UnexpectedUnit",
    "UserMessage",
    "Verified",
    "WrongCharset",
    "build",
    "build_error",
    "build_receipt",
    "check_agreed",
    "check_receipt",
    "chunks_of",
    "decompress",
    "decrypt",
    "dump_references",
    "export",
    "load_references",
    "node_of",
    "parse_soap",
    "party_of",
    "read_signal",
    "same_content",
    "size_of",
    "suite_of",
    "unpack",
    "verify",
    "whole",
]
