"""Does a certificate lead to its State's authority, and is it not revoked? By OpenSSL's store, CRLs included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from OpenSSL import crypto

from pki.errors import Untrusted
from pki.profiles import fits, node_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who holds a verified certificate. `crl_expired`: its State must publish a new list; an alarm, not a refusal."""

    node: str
    certificate: x509.Certificate
    crl_expired: bool = False


def verify_chain(
    chain: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    crls: Sequence[x509.CertificateRevocationList],
    *,
    at: datetime,
    purpose: str | None = None,
) -> Identity:
    """Who holds `chain`, if it leads to an anchor and nothing in it was revoked at `at`.

    Args:
        chain: leaf first, the anchor left out.
        purpose: tls, sign or encrypt, if the certificate must have been issued for that.

    Raises:
        Untrusted: with one reason a fault.

    Does not check that the identity may send to us: see the node's protocol.
    Source: RFC 5280 section 6.1; eDelivery AS4 2.0, Common Profile.
    """
    if not chain:
        raise Untrusted("no certificate")
    leaf = chain[0]
    node = node_of(leaf)
    if not node:
        raise Untrusted("the certificate names no node")
    if purpose is not None and not fits(leaf, purpose):
        raise Untrusted(f"the certificate was not issued for this purpose ({purpose})")
    _verify(chain, anchors, None, at)
    crl = next((crl for crl in crls if crl.issuer == leaf.issuer), None)
    if crl is None:
        return Identity(node=node, certificate=leaf)
    last_valid = _last_valid(crl, at)
    if last_valid >= leaf.not_valid_before_utc:  # an older list cannot name it
        _verify(chain, anchors, crl, last_valid)
    return Identity(node=node, certificate=leaf, crl_expired=last_valid < at)


def _last_valid(crl: x509.CertificateRevocationList, at: datetime) -> datetime:
    """`at`, or the last second of an expired list: what it says still counts (architecture: an alarm, no refusal)."""
    end = crl.next_update_utc
    return at if end is None or end > at else end - timedelta(seconds=1)


def _verify(
    chain: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    crl: x509.CertificateRevocationList | None,
    at: datetime,
) -> None:
    store = crypto.X509Store()
    for anchor in anchors:
        store.add_cert(crypto.X509.from_cryptography(anchor))
    flags = crypto.X509StoreFlags.X509_STRICT
    if crl is not None:  # a list without entries is falsy
        store.add_crl(crl)
        flags |= crypto.X509StoreFlags.CRL_CHECK
    store.set_flags(flags)
    store.set_time(at)
    untrusted = [crypto.X509.from_cryptography(certificate) for certificate in chain[1:]]
    context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(chain[0]), untrusted)
    try:
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        raise Untrusted(str(error)) from error
