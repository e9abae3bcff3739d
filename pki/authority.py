"""A State's certificate authority: its own key in its own folder or medium, never on a node.

There is no common root: each State's authority is pinned in the trust list. What it issued stays in `issued/`, so that
one can tell which certificates to revoke.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import NameOID

from pki import profiles
from pki.errors import BadKeyFile, PkiError, Untrusted
from pki.files import write_whole
from pki.keys import PublicKey, generate, load_private, save_private
from pki.verification import verify_chain

CRL_VALID: Final = timedelta(days=30)


class NotOurs(PkiError):
    """A State's authority is asked for a certificate of another State's node, or of no node."""

    code = "pki.not-ours"


@dataclass(frozen=True, slots=True)
class StateAuthority:
    """One State's authority, opened: `ca.key`, `ca.crt`, `crl.pem` and `issued/` in `folder`."""

    folder: Path
    state: str
    certificate: x509.Certificate
    _key: EllipticCurvePrivateKey

    @classmethod
    def create(cls, folder: Path, state: str, passphrase: bytes | None = None) -> StateAuthority:
        """A new authority with an empty revocation list.

        Raises:
            NotOurs: that is no State's code.
            FileExistsError: there is one already.
        """
        if not re.fullmatch("[A-Z]{2}", state):
            raise NotOurs(f"{state[:20]} is not the code of a State: EE, EL, EU")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = generate("ca")
        assert isinstance(key, EllipticCurvePrivateKey)
        certificate = _self_signed(key, state)
        save_private(folder / "ca.key", key, passphrase)
        write_whole(folder / "ca.crt", pem(certificate))
        authority = cls(folder, state, certificate, key)
        authority.write_crl(())
        return authority

    @classmethod
    def open(cls, folder: Path, passphrase: bytes | None = None) -> StateAuthority:
        """The authority in a folder. Raises BadKeyFile."""
        key = load_private(folder / "ca.key", "ca", passphrase)
        assert isinstance(key, EllipticCurvePrivateKey)
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        except (OSError, ValueError) as error:
            raise BadKeyFile(f"{folder / 'ca.crt'} cannot be read") from error
        state = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)[:2]
        return cls(folder, state, certificate, key)

    def issue(self, purpose: str, node: str, public: PublicKey, hosts: Sequence[str] = ()) -> x509.Certificate:
        """A certificate for a node of this State.

        Args:
            purpose: tls, sign or encrypt.
            hosts: names and addresses a TLS certificate is for.

        Raises:
            NotOurs: the node is another State's.
        """
        if not re.fullmatch("[A-Z]{2}(-[A-Z0-9]{1,8})?", node) or node[:2] != self.state:
            raise NotOurs(f"the authority of {self.state} does not certify node {node[:20]}")
        builder = profiles.node_certificate(purpose, node, public, hosts, at=datetime.now(UTC))
        certificate = (
            builder.issuer_name(self.certificate.subject)
            .add_extension(self._key_identifier(), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        (self.folder / "issued").mkdir(exist_ok=True)
        write_whole(self.folder / "issued" / f"{node}-{purpose}-{certificate.serial_number:x}.crt", pem(certificate))
        return certificate

    def certify(self, purpose: str, node: str, public: PublicKey, hosts: Sequence[str] = ()) -> x509.Certificate:
        """The newest certificate issued for this key before, as long as it is good; else a new one, see `issue`.

        Good is one that says the same, is not revoked and has a third of its time left. Peers know a node by its very
        certificates, so a node that asks again for the same keys must not get others.

        Raises:
            NotOurs: the node is another State's.
        """
        at = datetime.now(UTC)
        good = [
            each
            for each in self.issued(node)
            if profiles.is_for(each, purpose, node, public, hosts) and self._is_good(each, at)
        ]
        newest = max(good, key=lambda each: each.not_valid_before_utc, default=None)
        return newest or self.issue(purpose, node, public, hosts)

    def issued(self, node: str) -> tuple[x509.Certificate, ...]:
        """Every certificate this authority issued to a node."""
        found = sorted((self.folder / "issued").glob("*.crt"))
        certificates = (x509.load_pem_x509_certificate(path.read_bytes()) for path in found)
        return tuple(certificate for certificate in certificates if profiles.node_of(certificate) == node)

    def crl(self) -> x509.CertificateRevocationList:
        """The newest revocation list this authority wrote."""
        return x509.load_pem_x509_crl(self.crl_bytes())

    def crl_bytes(self) -> bytes:
        """The newest revocation list in PEM, as the trust list carries it."""
        return (self.folder / "crl.pem").read_bytes()

    def revoke(self, *serials: int) -> x509.CertificateRevocationList:
        """Add certificates to the revocation list and write it anew; without any, only renew it."""
        known = {entry.serial_number: entry.revocation_date_utc for entry in self.crl()}
        for serial in serials:
            known.setdefault(serial, datetime.now(UTC))
        return self.write_crl(tuple(known.items()))

    def write_crl(self, revoked: Sequence[tuple[int, datetime]]) -> x509.CertificateRevocationList:
        """Sign a revocation list of these serial numbers, valid for 30 days."""
        at = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(at - profiles.BACKDATED)
            .next_update(at + CRL_VALID)
            .add_extension(x509.CRLNumber(int(at.timestamp() * 1000)), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )
        for serial, since in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
            builder = builder.add_revoked_certificate(entry)
        crl = builder.sign(self._key, hashes.SHA256())
        write_whole(self.folder / "crl.pem", crl.public_bytes(serialization.Encoding.PEM))
        return crl

    def _is_good(self, certificate: x509.Certificate, at: datetime) -> bool:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        try:
            verify_chain([certificate], [self.certificate], [self.crl()], at=at)
        except Untrusted:
            return False
        return end - at >= (end - start) / 3

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _self_signed(key: EllipticCurvePrivateKey, state: str) -> x509.Certificate:
    at = datetime.now(UTC)
    subject = profiles.name(f"{state} node authority", state)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - profiles.BACKDATED)
        .not_valid_after(at + profiles.CA_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(profiles.usage(issue=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
