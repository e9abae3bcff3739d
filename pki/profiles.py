"""What stands in each kind of certificate.

All name the node by the URI `imi:node:<code>` in subjectAltName: identity is read there, never from the subject.
TLS certificates serve both directions. An X25519 key cannot sign its own request; its holder proves possession with
the node's signing key instead.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.keys import PublicKey

NODE_URI: Final = "imi:node:"
VALID: Final = {"tls": timedelta(days=397), "sign": timedelta(days=1095), "encrypt": timedelta(days=1095)}
CA_VALID: Final = timedelta(days=3650)
BACKDATED: Final = timedelta(hours=1)  # clocks of peers differ


def name(common: str, state: str) -> x509.Name:
    """A subject: what it is, and whose."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"IMI federation, {state}"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def usage(
    *, sign: bool = False, commit: bool = False, agree: bool = False, encipher: bool = False, issue: bool = False
) -> x509.KeyUsage:
    """KeyUsage with only the named bits."""
    return x509.KeyUsage(
        digital_signature=sign, content_commitment=commit, key_encipherment=encipher, data_encipherment=encipher,
        key_agreement=agree, key_cert_sign=issue, crl_sign=issue, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def node_certificate(
    purpose: str, node: str, public: PublicKey, hosts: Sequence[str], *, at: datetime
) -> x509.CertificateBuilder:
    """A certificate of a node, still without issuer: `purpose` is tls, sign or encrypt.

    Args:
        hosts: DNS names and IP addresses; only TLS certificates have them.
    """
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(f"{node} {purpose}", node[:2]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATED)
        .not_valid_after(at + VALID[purpose])
        .add_extension(x509.SubjectAlternativeName(_names(purpose, node, hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    match purpose:
        case "tls":
            both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            return builder.add_extension(usage(sign=True), critical=True).add_extension(
                x509.ExtendedKeyUsage(both), critical=False
            )
        case "sign":
            return builder.add_extension(usage(sign=True, commit=True), critical=True)
        case "encrypt":
            is_rsa = isinstance(public, RSAPublicKey)  # keys are encrypted for it, not agreed on with it
            return builder.add_extension(usage(agree=not is_rsa, encipher=is_rsa), critical=True)
        case _:
            raise ValueError(f"no certificate profile {purpose}")


def fits(certificate: x509.Certificate, purpose: str) -> bool:
    """Whether a certificate was issued for this purpose: a signing key opens no TLS connection, and the reverse."""
    usage_found, extended = _usage(certificate), _extended_usage(certificate)
    match purpose:
        case "tls":
            both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
            return usage_found is not None and usage_found.digital_signature and both <= extended
        case "sign":
            return usage_found is not None and usage_found.content_commitment and not extended
        case "encrypt":
            opens = usage_found is not None and (usage_found.key_agreement or usage_found.key_encipherment)
            return opens and not extended
        case _:
            raise ValueError(f"no certificate profile {purpose}")


def is_for(certificate: x509.Certificate, purpose: str, node: str, public: PublicKey, hosts: Sequence[str]) -> bool:
    """Whether a certificate says what `node_certificate` would say of this key, but for its dates."""
    same_names = set(_alternative_names(certificate)) == set(_names(purpose, node, hosts))
    return same_names and certificate.public_key() == public and fits(certificate, purpose)


def node_of(certificate: x509.Certificate) -> str:
    """The node's code in a certificate; empty if it names none or more than one."""
    found = (name.value for name in _alternative_names(certificate) if isinstance(name, x509.UniformResourceIdentifier))
    uris = [uri for uri in found if uri.startswith(NODE_URI)]
    return uris[0].removeprefix(NODE_URI) if len(uris) == 1 else ""


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and IP addresses a TLS certificate is for."""
    names = _alternative_names(certificate)
    return tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


def _alternative_names(certificate: x509.Certificate) -> Sequence[x509.GeneralName]:
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _extended_usage(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()


def _names(purpose: str, node: str, hosts: Sequence[str]) -> list[x509.GeneralName]:
    own = x509.UniformResourceIdentifier(NODE_URI + node)
    return [own, *(_host(host) for host in hosts)] if purpose == "tls" else [own]


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
