"""Access points outside the federation: what was agreed with each is written down in a folder of its own.

    peers/<name>/agreement.toml   the P-Mode: parties, suite, services, reference forms, retries, limits
    peers/<name>/tls.pem          the certificates it shows on connections, old and new
    peers/<name>/sign.pem         those it signs with
    peers/<name>/encrypt.pem      those to encrypt for, newest first

No trust list vouches for these certificates: an operator compared their fingerprints (`imi-node peers add`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from node.errors import Refused, SetupError
from node.federation import as4
from node.federation.as4 import names
from node.federation.peers import Peer
from node.ids import NodeId, State

CERTIFICATES: Final = ("tls", "sign", "encrypt")
MAX_FILE_BYTES: Final = 256 * 1024
_NAME: Final = re.compile(r"[a-z][a-z0-9.-]{0,39}")  # nodes of the federation have upper-case codes

log = structlog.get_logger()

Text = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Positive = Annotated[int, Field(gt=0)]
Older = Literal["rsa-oaep-mgf1p", "rsa-sha384", "rsa-sha512"]
_OLDER: Final[Mapping[str, str]] = {
    "rsa-oaep-mgf1p": names.RSA_OAEP_MGF1P,
    "rsa-sha384": names.RSA_SHA384,
    "rsa-sha512": names.RSA_SHA512,
}


class BadAgreement(SetupError):
    """What is written of a peer outside the federation cannot be used; the message says which entry and why."""

    code = "setup.agreement"


class NotConfirmed(Refused):
    """A fingerprint given for a new peer is not that of one of its certificates, or one is missing: nothing is kept."""

    code = "refused.fingerprint-not-confirmed"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServiceEntry(_Model):
    """A service both sides agreed on."""

    name: Text
    type: Text | None = None
    actions: Annotated[tuple[Text, ...], Field(min_length=1)]


class RetryEntry(_Model):
    """Reception awareness, in seconds."""

    first_seconds: Positive = 1
    longest_seconds: Positive = 900
    report_after_seconds: Positive = 86_400


class LimitsEntry(_Model):
    """What is taken from this peer."""

    entity_bytes: Positive = as4.Limits().entity
    decompressed_bytes: Positive = as4.Limits().decompressed
    parts: Positive = as4.Limits().parts


class AgreementFile(_Model):
    """The file agreement.toml."""

    url: Annotated[str, StringConstraints(pattern=r"^https://[^\s?#]{1,300}$")]
    their_party: Text
    their_party_type: Text = names.UNREGISTERED
    our_party: Text | None = None  # default: the party id of this node
    our_party_type: Text = names.UNREGISTERED
    suite: Text = as4.RSA.name
    older_algorithms: tuple[Older, ...] = ()
    initiator_role: Text = names.INITIATOR
    responder_role: Text = names.RESPONDER
    agreement_ref: Text | None = None
    agreement_type: Text | None = None
    two_way: bool = False
    four_corner: bool = True
    compress: bool = True
    signature_reference: as4.KeyReference = as4.KeyReference.TOKEN
    encryption_reference: as4.KeyReference = as4.KeyReference.SUBJECT_KEY_IDENTIFIER
    property_types: dict[Text, Text] = Field(default_factory=dict)
    service: Annotated[tuple[ServiceEntry, ...], Field(min_length=1)]
    retry: RetryEntry = RetryEntry()
    limits: LimitsEntry = LimitsEntry()


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """What a peer outside shows, signs with and is encrypted for."""

    tls: tuple[x509.Certificate, ...]
    sign: tuple[x509.Certificate, ...]
    encrypt: tuple[x509.Certificate, ...]

    def fingerprints(self) -> dict[str, str]:
        """What each certificate is for, by its SHA-256 (hexadecimal)."""
        return {digest: purpose for digest, (purpose, _) in self.distinct().items()}

    def distinct(self) -> dict[str, tuple[str, x509.Certificate]]:
        """Each certificate once, by its SHA-256 (hexadecimal): what it is for, and it."""
        found: dict[str, tuple[str, x509.Certificate]] = {}
        for purpose in CERTIFICATES:
            for certificate in getattr(self, purpose):
                digest = fingerprint(certificate)
                found[digest] = (f"{found[digest][0]}, {purpose}" if digest in found else purpose, certificate)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A peer about to be written down: its files as they were given, and what they make."""

    name: str
    agreement: bytes
    certificates: Mapping[str, bytes]
    peer: Peer


def read_all(folder: Path, us: NodeId, *, issuers: Sequence[x509.Certificate] = ()) -> tuple[Peer, ...]:
    """Every peer written down in a folder; one that cannot be read is logged and left out, the others go on.

    Args:
        issuers: authorities of our signing certificates, for the peers that want a path.
    """
    found: list[Peer] = []
    for name in listed(folder):
        try:
            found.append(read(folder, name, us, issuers=issuers))
        except BadAgreement as error:  # expected: its sentence says all, a traceback nothing
            log.error("agreement not usable", peer=name, code=error.code, reason=str(error))  # noqa: TRY400
    return tuple(found)


def listed(folder: Path) -> list[str]:
    """What the peers written down in a folder are called."""
    return sorted(path.name for path in folder.iterdir() if is_name(path.name)) if folder.is_dir() else []


def is_name(text: str) -> bool:
    """Whether a peer outside may be called so; no node of the federation is."""
    return _NAME.fullmatch(text) is not None


def read(folder: Path, name: str, us: NodeId, *, issuers: Sequence[x509.Certificate] = ()) -> Peer:
    """One peer. Raises BadAgreement."""
    place = folder / name
    files = {purpose: place / f"{purpose}.pem" for purpose in CERTIFICATES}
    return read_candidate(name, place / "agreement.toml", files, us, issuers=issuers).peer


def read_candidate(
    name: str,
    agreement: Path,
    certificates: Mapping[str, Path],
    us: NodeId,
    *,
    issuers: Sequence[x509.Certificate] = (),
) -> Candidate:
    """A peer from the files an operator was given: the agreement, and the certificates for tls, sign and encrypt.

    Raises:
        BadAgreement: they cannot be read, or do not go together.
    """
    if not is_name(name):
        raise BadAgreement(f"{name[:60]!r} is no name for a peer: small letters, digits, dots and dashes, 40 at most")
    text = _bytes(agreement)
    files = {purpose: _bytes(certificates[purpose]) for purpose in CERTIFICATES}
    found = Certificates(**{purpose: parse_certificates(files[purpose], purpose) for purpose in CERTIFICATES})
    peer = to_peer(name, parse(text), found, us, issuers=issuers)
    return Candidate(name=name, agreement=text, certificates=files, peer=peer)


def parse(data: bytes) -> AgreementFile:
    """The agreement in a TOML file. Raises BadAgreement, which names the entry at fault."""
    try:
        return AgreementFile.model_validate(tomllib.loads(data.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadAgreement(f"the agreement is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(each) for each in first["loc"]) or "the file"
        raise BadAgreement(f"the agreement's {place}: {first['msg']}") from error


def parse_certificates(data: bytes, purpose: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, or the one of a DER file. Raises BadAgreement."""
    try:
        if b"-----BEGIN" in data:
            return tuple(x509.load_pem_x509_certificates(data))
        return (x509.load_der_x509_certificate(data),)
    except ValueError as error:
        raise BadAgreement(f"the {purpose} file holds no certificate (PEM or DER)") from error


def certificates_of(peer: Peer) -> Certificates:
    """What a peer outside shows, signs with and is encrypted for."""
    return Certificates(tls=peer.tls, sign=peer.signing, encrypt=peer.encryption)


def confirm(certificates: Certificates, given: Sequence[str]) -> None:
    """Compare fingerprints that came another way with those of the certificates at hand.

    Args:
        given: SHA-256 in full, hexadecimal; colons, spaces and upper case are tolerated.

    Raises:
        NotConfirmed: one is missing, or belongs to none of the certificates.
    """
    distinct = certificates.fingerprints()
    plain = {re.sub(r"[:\s]", "", each).lower() for each in given}
    for each in sorted(plain - distinct.keys()):
        raise NotConfirmed(f"no certificate of these files has the fingerprint {each[:80]}: nothing is written")
    for digest in distinct.keys() - plain:
        raise NotConfirmed(
            f"the fingerprint of the certificate for {distinct[digest]} was not confirmed "
            f"({grouped(digest)}): nothing is written"
        )


def check_new(folder: Path, candidate: Candidate, *, at: datetime) -> None:
    """Raises BadAgreement if a peer cannot be added as things are: its name is taken, or its certificates are no use."""
    if (folder / candidate.name).exists():
        raise BadAgreement(f"there is a peer {candidate.name} already: remove it first, or choose another name")
    peer = candidate.peer
    for purpose in CERTIFICATES:
        if not any(one.not_valid_before_utc <= at <= one.not_valid_after_utc for one in _of(peer, purpose)):
            raise BadAgreement(f"no certificate for {purpose} is valid today: ask the peer for its newest")
    shown = {fingerprint(one) for one in peer.tls}
    for name in listed(folder):
        file = folder / name / "tls.pem"
        known = parse_certificates(_bytes(file), "tls") if file.is_file() else ()
        if shown & {fingerprint(one) for one in known}:
            raise BadAgreement(
                f"{name} shows the same TLS certificate: one connection could not be told from the other's"
            )


def _of(peer: Peer, purpose: str) -> tuple[x509.Certificate, ...]:
    found: tuple[x509.Certificate, ...] = getattr(certificates_of(peer), purpose)
    return found


def grouped(digest: str) -> str:
    """A fingerprint as people compare it: in groups of four."""
    return " ".join(digest[place : place + 4] for place in range(0, len(digest), 4)).upper()


def to_peer(
    name: str,
    written: AgreementFile,
    certificates: Certificates,
    us: NodeId,
    *,
    issuers: Sequence[x509.Certificate] = (),
) -> Peer:
    """The peer an agreement and its certificates make. Raises BadAgreement if they do not go together."""
    suite = _suite(written)
    for purpose, usable in (("sign", suite.can_sign), ("encrypt", suite.can_decrypt)):
        for certificate in getattr(certificates, purpose):
            if not usable(certificate):
                raise BadAgreement(
                    f"the {purpose} certificate {fingerprint(certificate)[:16]}… has no key for {suite.name}"
                )
    if written.encryption_reference is as4.KeyReference.PATH:
        raise BadAgreement("encryption_reference: a path names the signer's certificate only; use bst")
    return Peer(
        node=NodeId(name),
        state=State(""),
        name={},
        url=written.url,
        state_ca=certificates.tls[0],
        crl=None,
        signing=certificates.sign,
        encryption=certificates.encrypt,
        suites=(suite.name,),
        features=(),
        logs={},
        terms=_terms(written, suite, certificates.sign, us, tuple(issuers)),
        tls=certificates.tls,
    )


def _terms(
    written: AgreementFile,
    suite: as4.Suite,
    their_signing: tuple[x509.Certificate, ...],
    us: NodeId,
    issuers: tuple[x509.Certificate, ...],
) -> as4.Agreement:
    return as4.Agreement(
        our_party=written.our_party or as4.party_of(us),
        our_party_type=written.our_party_type,
        their_party=written.their_party,
        their_party_type=written.their_party_type,
        suite=suite,
        services=tuple(
            as4.Service(name=each.name, type=each.type, actions=frozenset(each.actions)) for each in written.service
        ),
        their_signing=their_signing,
        roles=(written.initiator_role, written.responder_role),
        agreement_ref=written.agreement_ref,
        agreement_type=written.agreement_type,
        two_way=written.two_way,
        four_corner=written.four_corner,
        property_types=written.property_types,
        compress=written.compress,
        signature_reference=written.signature_reference,
        encryption_reference=written.encryption_reference,
        issuers=issuers,
        retry=as4.Retry(
            first=timedelta(seconds=written.retry.first_seconds),
            longest=timedelta(seconds=written.retry.longest_seconds),
            report_after=timedelta(seconds=written.retry.report_after_seconds),
        ),
        limits=as4.Limits(
            entity=written.limits.entity_bytes,
            decompressed=written.limits.decompressed_bytes,
            parts=written.limits.parts,
        ),
    )


def write(folder: Path, name: str, agreement: bytes, certificates: Mapping[str, bytes]) -> None:
    """Keep what was agreed with a peer: all of it, or nothing.

    Args:
        agreement: agreement.toml.
        certificates: the files tls, sign and encrypt.

    Raises:
        BadAgreement: there is one of this name.
    """
    place, draft = folder / name, folder / f".{name}.new"
    if place.exists():
        raise BadAgreement(f"there is a peer {name} already: remove it first, or choose another name")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    _write(draft / "agreement.toml", agreement)
    for purpose in CERTIFICATES:
        _write(draft / f"{purpose}.pem", certificates[purpose])
    draft.rename(place)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove(folder: Path, name: str) -> None:
    """Forget a peer. Raises BadAgreement if there is none of this name."""
    if not is_name(name) or not (folder / name).is_dir():
        raise BadAgreement(f"there is no peer {name[:60]!r}; imi-node peers lists those there are")
    shutil.rmtree(folder / name)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate, hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _suite(written: AgreementFile) -> as4.Suite:
    suite = as4.SUITES.get(written.suite)
    if suite is None:
        raise BadAgreement(f"suite: there is no {written.suite}; this node speaks {', '.join(as4.SUITES)}")
    if not written.older_algorithms:
        return suite
    if suite is not as4.RSA:
        raise BadAgreement(f"older_algorithms: only {as4.RSA.name} has some")
    return as4.RSA.accepting(frozenset(_OLDER[name] for name in written.older_algorithms))


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadAgreement(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise BadAgreement(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return data


def describe(peer: Peer) -> dict[str, Any]:
    """What was agreed, for people to read: by label."""
    terms = peer.terms
    assert terms is not None
    return {
        "address": peer.url,
        "suite": terms.suite.name,
        "older algorithms taken": ", ".join(name for name, uri in _OLDER.items() if uri in _older_of(terms.suite)),
        "we are": f"{terms.our_party} ({terms.our_party_type})",
        "they are": f"{terms.their_party} ({terms.their_party_type})",
        "roles": " → ".join(terms.roles),
        "agreement": (terms.agreement_ref or "") + (f" ({terms.agreement_type})" if terms.agreement_type else ""),
        "services": {
            service.name + (f" ({service.type})" if service.type else ""): ", ".join(sorted(service.actions))
            for service in terms.services
        },
        "exchange": "two-way, push and push" if terms.two_way else "one-way, push",
        "corners": "four: originalSender and finalRecipient are asked for" if terms.four_corner else "two",
        "types of properties": dict(terms.property_types),
        "payloads": "compressed" if terms.compress else "not compressed",
        "signature names its certificate by": _IN_WORDS[terms.signature_reference],
        "encryption names its certificate by": _IN_WORDS[terms.encryption_reference],
        "retry": f"after {_span(terms.retry.first)}, doubling to {_span(terms.retry.longest)}; "
        f"reported after {_span(terms.retry.report_after)}",
        "taken at most": f"{terms.limits.entity} bytes on the wire, {terms.limits.decompressed} decompressed, "
        f"{terms.limits.parts} parts",
    }


def _older_of(suite: as4.Suite) -> frozenset[str]:
    found: frozenset[str] = getattr(suite, "older", frozenset())  # only the RSA suite has some
    return found


_IN_WORDS: Final = {
    as4.KeyReference.TOKEN: "bst: the certificate itself",
    as4.KeyReference.PATH: "pkipath: the certificate after its authorities",
    as4.KeyReference.SUBJECT_KEY_IDENTIFIER: "ski: its subject key identifier",
    as4.KeyReference.ISSUER_SERIAL: "issuer-serial: its issuer and serial number",
    as4.KeyReference.THUMBPRINT: "thumbprint: its SHA-1 fingerprint",
}


def _span(time: timedelta) -> str:
    """In the largest unit that divides it."""
    seconds = round(time.total_seconds())
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells one state of the peers' folders from another: each file with its time and size."""
    found = []
    for path in sorted(folder.glob("[a-z]*/*")) if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile: the next look sees it
            stat = path.stat()
            found.append((str(path.relative_to(folder)), stat.st_mtime_ns, stat.st_size))
    return tuple(found)
