"""The two parties of the examples under each suite: c2 sends, c3 receives and answers. Their keys protect nothing."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from node.federation import as4
from node.federation.as4.key_transport import OLDER, RSA
from pki.signer import FileDecrypter, FileMessageSigner, FileSigner

VECTORS = Path(__file__).parents[1] / "vectors"
AT = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
LIMITS = as4.Limits(entity=256 * 1024, soap=128 * 1024, parts=5, decompressed=4 * 1024 * 1024)

# By suite: the signing keys, the encryption keys, and the example messages made with them.
_KEYS = {
    "as4-2.0-ed25519-x25519": ("ed25519", "x25519", "2.0_ed25519"),
    "as4-2.0-ecc": ("p256s", "p256e", "2.0-ecc_p256s"),
    "as4-1.15-rsa": ("rsa2048", "rsa2048", "1.15_rsa2048"),
}


def _load(name: str):
    path = VECTORS / "keys" / f"{name}.key"
    certificate = x509.load_pem_x509_certificate(path.with_suffix(".crt").read_bytes())
    return load_pem_private_key(path.read_bytes(), None), certificate


def _signer(name: str) -> as4.Signer:
    key, certificate = _load(name)
    return (FileSigner if isinstance(key, Ed25519PrivateKey) else FileMessageSigner)(key, certificate)


@dataclass(frozen=True)
class Parties:
    """c2 and c3 under one suite."""

    name: str
    suite: as4.Suite

    @cached_property
    def signers(self) -> dict[str, as4.Signer]:
        return {party: _signer(f"{party}_{_KEYS[self.suite.name][0]}") for party in ("c2", "c3")}

    @cached_property
    def decrypter(self) -> as4.Decrypter:
        """c3's."""
        return FileDecrypter(*_load(f"c3_{_KEYS[self.suite.name][1]}"))

    def agreement(self, our: str, their: str) -> as4.Agreement:
        """As `our` side keeps it."""
        return as4.Agreement(
            our_party=our,
            their_party=their,
            suite=self.suite,
            services=(as4.Service(name="urn:example:imi:service", actions=frozenset({"submitRequest"})),),
            agreement_ref="urn:imi:agreement",
            their_signing=(self.signers[their].certificate,),
            limits=LIMITS,
        )

    @cached_property
    def receiving(self) -> as4.Agreement:
        """c3's agreement with c2."""
        return self.agreement("c3", "c2")

    @cached_property
    def sending(self) -> as4.Agreement:
        """c2's agreement with c3."""
        return self.agreement("c2", "c3")

    def receive(self, content_type: str, body: bytes) -> tuple[as4.Verified, as4.UserMessage]:
        """What c3 makes of an entity, all the way."""
        package = as4.unpack(content_type, body, LIMITS)
        verified = as4.verify(package, as4.parse_soap(package, LIMITS), self.receiving, at=AT)
        return verified, as4.decompress(as4.decrypt(verified, [self.decrypter]))

    def read_answer(self, content_type: str, body: bytes) -> as4.Signal:
        """What c2 makes of an answer."""
        return as4.read_signal(content_type, body, self.sending, at=AT)

    def examples(self) -> list[tuple[bytes, bytes]]:
        """The example messages of this suite (HTTP entities) and their receipts (envelopes)."""
        prefix = _KEYS[self.suite.name][2]
        rows = json.loads((VECTORS / "manifest.json").read_text(encoding="utf-8"))
        return [
            ((VECTORS / row["file"]).read_bytes(), (VECTORS / row["receipt"]).read_bytes())
            for row in rows
            if row["file"].startswith(prefix)
        ]

    @cached_property
    def genuine(self) -> list[as4.UserMessage]:
        """The messages c2 really signed."""
        return [self.receive(*split_entity(entity))[1] for entity, _ in self.examples()]

    @cached_property
    def genuine_receipts(self) -> list[as4.Signal]:
        """The receipts c3 really signed."""
        return [self.read_answer("application/soap+xml", receipt) for _, receipt in self.examples()]


def split_entity(entity: bytes) -> tuple[str, bytes]:
    """Content type and body of an HTTP entity; the type is decoded as the web server does it."""
    head, _, body = entity.partition(b"\r\n\r\n")
    return head.removeprefix(b"Content-Type: ").decode("utf-8", "surrogateescape"), body


# Besides the suites as they are, RSA for a peer that may use older algorithms.
_OLDER = {f"{RSA.name}-older": RSA.accepting(OLDER)}
PARTIES = {name: Parties(name, suite) for name, suite in (as4.SUITES | _OLDER).items()}
COMMON = PARTIES[as4.COMMON.name]
