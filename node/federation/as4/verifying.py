"""Who signed, and does the signature cover all that is read?

The agreement decides algorithms and certificates; the message only says which of the allowed ones it used. Digests
of attachments are checked after decryption (`decrypting`): until then their references are claims
of an authenticated party.

Source: XML Signature 1.1; WS-Security 1.1.1; SwA profile 1.1.1; eDelivery AS4 2.0 security profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from lxml import etree

from node.federation.as4 import mime, names, reading, tokens
from node.federation.as4.canonical import canonical, sha256
from node.federation.as4.envelope import Envelope, Header, parse_envelope
from node.federation.as4.errors import As4Error, BadEnvelope, BadSignature, NotAgreed, NotOurParty, PolicyBroken
from node.federation.as4.model import FOUR_CORNERS, Agreement, Reference
from node.federation.as4.own_form import OwnEnvelope

_MAX_PREFIXES = 20
_SECURITY_CHILDREN = {
    f"{{{names.WSSE}}}BinarySecurityToken",
    f"{{{names.XENC}}}EncryptedKey",
    f"{{{names.XENC}}}EncryptedData",
    f"{{{names.DS}}}Signature",
    f"{{{names.WSU}}}Timestamp",
}
_TRANSFORM = f"{{{names.DS}}}Transform"
_INCLUSIVE = f"{{{names.EXC_C14N}}}InclusiveNamespaces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A header whose signature verifies, with the certificate that signed it and what it signed."""

    header: Header
    package: mime.Package
    agreement: Agreement
    certificate: x509.Certificate
    references: tuple[Reference, ...]


def check_agreed(header: Header, agreement: Agreement) -> None:
    """Whether parties, roles, agreement, service, action and properties are those agreed.

    Cheap, and before anything expensive. The test service is part of every agreement.

    Raises NotOurParty or NotAgreed; the error says which field differs.
    """
    _same(header, NotOurParty, "From/PartyId", agreement.their_party, header.sender.id)
    _same(header, NotOurParty, "From/PartyId type", agreement.their_party_type, header.sender.type)
    _same(header, NotOurParty, "To/PartyId", agreement.our_party, header.recipient.id)
    _same(header, NotOurParty, "To/PartyId type", agreement.our_party_type, header.recipient.type)
    if not agreement.two_way:
        _same(header, NotAgreed, "RefToMessageId", None, header.ref_to_message_id)
    theirs, ours = agreement.roles if header.ref_to_message_id is None else reversed(agreement.roles)
    _same(header, NotAgreed, "From/Role", theirs, header.sender.role)
    _same(header, NotAgreed, "To/Role", ours, header.recipient.role)
    if header.agreement_ref is not None:  # left out is allowed: eDelivery AS4 makes it optional
        _same(header, NotAgreed, "AgreementRef", agreement.agreement_ref, header.agreement_ref)
        _same(header, NotAgreed, "AgreementRef type", agreement.agreement_type, header.agreement_type)
    service = agreement.service(header.service)
    if service is None:
        names_agreed = " or ".join(one.name for one in agreement.services)
        raise _differs(header, NotAgreed, "Service", names_agreed, header.service)
    _same(header, NotAgreed, "Service type", service.type, header.service_type)
    if header.action not in service.actions:
        raise _differs(header, NotAgreed, "Action", " or ".join(sorted(service.actions)), header.action)
    for name in FOUR_CORNERS if agreement.four_corner else ():
        if not header.properties.get(name):
            raise _differs(header, NotAgreed, f"MessageProperties/{name}", "a value", "")


def _same(header: Header, kind: type[As4Error], field: str, expected: str | None, received: str | None) -> None:
    if expected != received:
        raise _differs(header, kind, field, expected or "", received or "")


def _differs(header: Header, kind: type[As4Error], field: str, expected: str, received: str) -> As4Error:
    return kind(
        f"{field} is not the one agreed",
        message_id=header.message_id,
        field=field,
        expected=expected,
        received=received,
    )


def verify(package: mime.Package, header: Header, agreement: Agreement, *, at: datetime) -> Verified:
    """The header, authenticated as the agreement's other party.

    Raises:
        PolicyBroken: unsigned, by another algorithm, or something read is not covered.
        BadSignature: a digest or the signature does not verify, or its certificate is not the party's at `at`.
        BadEnvelope: the security header is malformed.
        NotOurParty, NotAgreed: as `check_agreed`.
    Does not check the attachments' digests: see `decrypt`.
    """
    check_agreed(header, agreement)
    try:
        certificate, references = verify_envelope(header.envelope, agreement, at=at)
        _check_attachments_covered(header, references)
    except (BadEnvelope, BadSignature, PolicyBroken) as error:
        error.message_id = header.message_id
        raise
    return Verified(header=header, package=package, agreement=agreement, certificate=certificate, references=references)


def verify_envelope(
    envelope: Envelope | OwnEnvelope, agreement: Agreement, *, at: datetime
) -> tuple[x509.Certificate, tuple[Reference, ...]]:
    """The certificate that signed Messaging and Body, and the signature's references. Raises as `verify`."""
    if isinstance(envelope, OwnEnvelope):
        signer = envelope.named(agreement.their_signing)
        if signer is not None and signer.not_valid_before_utc <= at <= signer.not_valid_after_utc:
            agreement.suite.verify(signer, envelope.algorithm, envelope.signature, envelope.info)
            return signer, envelope.references
        envelope = parse_envelope(envelope.soap, agreement.limits)
    signature = reading.fields(_signature(envelope))
    info = reading.need(signature, names.DS, "SignedInfo")
    method = reading.only_child(info, names.DS, "SignatureMethod")
    algorithm = reading.algorithm(method)
    certificate = _certificate(reading.need(signature, names.DS, "KeyInfo"), envelope, agreement, at)
    value = reading.binary(reading.need(signature, names.DS, "SignatureValue"))
    prefixes = _c14n_prefixes(reading.only_child(info, names.DS, "CanonicalizationMethod"))
    agreement.suite.verify(certificate, algorithm, value, canonical(info, prefixes))
    references = tuple(map(read_reference, reading.all_children(info, names.DS, "Reference")))
    _check_references(references, envelope)
    return certificate, references


def _signature(envelope: Envelope) -> etree._Element:
    if envelope.security is None:
        raise PolicyBroken("not signed: no security header")
    if any(child.tag not in _SECURITY_CHILDREN for child in envelope.secured):
        raise PolicyBroken("the security header holds more than the profile allows")
    signatures = envelope.secured_by(names.DS, "Signature")
    if not signatures:
        raise PolicyBroken("not signed")
    if len(signatures) > 1:
        raise BadEnvelope("several signatures")
    return signatures[0]


def _certificate(key_info: etree._Element, envelope: Envelope, agreement: Agreement, at: datetime) -> x509.Certificate:
    named = tokens.matcher(key_info, envelope.identified)
    for certificate in agreement.their_signing:
        if named(certificate):
            if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
                raise BadSignature("the signing certificate is not valid now")
            return certificate
    raise BadSignature("the signing certificate is not one of the sender's")


def read_reference(element: etree._Element) -> Reference:
    """A `ds:Reference`. Raises BadEnvelope, or PolicyBroken if it is not one the profile allows."""
    found = reading.fields(element)
    transforms = reading.need(found, names.DS, "Transforms")
    if len(transforms) != 1 or transforms[0].tag != _TRANSFORM:
        raise PolicyBroken("a reference without exactly one transform")
    transform = transforms[0]
    reference = Reference(
        uri=element.get("URI", ""),
        digest=reading.binary(reading.need(found, names.DS, "DigestValue")),
        transform=reading.algorithm(transform),
        digest_method=reading.algorithm(reading.need(found, names.DS, "DigestMethod")),
        prefixes=_prefixes(transform),
    )
    wanted = names.ATTACHMENT_SIGNATURE if reference.uri.startswith("cid:") else names.EXC_C14N
    if (reference.transform, reference.digest_method) != (wanted, names.SHA256):
        raise PolicyBroken("a transform or digest that is not agreed")
    return reference


def _c14n_prefixes(method: etree._Element) -> tuple[str, ...]:
    if reading.algorithm(method) != names.EXC_C14N:
        raise PolicyBroken("a canonicalisation that is not agreed")
    return _prefixes(method)


def _prefixes(method: etree._Element) -> tuple[str, ...]:
    """The PrefixList of `ec:InclusiveNamespaces`, the one child a transform may have (WSS4J writes it)."""
    if not len(method):
        return ()
    if len(method) > 1 or method[0].tag != _INCLUSIVE:
        raise PolicyBroken("a transform with unknown parameters")
    prefixes = tuple(method[0].get("PrefixList", "").split())
    if len(prefixes) > _MAX_PREFIXES:
        raise PolicyBroken("too many inclusive prefixes")
    return prefixes


def _check_references(references: Sequence[Reference], envelope: Envelope) -> None:
    """Every reference to an element leads to one and digests it; Messaging and Body are among them."""
    if len({reference.uri for reference in references}) != len(references):
        raise PolicyBroken("something is signed twice")
    covered = [
        _signed_element(reference, envelope.identified)
        for reference in references
        if not reference.uri.startswith("cid:")
    ]
    for element in (envelope.messaging, envelope.body):
        if not any(element is one for one in covered):
            raise PolicyBroken(f"{reading.local_name(element)} is not signed")


def _signed_element(reference: Reference, identified: Mapping[str, etree._Element]) -> etree._Element:
    element = identified.get(reference.uri[1:]) if reference.uri.startswith("#") else None
    if element is None:
        raise PolicyBroken("a reference leads out of the message")
    if sha256(canonical(element, reference.prefixes)) != reference.digest:
        raise BadSignature(f"the digest of {reading.local_name(element)} differs")
    return element


def _check_attachments_covered(header: Header, references: Sequence[Reference]) -> None:
    signed = {mime.cid_of(reference.uri) for reference in references if reference.uri.startswith("cid:")}
    if signed != {part.content_id for part in header.parts}:
        raise PolicyBroken("the signature does not cover exactly the attached parts")
