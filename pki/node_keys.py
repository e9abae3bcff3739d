"""A node's keys: made on the node, certified by its State, never carried from one to the other.

A node writes a request (public keys, proofs of possession, what its entry should say); the State's authority answers
with certificates and makes the entry; the node installs the certificates. An X25519 key cannot sign, so the node's
signing key vouches for it: who claims another's key so can only make its own mail unreadable to itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pki import profiles
from pki.authority import StateAuthority, pem
from pki.errors import BadKeyFile, PkiError
from pki.files import write_whole
from pki.keys import (
    MAX_RSA_BITS,
    RSA_BITS,
    Kind,
    PublicKey,
    generate,
    load_private,
    public_pem,
    raw_public,
    save_private,
)
from pki.signer import Decrypter, FileDecrypter, FileMessageSigner, FileSigner, MessageSigner, Signer
from pki.trustlist.models import LogEntry, NodeEntry, Url

KINDS: Final[tuple[Kind, ...]] = ("tls", "sign", "encrypt", "log")
CERTIFIED: Final[tuple[Kind, ...]] = ("tls", "sign", "encrypt")
MoreKind = Literal["sign-ecc", "encrypt-ecc", "sign-rsa", "encrypt-rsa"]
Family = Literal["ecc", "rsa"]  # elliptic curves of AS4 2.0; RSA of AS4 1.15
FAMILIES: Final[tuple[Family, ...]] = ("ecc", "rsa")
MORE: Final[tuple[MoreKind, ...]] = ("sign-ecc", "encrypt-ecc", "sign-rsa", "encrypt-rsa")
MAX_REQUEST_BYTES: Final = 64 * 1024


class BadRequest(PkiError):
    """A node's request is malformed, or does not prove that the node holds its keys."""

    code = "pki.request"


class Request(BaseModel):
    """What a node sends its State: who it is, where it listens, its public keys, and proof that it holds them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,8})?$")]
    hosts: tuple[Annotated[str, StringConstraints(max_length=253)], ...]
    tls: str  # certificate signing request, PEM
    sign: str  # certificate signing request, PEM
    encrypt: str  # raw X25519 public key, Base64
    encrypt_proof: str  # by the signing key over `_proof_input`, Base64
    log: str  # raw Ed25519 public key, Base64
    name: dict[str, Annotated[str, StringConstraints(max_length=200)]] = Field(default_factory=dict)  # language -> name
    federation: Url | None = None  # base address of its door for other nodes
    relay: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,8})?$")] | None = None  # instead of that
    suites: tuple[str, ...] = ()  # AS4 suites it reads, preferred first; added to those its entry names already
    collections: tuple[str, ...] = ()  # its directory logs; added likewise
    more: dict[MoreKind, str] = Field(default_factory=dict)  # signing requests of keys for other suites, PEM


class Certificates(BaseModel):
    """The State's answer: three certificates in PEM, and those of the keys for other suites."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tls: str
    sign: str
    encrypt: str
    more: dict[MoreKind, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """A node's keys, ready for use. The TLS key stays in its file: OpenSSL reads it from there.

    `signer` signs events and messages; `signers` are all that sign messages, it first, then those of other suites.
    """

    tls_certificate: Path
    tls_key: Path
    passphrase: bytes | None
    signer: Signer
    signers: tuple[MessageSigner, ...]
    decrypters: tuple[Decrypter, ...]
    log_signer: Signer
    hosted_logs: Mapping[str, Signer] = field(default_factory=dict)  # State or node without a door -> its log's key


def create_keys(folder: Path, passphrase: bytes | None = None) -> None:
    """Make the four keys of a node. Raises FileExistsError if there are some already."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for kind in KINDS:
        key = generate(kind)
        save_private(folder / f"{kind}.key", key, passphrase)
        write_whole(folder / f"{kind}.pub", public_pem(key.public_key()))


def create_more_keys(folder: Path, family: Family, passphrase: bytes | None = None) -> None:
    """Make keys for messages of another suite; those there are already are kept.

    Raises:
        BadKeyFile: the keys in the folder cannot be read, or have another passphrase.
    """
    load_private(folder / "sign.key", "sign", passphrase)  # all keys of a node have one passphrase
    for kind in _kinds(family):
        path = folder / f"{kind}.key"
        if path.exists():
            key = load_private(path, kind, passphrase)
        else:
            key = generate(kind)
            save_private(path, key, passphrase)
        write_whole(folder / f"{kind}.pub", public_pem(key.public_key()))


def _kinds(family: Family) -> tuple[MoreKind, MoreKind]:
    return ("sign-ecc", "encrypt-ecc") if family == "ecc" else ("sign-rsa", "encrypt-rsa")


def _families(folder: Path) -> tuple[Family, ...]:
    """The further suites there are keys for in a folder."""
    return tuple(family for family in FAMILIES if (folder / f"{_kinds(family)[0]}.key").exists())


def create_log_key(folder: Path, node: str, passphrase: bytes | None = None) -> Ed25519PublicKey:
    """Make the log key of a State or node whose logs are hosted here (`log-<node>.key`)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = cast("Ed25519PrivateKey", generate("log"))
    save_private(folder / f"log-{node}.key", key, passphrase)
    return key.public_key()


def create_own_log_key(folder: Path, passphrase: bytes | None = None) -> Ed25519PublicKey:
    """The key that signs the logs of a State without a node (`log.key`, `log.pub`), made if there is none."""
    path = folder / "log.key"
    if path.exists():
        return cast("Ed25519PrivateKey", load_private(path, "log", passphrase)).public_key()
    key = cast("Ed25519PrivateKey", generate("log"))
    save_private(path, key, passphrase)
    write_whole(folder / "log.pub", public_pem(key.public_key()))
    return key.public_key()


def load_log_signer(path: Path, passphrase: bytes | None = None) -> FileSigner:
    """The key of a log from its file. Raises BadKeyFile."""
    return FileSigner(cast("Ed25519PrivateKey", load_private(path, "log", passphrase)))


def write_request(
    folder: Path,
    node: str,
    hosts: Sequence[str],
    passphrase: bytes | None = None,
    *,
    name: Mapping[str, str] | None = None,
    federation: str | None = None,
    relay: str | None = None,
    suites: Sequence[str] = (),
    collections: Sequence[str] = (),
) -> Request:
    """The request for the keys in a folder.

    Args:
        hosts: names and addresses the TLS certificate is for.
        name: of the node in the trust list, by language.
        federation: base address of its door, without a slash at the end.
        relay: the node of its State through which alone it is reached, instead of an address.
        suites: AS4 suites it reads, preferred first; added to those its entry names already.
        collections: the directory logs it signs with its log key; added likewise.
    """
    tls = cast("EllipticCurvePrivateKey", load_private(folder / "tls.key", "tls", passphrase))
    sign = cast("Ed25519PrivateKey", load_private(folder / "sign.key", "sign", passphrase))
    encrypt = cast("X25519PrivateKey", load_private(folder / "encrypt.key", "encrypt", passphrase))
    log = cast("Ed25519PrivateKey", load_private(folder / "log.key", "log", passphrase))
    builder = x509.CertificateSigningRequestBuilder().subject_name(profiles.name(node, node[:2]))
    raw = raw_public(encrypt.public_key())
    return Request(
        node=node,
        hosts=tuple(hosts),
        tls=_pem(builder.sign(tls, hashes.SHA256())),
        sign=_pem(builder.sign(sign, None)),
        encrypt=_b64(raw),
        encrypt_proof=_b64(sign.sign(_proof_input(node, raw))),
        log=_b64(raw_public(log.public_key())),
        name=dict(name or {}),
        federation=federation,
        relay=relay,
        suites=tuple(suites),
        collections=tuple(collections),
        more={
            kind: _pem(builder.sign(_certifiable(folder / f"{kind}.key", kind, passphrase), hashes.SHA256()))
            for family in _families(folder)
            for kind in _kinds(family)
        },
    )


def _certifiable(path: Path, kind: Kind, passphrase: bytes | None) -> EllipticCurvePrivateKey | RSAPrivateKey:
    """A key that can sign its own request."""
    key = load_private(path, kind, passphrase)
    assert isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey)
    return key


def read_request(data: bytes) -> Request:
    """A request from bytes. Raises BadRequest."""
    if len(data) > MAX_REQUEST_BYTES:
        raise BadRequest("the request is too large")
    try:
        return Request.model_validate_json(data)
    except ValidationError as error:
        raise BadRequest("this is not a node's request") from error


def answer(authority: StateAuthority, request: Request) -> Certificates:
    """Certify what a node asks for; for keys it had certified before, the same certificates while they are good.

    Raises:
        BadRequest: a proof of possession does not hold.
        NotOurs: the node is another State's.
    """
    tls, sign, encrypt = _proven(request)
    more = _more_proven(request)
    return Certificates(
        tls=pem(authority.certify("tls", request.node, tls, request.hosts)).decode(),
        sign=pem(authority.certify("sign", request.node, sign)).decode(),
        encrypt=pem(authority.certify("encrypt", request.node, encrypt)).decode(),
        more={
            kind: pem(authority.certify(kind.partition("-")[0], request.node, public)).decode()
            for kind, public in more.items()
        },
    )


def entry_for(
    authority: StateAuthority, request: Request, certificates: Certificates, said: NodeEntry | None = None
) -> NodeEntry:
    """What the trust list will say of a node that was just certified.

    Args:
        said: what it said before. It stays where the request says nothing else; suites and logs are only added, and
            signing certificates that are replaced go to the retired ones, as old events are verified with them.
    """
    own_ca = pem(authority.certificate).decode()
    said = said or NodeEntry(node=request.node, state=authority.state, name={"en": request.node}, state_ca=own_ca)
    signing = (certificates.sign, *(text for kind, text in certificates.more.items() if kind.startswith("sign")))
    return NodeEntry(
        node=request.node,
        state=authority.state,
        name=request.name or said.name,
        federation=request.federation or (None if request.relay else said.federation),
        relay=request.relay or (None if request.federation else said.relay),
        state_ca=own_ca,
        signing=signing,
        retired=_retired(said, signing),
        encryption=(
            certificates.encrypt,
            *(text for kind, text in certificates.more.items() if kind.startswith("encrypt")),
        ),
        suites=tuple(dict.fromkeys((*said.suites, *request.suites))),
        protocols=said.protocols,
        features=said.features,
        logs=said.logs | {each: _log(said.logs.get(each), request) for each in request.collections},
    )


def _log(said: LogEntry | None, request: Request) -> LogEntry:
    """A log that a node asks for: in the epoch it is in; one that another node hosts stays until it is handed over."""
    if said is None:
        return LogEntry(public_key=request.log, host=request.node)
    return said.model_copy(update={"public_key": request.log}) if said.host == request.node else said


def moved_log(said: LogEntry, *, host: str | None, epoch: int | None, key: Ed25519PublicKey | None) -> LogEntry:
    """A log's entry with another host, epoch (None: the next) or key."""
    return LogEntry(
        public_key=_b64(raw_public(key)) if key else said.public_key,
        host=host or said.host,
        epoch=epoch or said.epoch + 1,
    )


def load_log_public(path: Path) -> Ed25519PublicKey:
    """A log's public key from its `.pub` file. Raises BadKeyFile."""
    try:
        key = load_pem_public_key(_read(path))
    except ValueError as error:
        raise BadKeyFile(f"{path} holds no public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadKeyFile(f"{path} holds no key of a log")
    return key


def _retired(said: NodeEntry, signing: Sequence[str]) -> tuple[str, ...]:
    """Every signing certificate an entry named that is none any more, newest first."""
    current = {x509.load_pem_x509_certificate(text.encode()) for text in signing}
    known = {x509.load_pem_x509_certificate(text.encode()) for text in (*said.signing, *said.retired)}
    ordered = sorted(known - current, key=lambda each: (each.not_valid_before_utc, each.serial_number), reverse=True)
    return tuple(pem(each).decode() for each in ordered)


def hosted_entry(authority: StateAuthority, logs: Mapping[str, Ed25519PublicKey], host: str) -> NodeEntry:
    """The entry of a State without a node: only logs, served by `host`."""
    return NodeEntry(
        node=authority.state,
        state=authority.state,
        name={"en": authority.state},
        state_ca=pem(authority.certificate).decode(),
        logs={each: LogEntry(public_key=_b64(raw_public(key)), host=host) for each, key in logs.items()},
    )


def read_certificates(data: bytes) -> Certificates:
    """A State's answer from bytes. Raises BadRequest."""
    try:
        return Certificates.model_validate_json(data[: MAX_REQUEST_BYTES + 1])
    except ValidationError as error:
        raise BadRequest("these are not a node's certificates") from error


def install(folder: Path, certificates: Certificates) -> None:
    """Write a State's answer beside the keys.

    Raises:
        BadKeyFile: a certificate is of another key; nothing is written.
    """
    texts: dict[Kind, bytes] = {kind: getattr(certificates, kind).encode() for kind in CERTIFIED}
    texts |= {kind: text.encode() for kind, text in certificates.more.items()}
    for kind, text in texts.items():
        if _spki_of(text) != _read(folder / f"{kind}.pub"):
            raise BadKeyFile(f"the {kind} certificate is not for the key in {folder}")
    for kind, text in texts.items():
        write_whole(folder / f"{kind}.crt", text)


def write_node_keys(
    folder: Path,
    node: str,
    authority: StateAuthority,
    hosts: Sequence[str],
    passphrase: bytes | None = None,
    *,
    families: Sequence[Family] = (),
) -> Request:
    """All at once, where node and State's authority are in one hand (demo, tests, a small State)."""
    create_keys(folder, passphrase)
    for family in families:
        create_more_keys(folder, family, passphrase)
    request = write_request(folder, node, hosts, passphrase)
    install(folder, answer(authority, request))
    return request


def load_node_keys(folder: Path, passphrase: bytes | None = None) -> NodeKeys:
    """The keys in a folder. Decryption keys retired as `encrypt-<digits>.key` still decrypt what was under way.

    Keys of other suites that have no certificate yet are left out: the State has not answered.

    Raises:
        BadKeyFile: one is missing, open to others, or does not fit its certificate.
    """
    sign = cast("Ed25519PrivateKey", load_private(folder / "sign.key", "sign", passphrase))
    log = cast("Ed25519PrivateKey", load_private(folder / "log.key", "log", passphrase))
    tls = load_private(folder / "tls.key", "tls", passphrase)
    _check_pair(folder / "tls.crt", _certificate(folder / "tls.crt"), tls.public_key())
    certificate = _certificate(folder / "sign.crt")
    _check_pair(folder / "sign.crt", certificate, sign.public_key())
    own = FileSigner(sign, certificate)
    more = [
        _more_signer(folder / f"sign-{family}.key", family, passphrase)
        for family in _families(folder)
        if (folder / f"sign-{family}.crt").exists()
    ]
    files = sorted(
        (path for path in folder.glob("encrypt*.key") if path.with_suffix(".crt").exists()),
        key=lambda path: path.name != "encrypt.key",
    )
    if not files:
        raise BadKeyFile(f"{folder} holds no decryption key with its certificate")
    return NodeKeys(
        tls_certificate=folder / "tls.crt",
        tls_key=folder / "tls.key",
        passphrase=passphrase,
        signer=own,
        signers=(own, *more),
        decrypters=tuple(_decrypter(path, passphrase) for path in files),
        log_signer=FileSigner(log),
        hosted_logs={
            path.stem.removeprefix("log-"): FileSigner(cast("Ed25519PrivateKey", load_private(path, "log", passphrase)))
            for path in sorted(folder.glob("log-*.key"))
        },
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's DER, hexadecimal: how events name the key that signed them."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def _spki_of(text: bytes) -> bytes:
    try:
        return public_pem(cast("PublicKey", x509.load_pem_x509_certificate(text).public_key()))
    except ValueError as error:
        raise BadRequest("the answer holds something that is no certificate") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadKeyFile(f"{path} is missing: make the node's keys first") from error


def _more_signer(path: Path, family: Family, passphrase: bytes | None) -> MessageSigner:
    key = _certifiable(path, _kinds(family)[0], passphrase)
    certificate = _certificate(path.with_suffix(".crt"))
    _check_pair(path.with_suffix(".crt"), certificate, key.public_key())
    return FileMessageSigner(key, certificate)


def _decrypter(path: Path, passphrase: bytes | None) -> Decrypter:
    kind: Kind = next((kind for kind in MORE if path.name.startswith(kind)), "encrypt")
    key = cast("X25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey", load_private(path, kind, passphrase))
    certificate = _certificate(path.with_suffix(".crt"))
    _check_pair(path.with_suffix(".crt"), certificate, key.public_key())
    return FileDecrypter(key, certificate)


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise BadKeyFile(f"{path} is missing: the State's authority has not answered the request yet") from error
    except ValueError as error:
        raise BadKeyFile(f"{path} holds no certificate") from error


def _check_pair(path: Path, certificate: x509.Certificate, public: object) -> None:
    if certificate.public_key() != public:
        raise BadKeyFile(f"{path} is not the certificate of the key beside it")


def _proven(request: Request) -> tuple[EllipticCurvePublicKey, Ed25519PublicKey, X25519PublicKey]:
    try:
        tls, sign = (x509.load_pem_x509_csr(text.encode()) for text in (request.tls, request.sign))
        raw = base64.b64decode(request.encrypt, validate=True)
        encrypt = X25519PublicKey.from_public_bytes(raw)
        proof = base64.b64decode(request.encrypt_proof, validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadRequest("the request holds something that is no key") from error
    tls_key, sign_key = tls.public_key(), sign.public_key()
    if not isinstance(tls_key, EllipticCurvePublicKey) or not isinstance(sign_key, Ed25519PublicKey):
        raise BadRequest("TLS keys are P-256, signing keys Ed25519")
    if not (tls.is_signature_valid and sign.is_signature_valid):
        raise BadRequest("a request is not signed by its own key")
    try:
        sign_key.verify(proof, _proof_input(request.node, raw))
    except InvalidSignature:
        raise BadRequest("the signing key does not vouch for the encryption key") from None
    return tls_key, sign_key, encrypt


def _more_proven(request: Request) -> dict[MoreKind, EllipticCurvePublicKey | RSAPublicKey]:
    found: dict[MoreKind, EllipticCurvePublicKey | RSAPublicKey] = {}
    for kind, text in request.more.items():
        try:
            asked = x509.load_pem_x509_csr(text.encode())
        except ValueError as error:
            raise BadRequest("the request holds something that is no key") from error
        public = asked.public_key()
        fits = isinstance(public, RSAPublicKey) and RSA_BITS <= public.key_size <= MAX_RSA_BITS
        if kind.endswith("-ecc"):
            fits = isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)
        if not fits or not asked.is_signature_valid:
            raise BadRequest(
                f"the {kind} request is not signed by its own key, or that is neither on P-256 (ecc) "
                f"nor RSA of {RSA_BITS} to {MAX_RSA_BITS} bits (rsa)"
            )
        found[kind] = cast("EllipticCurvePublicKey | RSAPublicKey", public)
    return found


def _proof_input(node: str, raw: bytes) -> bytes:
    return b"imi-encryption-key/1\n" + node.encode() + b"\n" + raw


def _pem(csr: x509.CertificateSigningRequest) -> str:
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
