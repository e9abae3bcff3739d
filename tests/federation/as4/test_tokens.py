"""Peers name certificates in several ways; each leads to one the trust list holds, or nowhere."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from node.federation import as4
from node.federation.as4 import names

from .conftest import NOW, Side, encryption_key

STR = b"<wsse:SecurityTokenReference>%s</wsse:SecurityTokenReference>"
DS = b' xmlns:ds="%s"' % names.DS.encode()


def der(certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def ski(certificate) -> bytes:
    return certificate.extensions[0].value.digest


def identifier(kind: str, value: bytes) -> bytes:
    return STR % (
        b'<wsse:KeyIdentifier ValueType="%s">%s</wsse:KeyIdentifier>' % (kind.encode(), base64.b64encode(value))
    )


def issuer_serial(certificate, issuer: str) -> bytes:
    return (
        b"<ds:X509Data%s><ds:X509IssuerSerial><ds:X509IssuerName>%s</ds:X509IssuerName>"
        b"<ds:X509SerialNumber>%d</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>"
    ) % (DS, issuer.encode(), certificate.serial_number)


def x509_data(kind: bytes, value: bytes) -> bytes:
    return b"<ds:X509Data%s><ds:%s>%s</ds:%s></ds:X509Data>" % (DS, kind, base64.b64encode(value), kind)


FORMS = {
    "SKI": lambda c: identifier(names.X509_SKI, ski(c)),
    "thumbprint": lambda c: identifier(names.THUMBPRINT_SHA1, hashlib.sha1(der(c)).digest()),
    "issuer and serial": lambda c: STR % issuer_serial(c, "CN=Example CA"),
    "issuer otherwise spelled": lambda c: STR % issuer_serial(c, r"CN=Ex\61mple CA"),
    "issuer without token reference": lambda c: issuer_serial(c, "CN=Example CA"),
    "X509SKI": lambda c: x509_data(b"X509SKI", ski(c)),
    "X509Certificate": lambda c: x509_data(b"X509Certificate", der(c)),
}
NOWHERE = {
    "no reference": lambda _: b"",
    "key value": lambda _: b"<ds:KeyValue%s/>" % DS,
    "empty reference": lambda _: STR % b"",
    "token that is not there": lambda _: STR % b'<wsse:Reference URI="#nowhere"/>',
    "token elsewhere": lambda _: STR % b'<wsse:Reference URI="http://198.51.100.1/"/>',
    "unknown identifier": lambda c: identifier("urn:unknown", ski(c)),
    "broken issuer": lambda c: issuer_serial(c, "no name"),
    "empty X509Data": lambda _: b"<ds:X509Data%s/>" % DS,
    "X509CRL": lambda _: x509_data(b"X509CRL", b"x"),
}


def signed_with(pair, form: bytes) -> bytes:
    """Our message with another reference to its signing certificate and no token (KeyInfo is not signed)."""
    soap = pair.build().soap
    token = re.search(rb"<wsse:BinarySecurityToken .*?</wsse:BinarySecurityToken>", soap)[0]
    key_info = re.search(rb"<ds:KeyInfo>.*?</ds:KeyInfo></ds:Signature>", soap)[0]
    return soap.replace(token, b"").replace(key_info, b"<ds:KeyInfo>" + form + b"</ds:KeyInfo></ds:Signature>")


def verify(pair, soap: bytes) -> as4.Verified:
    ((cid,),) = (re.findall(rb'href="cid:([^"]*)"', soap),)
    package = as4.Package(
        soap=soap, attachments={cid.decode(): as4.Attachment(content=memoryview(b""), mime_type="a/b")}
    )
    agreement = pair.si.agreement_with(pair.at)
    return as4.verify(package, as4.parse_soap(package, agreement.limits), agreement, at=NOW)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_leads_to_the_signing_certificate(pair, form):
    assert verify(pair, signed_with(pair, FORMS[form](pair.at.signer.certificate))).certificate


@pytest.mark.parametrize("form", FORMS)
def test_each_form_naming_another_certificate_is_refused(pair, form):
    with pytest.raises(as4.BadSignature):
        verify(pair, signed_with(pair, FORMS[form](Side("AT").signer.certificate)))


def test_the_same_serial_number_of_another_issuer_is_refused(pair):
    with pytest.raises(as4.BadSignature):
        verify(pair, signed_with(pair, issuer_serial(pair.at.signer.certificate, "CN=Other CA")))


@pytest.mark.parametrize("form", NOWHERE)
def test_a_form_that_leads_nowhere_is_refused(pair, form):
    with pytest.raises(as4.BadEnvelope):
        verify(pair, signed_with(pair, NOWHERE[form](pair.at.signer.certificate)))


def path_of(*certificates) -> bytes:
    content = b"".join(der(certificate) for certificate in certificates)
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content


def with_path(pair, path: bytes) -> bytes:
    soap = pair.build().soap
    token = re.search(rb"(<wsse:BinarySecurityToken .*?>).*?</wsse:BinarySecurityToken>", soap)
    opening = token[1].replace(names.X509V3.encode(), names.X509_PKI_PATH.encode())
    return soap.replace(token[0], opening + base64.b64encode(path) + b"</wsse:BinarySecurityToken>")


def test_the_last_certificate_of_a_path_is_the_signers(pair):
    authority = Side("CA").signer.certificate
    assert verify(pair, with_path(pair, path_of(authority, pair.at.signer.certificate))).certificate
    with pytest.raises(as4.BadSignature):
        verify(pair, with_path(pair, path_of(pair.at.signer.certificate, authority)))


@pytest.mark.parametrize(
    "path", [b"", b"\x30", b"\x30\x00", b"\x30\x80\x00\x00", b"\x30\x82\xff\xff", b"\x30\x03\x30\x05\x00", b"\x31\x00"]
)
def test_a_malformed_path_is_refused(pair, path):
    with pytest.raises(as4.BadEnvelope):
        verify(pair, with_path(pair, path))


def test_an_unknown_kind_of_token_is_refused(pair):
    soap = pair.build().soap.replace(names.X509V3.encode(), b"urn:kind")
    with pytest.raises(as4.BadEnvelope):
        verify(pair, soap)


@pytest.mark.parametrize("reference", as4.KeyReference)
def test_during_a_rotation_the_key_is_chosen_by_the_reference(pair, reference):
    old, new = encryption_key("SI"), encryption_key("SI")
    for key in (old, new):
        built = as4.build(
            pair.message(),
            agreement=pair.at.agreement_with(pair.si, encryption_reference=reference),
            signer=pair.at.signer,
            encrypt_for=key.certificate,
        )
        decrypted = as4.decrypt(pair.verify(built.content_type, built.body), [old, new])
        assert as4.decompress(decrypted).parts == tuple(
            as4.Part(content=b'{"hello": "world"}', mime_type="application/json", content_id=part)
            for part in decrypted.octets
        )


def test_a_certificate_without_ski_can_be_encrypted_for_by_token(pair):
    key = encryption_key("SI", ski=False)
    with pytest.raises(ValueError, match="no subject key identifier"):
        as4.build(
            pair.message(),
            agreement=pair.at.agreement_with(pair.si),
            signer=pair.at.signer,
            encrypt_for=key.certificate,
        )
    built = as4.build(
        pair.message(),
        agreement=pair.at.agreement_with(pair.si, encryption_reference=as4.KeyReference.TOKEN),
        signer=pair.at.signer,
        encrypt_for=key.certificate,
    )
    assert as4.decrypt(pair.verify(built.content_type, built.body), [pair.si.decrypter, key]).octets
