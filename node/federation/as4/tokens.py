"""References to certificates: written for what we send, resolved for what we read.

A certificate is never trusted because it came with the message: a reference only *chooses* among the certificates the
trust list (or our own key store) holds. Read are: BinarySecurityToken X509v3 and X509PKIPathv1, key identifiers by
SKI and SHA-1 thumbprint, issuer and serial number, X509SKI and X509Certificate.

Source: WS-Security X.509 Certificate Token Profile 1.1.1; XML Signature 1.1 section 4.5.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from node.federation.as4 import names, pieces, reading
from node.federation.as4.canonical import b64, text
from node.federation.as4.errors import BadEnvelope
from node.federation.as4.model import KeyReference

_LONG_FORM = 0x80  # DER: the length does not fit into seven bits, and so many octets say it

Matcher = Callable[[x509.Certificate], bool]


def matcher(holder: etree._Element, identified: Mapping[str, etree._Element]) -> Matcher:
    """Whether a certificate is the one that `holder` (a KeyInfo or RecipientKeyInfo) names.

    Raises BadEnvelope if the reference is none of the forms read here.
    """
    found = reading.fields(holder)
    reference = found.get(f"{{{names.WSSE}}}SecurityTokenReference")
    if reference is not None:
        found = reading.fields(reference)
    if len(found) != 1:
        raise BadEnvelope("a key without exactly one reference")
    ((tag, element),) = found.items()
    if tag == f"{{{names.DS}}}X509Data":
        return _by_x509_data(element)
    if tag == f"{{{names.WSSE}}}Reference":
        return _by_token(element, identified)
    if tag == f"{{{names.WSSE}}}KeyIdentifier":
        return _by_identifier(element)
    raise BadEnvelope("an unknown kind of key reference")


def _by_token(reference: etree._Element, identified: Mapping[str, etree._Element]) -> Matcher:
    uri = reference.get("URI", "")
    token = identified.get(uri[1:]) if uri.startswith("#") else None
    if token is None or token.tag != f"{{{names.WSSE}}}BinarySecurityToken":
        raise BadEnvelope("a token reference leads nowhere")
    value = reading.binary(token)
    kind = token.get("ValueType")
    if kind == names.X509_PKI_PATH:
        value = _leaf(value)
    elif kind != names.X509V3:
        raise BadEnvelope("an unknown kind of security token")
    return lambda certificate: der(certificate) == value


def _by_identifier(identifier: etree._Element) -> Matcher:
    value = reading.binary(identifier)
    kind = identifier.get("ValueType")
    if kind == names.X509_SKI:
        return lambda certificate: ski(certificate) == value
    if kind == names.THUMBPRINT_SHA1:
        return lambda certificate: certificate.fingerprint(hashes.SHA1()) == value  # noqa: S303 - names, proves nothing
    raise BadEnvelope("an unknown kind of key identifier")


def _by_x509_data(data: etree._Element) -> Matcher:
    kinds = list(reading.children(data))
    if len(kinds) != 1:
        raise BadEnvelope("X509Data does not hold one reference")
    tag, kind = kinds[0].tag, kinds[0]
    if tag == f"{{{names.DS}}}X509SKI":
        wanted = reading.binary(kind)
        return lambda certificate: ski(certificate) == wanted
    if tag == f"{{{names.DS}}}X509Certificate":
        wanted = reading.binary(kind)
        return lambda certificate: der(certificate) == wanted
    if tag == f"{{{names.DS}}}X509IssuerSerial":
        return _by_issuer(kind)
    raise BadEnvelope("an unknown kind of X509Data")


def _by_issuer(kind: etree._Element) -> Matcher:
    issuer = reading.content(reading.only_child(kind, names.DS, "X509IssuerName"))
    serial_text = reading.content(reading.only_child(kind, names.DS, "X509SerialNumber"), limit=64).strip()
    try:
        # By value, not as text: peers write the same name with other spacing and order of escapes.
        name = x509.Name.from_rfc4514_string(issuer)
        serial = int(serial_text)
    except ValueError as error:
        raise BadEnvelope("issuer or serial number cannot be read") from error
    return lambda certificate: certificate.serial_number == serial and certificate.issuer == name


def _leaf(path: bytes) -> bytes:
    """The last certificate of a PKIPath (DER SEQUENCE, authority first, end entity last)."""
    start, end = _element(path, 0)
    if end != len(path) or start == end:
        raise BadEnvelope("a malformed PKIPath")
    begin = start
    while start < end:
        begin = start
        _, start = _element(path, begin)
    if start != end:
        raise BadEnvelope("a malformed PKIPath")
    return path[begin:end]


def _element(data: bytes, position: int) -> tuple[int, int]:
    """Where the content of the DER SEQUENCE at `position` begins and ends."""
    head = data[position : position + 2]
    if len(head) < 2 or head[0] != 0x30:
        raise BadEnvelope("a malformed PKIPath")
    length, start = head[1], position + 2
    if length >= 0x80:
        octets = length & 0x7F
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    if head[1] == 0x80 or start + length > len(data):
        raise BadEnvelope("a malformed PKIPath")
    return start, start + length


@lru_cache(maxsize=4096)
def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@lru_cache(maxsize=4096)
def ski(certificate: x509.Certificate) -> bytes | None:
    """The certificate's subject key identifier, if it has one."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


@lru_cache(maxsize=4096)
def token_base64(certificate: x509.Certificate) -> str:
    return b64(der(certificate))


class Named(NamedTuple):
    """How an element names a certificate: what must stand before it in the header, and the reference itself."""

    token: str
    reference: str


def write_named(
    certificate: x509.Certificate, form: KeyReference, identifier: str, issuers: Sequence[x509.Certificate] = ()
) -> Named:
    """The SecurityTokenReference to `certificate` in one of the forms, with the token it refers to, if any.

    Args:
        identifier: of the token in the message.
        issuers: authorities of the certificate, the highest first: they go into a path.

    Raises ValueError if the certificate has no subject key identifier and the form needs one.
    """
    match form:
        case KeyReference.TOKEN:
            return _token(token_base64(certificate), names.X509V3, identifier)
        case KeyReference.PATH:
            return _token(_path_base64((*issuers, certificate)), names.X509_PKI_PATH, identifier)
        case KeyReference.SUBJECT_KEY_IDENTIFIER:
            value = ski(certificate)
            if value is None:
                raise ValueError("the certificate has no subject key identifier")
            return Named("", _identifier(names.X509_SKI, value))
        case KeyReference.THUMBPRINT:
            return Named("", _identifier(names.THUMBPRINT_SHA1, certificate.fingerprint(hashes.SHA1())))  # noqa: S303 - names, proves nothing
        case KeyReference.ISSUER_SERIAL:
            issuer = text(certificate.issuer.rfc4514_string())
            return Named(
                "",
                f'<wsse:SecurityTokenReference><ds:X509Data xmlns:ds="{names.DS}"><ds:X509IssuerSerial>'
                f"<ds:X509IssuerName>{issuer}</ds:X509IssuerName>"
                f"<ds:X509SerialNumber>{certificate.serial_number}</ds:X509SerialNumber>"
                "</ds:X509IssuerSerial></ds:X509Data></wsse:SecurityTokenReference>",
            )


def _token(content: str, kind: str, identifier: str) -> Named:
    # Basic Security Profile 1.1, R5215: the reference to a path says that it is one; WSS4J insists.
    says = f' xmlns:wsse11="{names.WSSE11}" wsse11:TokenType="{kind}"' if kind == names.X509_PKI_PATH else ""
    return Named(
        f"{pieces.TOKEN_OPEN.format(kind=kind, identifier=identifier)}{content}{pieces.TOKEN_CLOSE}",
        pieces.TOKEN_REFERENCE.format(kind=kind, identifier=identifier, says=says),
    )


def _identifier(kind: str, value: bytes) -> str:
    return pieces.IDENTIFIER.format(kind=kind, value=b64(value))


@lru_cache(maxsize=256)
def _path_base64(path: tuple[x509.Certificate, ...]) -> str:
    """A PKIPath: DER SEQUENCE of certificates, the highest authority first."""
    content = b"".join(map(der, path))
    length = len(content)
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    head = bytes([0x30, length]) if length < _LONG_FORM else bytes([0x30, _LONG_FORM | len(octets)]) + octets
    return b64(head + content)
