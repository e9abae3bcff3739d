"""The suite of eDelivery AS4 1.15: RSA signatures, and the content key encrypted for the recipient's RSA key.

Source: eDelivery AS4 1.15 section 1.4.2.6; XML Encryption 1.1 section 5.5; RFC 8017 (OAEP with an empty label).
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, replace
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from lxml import etree

from node.federation.as4 import names
from node.federation.as4.canonical import b64
from node.federation.as4.errors import BadSignature, FailedDecryption, PolicyBroken
from node.federation.as4.model import CONTENT_KEY_BYTES, Decrypter, Random
from node.federation.as4.own_form import BASE64, BY_SKI, OwnKey, compiled, decoded
from node.federation.as4.reading import algorithm, binary, fields, need, only_child

MIN_KEY_BITS = 2048
MAX_KEY_BITS = 4096  # a larger one costs whoever verifies more than it protects

OLDER = frozenset({names.RSA_SHA384, names.RSA_SHA512, names.RSA_OAEP_MGF1P})

_HASHES: dict[str, hashes.HashAlgorithm] = {
    names.RSA_SHA256: hashes.SHA256(),
    names.RSA_SHA384: hashes.SHA384(),
    names.RSA_SHA512: hashes.SHA512(),
}
_DIGESTS = {names.SHA1: "sha1", names.SHA256: "sha256"}
_MASKS = {names.MGF1_SHA1: "sha1", names.MGF1_SHA256: "sha256"}
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RsaSuite:
    """RSA keys of 2048 to 4096 bits. `older` are algorithms a peer may use besides (some of `OLDER`); we never do."""

    name: str = "as4-1.15-rsa"
    signature_algorithm: str = names.RSA_SHA256
    older: frozenset[str] = frozenset()

    def accepting(self, older: frozenset[str]) -> RsaSuite:
        """The suite for a peer that cannot do better. Raises ValueError for algorithms we take from nobody."""
        if unknown := older - OLDER:
            raise ValueError(f"not an algorithm that can be accepted: {', '.join(sorted(unknown))}")
        return replace(self, older=older)

    def can_sign(self, certificate: x509.Certificate) -> bool:
        return _rsa_key(certificate) is not None

    def can_decrypt(self, certificate: x509.Certificate) -> bool:
        return _rsa_key(certificate) is not None

    def verify(self, certificate: x509.Certificate, algorithm: str, signature: bytes, data: bytes) -> None:
        if algorithm != names.RSA_SHA256 and (algorithm not in self.older or algorithm not in _HASHES):
            raise PolicyBroken(
                "a signature algorithm that is not agreed",
                field="SignatureMethod",
                expected=names.RSA_SHA256,
                received=algorithm,
            )
        key = _rsa_key(certificate)
        if key is None:
            raise BadSignature("the signing certificate holds no RSA key of 2048 to 4096 bits")
        try:
            key.verify(signature, data, padding.PKCS1v15(), _HASHES[algorithm])
        except InvalidSignature as error:
            raise BadSignature("the signature value does not verify") from error

    def wrap(self, certificate: x509.Certificate, content_key: bytes, recipient: str, random: Random) -> str:
        """`random` is not asked: OpenSSL draws the padding itself."""
        del random
        key = _rsa_key(certificate)
        if key is None:
            raise TypeError("the encryption certificate holds no RSA key of 2048 to 4096 bits")
        return _ENCRYPTED_KEY.format(recipient=recipient, wrapped=b64(key.encrypt(content_key, _OAEP)))

    def read_key(self, encrypted_key: etree._Element) -> TransportedKey:
        found = fields(encrypted_key)
        digest, mgf_digest = self._read_method(need(found, names.XENC, "EncryptionMethod"))
        value = only_child(need(found, names.XENC, "CipherData"), names.XENC, "CipherValue")
        return TransportedKey(
            recipient=need(found, names.DS, "KeyInfo"), wrapped=binary(value), digest=digest, mgf_digest=mgf_digest
        )

    def read_own_key(self, written: bytes) -> OwnKey | None:
        match = _OWN.fullmatch(written)
        if match is None:
            return None
        try:
            sealed, ski = decoded(match["wrapped"]), decoded(match["ski"])
        except binascii.Error:
            return None
        return OwnKey(TransportedKey(recipient=None, wrapped=sealed, digest="sha256", mgf_digest="sha256"), ski)

    def _read_method(self, method: etree._Element) -> tuple[str, str]:
        """The two hash functions of OAEP. Parameters left out mean SHA-1 (XML Encryption 1.1), which is not agreed."""
        found = fields(method)
        params = found.get(f"{{{names.XENC}}}OAEPparams")
        named = found.get(f"{{{names.DS}}}DigestMethod")
        digest = names.SHA1 if named is None else algorithm(named)
        masks = found.get(f"{{{names.XENC11}}}MGF")
        mask = names.MGF1_SHA1 if masks is None else algorithm(masks)
        if params is not None and (params.text or "").strip():
            raise PolicyBroken("an OAEP label")
        used = (algorithm(method), digest, mask)
        if used == (names.RSA_OAEP, names.SHA256, names.MGF1_SHA256):
            return "sha256", "sha256"
        old = used[0] == names.RSA_OAEP_MGF1P and mask == names.MGF1_SHA1 and digest in _DIGESTS
        if old and names.RSA_OAEP_MGF1P in self.older:
            return _DIGESTS[digest], _MASKS[mask]
        raise PolicyBroken(
            "a key transport that is not agreed",
            field="EncryptionMethod",
            expected=names.RSA_OAEP,
            received=" ".join(used)[:300],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportedKey:
    """A content key encrypted with RSA-OAEP."""

    recipient: etree._Element | None
    wrapped: bytes
    digest: str
    mgf_digest: str

    def unwrap(self, key: Decrypter) -> bytes:
        try:
            content_key = key.decrypt(self.wrapped, digest=self.digest, mgf_digest=self.mgf_digest)
        except ValueError as error:
            raise FailedDecryption("the content key cannot be decrypted") from error
        if len(content_key) != CONTENT_KEY_BYTES:
            raise FailedDecryption("the content key has a wrong length")
        return content_key


RSA = RsaSuite()


@lru_cache(maxsize=1024)
def _rsa_key(certificate: x509.Certificate) -> RSAPublicKey | None:
    key = certificate.public_key()
    return key if isinstance(key, RSAPublicKey) and MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS else None


_ENCRYPTED_KEY = (
    f'<xenc:EncryptionMethod Algorithm="{names.RSA_OAEP}">'
    f'<ds:DigestMethod xmlns:ds="{names.DS}" Algorithm="{names.SHA256}"/>'
    f'<xenc11:MGF xmlns:xenc11="{names.XENC11}" Algorithm="{names.MGF1_SHA256}"/></xenc:EncryptionMethod>'
    f'<ds:KeyInfo xmlns:ds="{names.DS}">{{recipient}}</ds:KeyInfo>'
    "<xenc:CipherData><xenc:CipherValue>{wrapped}</xenc:CipherValue></xenc:CipherData>"
)
_OWN = compiled(_ENCRYPTED_KEY.format(recipient=BY_SKI, wrapped="{wrapped}"), ski=BASE64, wrapped=BASE64)
