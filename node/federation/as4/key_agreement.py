"""The suites of eDelivery AS4 2.0: a content key under a key that sender and recipient agree on.

The sender draws a key pair for each message (ephemeral) and combines it with the recipient's certificate (static):
`KEK = HKDF-SHA256(shared secret, salt, info, 16 bytes)`, and the content key travels wrapped with it (RFC 3394).

Source: eDelivery AS4 2.0; RFC 9231 and its successor for Ed25519, X25519 and HKDF in XML; XML Encryption 1.1.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree

from node.federation.as4 import names
from node.federation.as4.canonical import b64
from node.federation.as4.errors import BadEnvelope, BadSignature, FailedDecryption, PolicyBroken
from node.federation.as4.model import CONTENT_KEY_BYTES, Decrypter, Random
from node.federation.as4.own_form import BASE64, BY_SKI, OwnKey, compiled, decoded
from node.federation.as4.reading import binary, expect, fields, need, only_child, optional_child

AgreementKey = X25519PublicKey | EllipticCurvePublicKey

_SPKI_X25519 = bytes.fromhex("302a300506032b656e032100")  # SubjectPublicKeyInfo of RFC 8410, without the 32 key bytes

# By object identifier, as NamedCurve names them.
_CURVES: dict[str, ec.EllipticCurve] = {
    "1.2.840.10045.3.1.7": ec.SECP256R1(),
    "1.3.132.0.34": ec.SECP384R1(),
    "1.3.132.0.35": ec.SECP521R1(),
    "1.3.36.3.3.2.8.1.1.7": ec.BrainpoolP256R1(),
    "1.3.36.3.3.2.8.1.1.11": ec.BrainpoolP384R1(),
    "1.3.36.3.3.2.8.1.1.13": ec.BrainpoolP512R1(),
}
_OIDS = {curve.name: oid for oid, curve in _CURVES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSuite:
    """Common Usage Profile: Ed25519 and X25519."""

    name: str = "as4-2.0-ed25519-x25519"
    signature_algorithm: str = names.ED25519

    def can_sign(self, certificate: x509.Certificate) -> bool:
        return isinstance(_public_key(certificate), Ed25519PublicKey)

    def can_decrypt(self, certificate: x509.Certificate) -> bool:
        return isinstance(_public_key(certificate), X25519PublicKey)

    def verify(self, certificate: x509.Certificate, algorithm: str, signature: bytes, data: bytes) -> None:
        key = _public_key(certificate)
        if algorithm != names.ED25519:
            raise PolicyBroken(
                "a signature algorithm that is not agreed",
                field="SignatureMethod",
                expected=names.ED25519,
                received=algorithm,
            )
        if not isinstance(key, Ed25519PublicKey):
            raise BadSignature("the signing certificate holds no Ed25519 key")
        try:
            key.verify(signature, data)
        except InvalidSignature as error:
            raise BadSignature("the signature value does not verify") from error

    def wrap(self, certificate: x509.Certificate, content_key: bytes, recipient: str, random: Random) -> str:
        key = _public_key(certificate)
        if not isinstance(key, X25519PublicKey):
            raise TypeError("the encryption certificate holds no X25519 key")
        ephemeral, public = _ephemeral(random)
        originator = f"{_DER_KEY_OPEN}{b64(_SPKI_X25519 + public)}</dsig11:DEREncodedKeyValue>"
        return _wrap(
            names.X25519,
            ephemeral.exchange(key),
            content_key,
            originator=originator,
            recipient=recipient,
            random=random,
        )

    def read_key(self, encrypted_key: etree._Element) -> AgreedKey:
        return _read_key(encrypted_key, names.X25519, _read_x25519)

    def read_own_key(self, written: bytes) -> OwnKey | None:
        return _read_own_key(_OWN_X25519, written, lambda match: _x25519(decoded(match["public"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesSuite:
    """Alternative with elliptic curves: ECDSA and ECDH-ES on NIST and Brainpool curves."""

    name: str = "as4-2.0-ecc"
    signature_algorithm: str = names.ECDSA_SHA256

    def can_sign(self, certificate: x509.Certificate) -> bool:
        return _curve_key(certificate) is not None

    def can_decrypt(self, certificate: x509.Certificate) -> bool:
        return _curve_key(certificate) is not None

    def verify(self, certificate: x509.Certificate, algorithm: str, signature: bytes, data: bytes) -> None:
        key = _curve_key(certificate)
        if algorithm != names.ECDSA_SHA256:
            raise PolicyBroken(
                "a signature algorithm that is not agreed",
                field="SignatureMethod",
                expected=names.ECDSA_SHA256,
                received=algorithm,
            )
        if key is None:
            raise BadSignature("the signing certificate holds no key on an agreed curve")
        width = (key.curve.key_size + 7) // 8
        if len(signature) != 2 * width:  # r and s, fixed width: DER is another encoding of the same signature
            raise BadSignature("the signature value has a wrong length")
        r, s = int.from_bytes(signature[:width], "big"), int.from_bytes(signature[width:], "big")
        try:
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise BadSignature("the signature value does not verify") from error

    def wrap(self, certificate: x509.Certificate, content_key: bytes, recipient: str, random: Random) -> str:
        key = _curve_key(certificate)
        if key is None:
            raise TypeError("the encryption certificate holds no key on an agreed curve")
        # 64 bits more than the order has: the bias of the remainder is out of reach (FIPS 186-5, A.2.1)
        seed = int.from_bytes(random((key.curve.key_size + 7) // 8 + 8), "big")
        ephemeral = ec.derive_private_key(seed % (key.curve.group_order - 1) + 1, key.curve)
        point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        originator = _CURVE_KEY.format(curve=_OIDS[key.curve.name], point=b64(point))
        return _wrap(
            names.ECDH_ES,
            ephemeral.exchange(ec.ECDH(), key),
            content_key,
            originator=originator,
            recipient=recipient,
            random=random,
        )

    def read_key(self, encrypted_key: etree._Element) -> AgreedKey:
        return _read_key(encrypted_key, names.ECDH_ES, _read_curve_key)

    def read_own_key(self, written: bytes) -> OwnKey | None:
        return _read_own_key(
            _OWN_CURVES, written, lambda match: _point(match["curve"].decode(), decoded(match["point"]))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedKey:
    """A content key under an agreed key; `originator` is the sender's ephemeral key, None if it is none."""

    recipient: etree._Element | None
    originator: AgreementKey | None
    salt: bytes
    info: bytes
    wrapped: bytes

    def unwrap(self, key: Decrypter) -> bytes:
        if self.originator is None:
            raise FailedDecryption("the originator's key is no key of this suite")
        try:
            secret = key.exchange(self.originator)
            content_key = aes_key_unwrap(_derive(secret, self.salt, self.info), self.wrapped)
        except (ValueError, InvalidUnwrap) as error:  # ValueError: other curves, an all-zero secret, a wrong length
            raise FailedDecryption("the content key cannot be unwrapped") from error
        if len(content_key) != CONTENT_KEY_BYTES:
            raise FailedDecryption("the content key has a wrong length")
        return content_key


COMMON = CommonSuite()
CURVES = CurvesSuite()


def _ephemeral(random: Random) -> tuple[X25519PrivateKey, bytes]:
    """A fresh key pair that Java peers can read.

    Santuario tries DSA before X25519: a public key beginning 02 01 to 02 1e reads as an ASN.1 integer there, and the
    message would be refused for ever. One key in about 2,100 is drawn again.
    """
    while True:
        private = X25519PrivateKey.from_private_bytes(random(32))
        public = private.public_key().public_bytes_raw()
        if not (public[0] == 0x02 and public[1] <= 0x1E):
            return private, public


def _wrap(algorithm: str, secret: bytes, content_key: bytes, *, originator: str, recipient: str, random: Random) -> str:
    salt = random(32)
    wrapped = aes_key_wrap(_derive(secret, salt, b""), content_key)
    return _ENCRYPTED_KEY.format(
        algorithm=algorithm, salt=b64(salt), originator=originator, recipient=recipient, wrapped=b64(wrapped)
    )


def _derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=16, salt=salt, info=info).derive(secret)


def _read_key(
    encrypted_key: etree._Element, algorithm: str, read_originator: Callable[[etree._Element], AgreementKey | None]
) -> AgreedKey:
    found = fields(encrypted_key)
    expect(need(found, names.XENC, "EncryptionMethod"), names.KW_AES128)
    agreement = only_child(need(found, names.DS, "KeyInfo"), names.XENC, "AgreementMethod")
    expect(agreement, algorithm)
    agreed = fields(agreement)
    salt, info = _derivation(need(agreed, names.XENC11, "KeyDerivationMethod"))
    value = only_child(need(found, names.XENC, "CipherData"), names.XENC, "CipherValue")
    return AgreedKey(
        recipient=need(agreed, names.XENC, "RecipientKeyInfo"),
        originator=read_originator(need(agreed, names.XENC, "OriginatorKeyInfo")),
        salt=salt,
        info=info,
        wrapped=binary(value),
    )


def _derivation(method: etree._Element) -> tuple[bytes, bytes]:
    """Salt and info of the HKDF parameters; the rest must be what the profile fixes."""
    expect(method, names.HKDF)
    params = fields(only_child(method, names.DSIG_MORE, "HKDFParams"))
    expect(need(params, names.DSIG_MORE, "PRF"), names.HMAC_SHA256)
    length = need(params, names.DSIG_MORE, "KeyLength").text or ""
    if not re.fullmatch(r"\s*16\s*", length):  # bytes, not bits
        raise PolicyBroken(
            "a key length that is not agreed", field="HKDF KeyLength", expected="16", received=length[:20]
        )
    salt, info = (params.get(f"{{{names.DSIG_MORE}}}{name}") for name in ("Salt", "Info"))
    return (b"" if salt is None else binary(salt)), (b"" if info is None else binary(info))


def _read_own_key(
    pattern: re.Pattern[bytes], written: bytes, read_originator: Callable[[re.Match[bytes]], AgreementKey | None]
) -> OwnKey | None:
    match = pattern.fullmatch(written)
    if match is None:
        return None
    try:
        key = AgreedKey(
            recipient=None,
            originator=read_originator(match),
            salt=decoded(match["salt"]),
            info=b"",
            wrapped=decoded(match["wrapped"]),
        )
        return OwnKey(key, decoded(match["ski"]))
    except binascii.Error:
        return None


def _read_x25519(originator: etree._Element) -> X25519PublicKey | None:
    return _x25519(binary(only_child(originator, names.DSIG11, "DEREncodedKeyValue")))


def _x25519(spki: bytes) -> X25519PublicKey | None:
    if not spki.startswith(_SPKI_X25519) or len(spki) != len(_SPKI_X25519) + 32:
        return None
    return X25519PublicKey.from_public_bytes(spki[-32:])


def _read_curve_key(originator: etree._Element) -> EllipticCurvePublicKey | None:
    value = only_child(only_child(originator, names.DS, "KeyValue"), names.DSIG11, "ECKeyValue")
    return _point(_named_curve(value), binary(only_child(value, names.DSIG11, "PublicKey")))


def _point(oid: str, encoded: bytes) -> EllipticCurvePublicKey | None:
    curve = _CURVES.get(oid)
    if curve is None:
        return None
    try:
        return EllipticCurvePublicKey.from_encoded_point(curve, encoded)
    except ValueError:  # not on the curve
        return None


def _named_curve(value: etree._Element) -> str:
    """The object identifier of a key's named curve; explicit parameters are not taken."""
    named = optional_child(value, names.DSIG11, "NamedCurve")
    if named is None:
        raise BadEnvelope("an elliptic curve key without a named curve")
    return named.get("URI", "").removeprefix("urn:oid:")


@lru_cache(maxsize=1024)
def _public_key(certificate: x509.Certificate) -> object:
    return certificate.public_key()


def _curve_key(certificate: x509.Certificate) -> EllipticCurvePublicKey | None:
    key = _public_key(certificate)
    return key if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _OIDS else None


_DER_KEY_OPEN = f'<dsig11:DEREncodedKeyValue xmlns:dsig11="{names.DSIG11}">'
_CURVE_KEY = (
    f'<ds:KeyValue><dsig11:ECKeyValue xmlns:dsig11="{names.DSIG11}">'
    '<dsig11:NamedCurve URI="urn:oid:{curve}"/><dsig11:PublicKey>{point}</dsig11:PublicKey>'
    "</dsig11:ECKeyValue></ds:KeyValue>"
)
_ENCRYPTED_KEY = (
    f'<xenc:EncryptionMethod Algorithm="{names.KW_AES128}"/>'
    f'<ds:KeyInfo xmlns:ds="{names.DS}"><xenc:AgreementMethod Algorithm="{{algorithm}}">'
    f'<xenc11:KeyDerivationMethod xmlns:xenc11="{names.XENC11}" Algorithm="{names.HKDF}">'
    f'<dsig-more:HKDFParams xmlns:dsig-more="{names.DSIG_MORE}">'
    f'<dsig-more:PRF Algorithm="{names.HMAC_SHA256}"/><dsig-more:Salt>{{salt}}</dsig-more:Salt>'
    "<dsig-more:KeyLength>16</dsig-more:KeyLength></dsig-more:HKDFParams></xenc11:KeyDerivationMethod>"
    "<xenc:OriginatorKeyInfo>{originator}</xenc:OriginatorKeyInfo>"
    "<xenc:RecipientKeyInfo>{recipient}</xenc:RecipientKeyInfo></xenc:AgreementMethod></ds:KeyInfo>"
    "<xenc:CipherData><xenc:CipherValue>{wrapped}</xenc:CipherValue></xenc:CipherData>"
)
_OWN_X25519 = compiled(
    _ENCRYPTED_KEY.format(
        algorithm=names.X25519,
        salt="{salt}",
        originator=f"{_DER_KEY_OPEN}{{public}}</dsig11:DEREncodedKeyValue>",
        recipient=BY_SKI,
        wrapped="{wrapped}",
    ),
    salt=BASE64,
    public=BASE64,
    ski=BASE64,
    wrapped=BASE64,
)
_OWN_CURVES = compiled(
    _ENCRYPTED_KEY.format(
        algorithm=names.ECDH_ES, salt="{salt}", originator=_CURVE_KEY, recipient=BY_SKI, wrapped="{wrapped}"
    ),
    salt=BASE64,
    curve=rb"[0-9.]{3,40}",
    point=BASE64,
    ski=BASE64,
    wrapped=BASE64,
)
