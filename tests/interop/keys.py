"""Keys of two parties: as objects for our side, as files for phase4.

Every key is made for the run and protects nothing after it. Each party has an authority of its own, which issues its
three certificates: message signature, message encryption, TLS.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from node.federation import as4
from pki.authority import StateAuthority, pem
from pki.node_keys import Family
from pki.signer import FileDecrypter, FileMessageSigner, FileSigner

PASSWORD = "interop"


def message_keys(suite: as4.Suite) -> tuple[Any, Any]:
    """Fresh signing and encryption keys of the kinds `suite` needs."""
    curve, rsa_3072 = partial(ec.generate_private_key, ec.SECP256R1()), partial(rsa.generate_private_key, 65537, 3072)
    kinds = {
        as4.COMMON.name: (Ed25519PrivateKey.generate, X25519PrivateKey.generate),
        as4.CURVES.name: (curve, curve),
        as4.RSA.name: (rsa_3072, rsa_3072),
    }
    sign, encrypt = kinds[suite.name]
    return sign(), encrypt()


class Identity:
    """One party: its authority, its keys with their certificates, and all of it as files in `folder`.

    Files: `authority.pem`; `sign`, `encrypt` and `tls`, each as `.pem` (certificate), `.key` and `.p12` (PASSWORD).
    """

    def __init__(self, node: str, suite: as4.Suite, folder: Path) -> None:
        self.node, self.folder = node, folder
        folder.mkdir(parents=True)
        self._authority_key = ec.generate_private_key(ec.SECP256R1())
        self._authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Authority of {node}")])
        self._write("authority.pem", self._issue(self._authority, self._authority_key.public_key(), authority=True))
        sign, encrypt = message_keys(suite)
        signer = FileSigner if isinstance(sign, Ed25519PrivateKey) else FileMessageSigner
        self.signer = signer(sign, self._certify("sign", sign))
        self.decrypter = FileDecrypter(encrypt, self._certify("encrypt", encrypt))
        self._certify("tls", ec.generate_private_key(ec.SECP256R1()))

    def _certify(self, use: str, key: Any) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self.node} {use}")])
        certificate = self._issue(subject, key.public_key(), tls=use == "tls")
        self._write(f"{use}.pem", certificate)
        (self.folder / f"{use}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        _store(self.folder / use, key=self.folder / f"{use}.key")
        return certificate

    def _issue(
        self, subject: x509.Name, public_key: Any, *, authority: bool = False, tls: bool = False
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._authority)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._authority_key.public_key()), critical=False
            )
        )
        if authority:
            builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        if tls:
            local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(local, critical=False)
        return builder.sign(self._authority_key, SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> None:
        (self.folder / name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@dataclass(frozen=True)
class ListedNode:
    """A node of a trust list as the files phase4 reads: for a phase4 in the node's place, or as the node's peer."""

    node: str
    folder: Path

    @classmethod
    def of(cls, folder: Path, node: str, family: Family | None = None) -> ListedNode:
        """A node that tests.delivery.harness prepared in `folder`, with its keys of that family."""
        keys, target = folder / node / "keys", folder / node / "phase4"
        target.mkdir()
        (target / "authority.pem").write_bytes(pem(StateAuthority.open(folder / "states" / node[:2]).certificate))
        for use in ("sign", "encrypt", "tls"):
            name = f"{use}-{family}" if family and use != "tls" else use
            (target / f"{use}.pem").write_bytes((keys / f"{name}.crt").read_bytes())
            _store(target / use, key=keys / f"{name}.key")
        return cls(node, target)


def _store(path: Path, *, key: Path) -> None:
    """`path`.p12 of `path`.pem and its key: by the program, as the library writes no X25519 key in PKCS#12."""
    command = ["openssl", "pkcs12", "-export", "-inkey", str(key), "-in", f"{path}.pem", "-name", "key"]
    target = ["-out", f"{path}.p12", "-passout", f"pass:{PASSWORD}"]
    subprocess.run([*command, *target], check=True, capture_output=True, timeout=30)


def _usage(**uses: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**(dict.fromkeys(names, False) | uses))
