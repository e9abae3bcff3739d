"""Example messages of another implementation, and the form of our own, byte for byte."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import mmap
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from node.federation import as4
from pki.signer import FileDecrypter

VECTORS = Path(__file__).parents[2] / "vectors"
AT = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
ALL = {entry["file"]: entry for entry in json.loads((VECTORS / "manifest.json").read_text(encoding="utf-8"))}
COMMON = [name for name, entry in ALL.items() if entry["profile"] == "2.0"]


def certificate(key_file: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((VECTORS / key_file).with_suffix(".crt").read_bytes())


class Key:
    """A key of the examples with its certificate, for signing or decrypting."""

    def __init__(self, key_file: str) -> None:
        self.certificate = certificate(key_file)
        self.key = load_pem_private_key((VECTORS / key_file).read_bytes(), None)

    def exchange(self, peer_public):
        return FileDecrypter(self.key).exchange(peer_public)

    def decrypt(self, wrapped, **hashes):
        return FileDecrypter(self.key).decrypt(wrapped, **hashes)

    def sign(self, data):
        return self.key.sign(data)


def entity(name: str) -> tuple[str, bytes]:
    head, body = (VECTORS / name).read_bytes().split(b"\r\n\r\n", 1)
    return head.decode().split(": ", 1)[1], body


def agreement(our: str, their: str, key_file: str) -> as4.Agreement:
    return as4.Agreement(
        our_party=our,
        their_party=their,
        suite=as4.COMMON,
        services=(as4.Service(name="urn:example:imi:service", actions=frozenset({"submitRequest"})),),
        agreement_ref="urn:imi:agreement",
        their_signing=(certificate(key_file),),
    )


def verified(name: str) -> as4.Verified:
    content_type, body = entity(name)
    agreed = agreement("c3", "c2", ALL[name]["sign_key"])
    package = as4.unpack(content_type, body, agreed.limits)
    return as4.verify(package, as4.parse_soap(package, agreed.limits), agreed, at=AT)


@pytest.mark.parametrize("name", COMMON)
def test_the_examples_are_read(name):
    decrypted = as4.decrypt(verified(name), [Key("keys/c2_x25519.key"), Key(ALL[name]["decrypt_key"])])
    message = as4.decompress(decrypted)
    assert message.message_id == ALL[name]["message_id"]
    assert message.properties["trackingIdentifier"] == "IMI-0001"
    assert [hashlib.sha256(part.content).hexdigest() for part in message.parts] == [ALL[name]["payload_sha256"]]
    assert message.parts[0].mime_type == "application/xml"


@pytest.mark.parametrize("name", COMMON)
def test_the_examples_receipts_fit_their_messages(name):
    receipt = (VECTORS / ALL[name]["receipt"]).read_bytes()
    signal = as4.read_signal("application/soap+xml", receipt, agreement("c2", "c3", ALL[name]["receipt_key"]), at=AT)
    assert isinstance(signal, as4.Receipt)
    as4.check_receipt(signal, message_id=ALL[name]["message_id"], sent=verified(name).references)


@pytest.mark.parametrize("name", [name for name in ALL if name not in COMMON])
def test_other_suites_are_refused_under_an_agreement_on_this_one(name):
    with pytest.raises(as4.PolicyBroken):
        verified(name)


def our_example() -> as4.Built:
    """A message of ours in which nothing is left to chance."""
    numbers = iter(range(1, 1000))
    message = as4.UserMessage(
        message_id="00000000@c2.example",
        conversation_id="AT-2026-000123",
        sender="c2",
        recipient="c3",
        service="urn:example:imi:service",
        action="submitRequest",
        agreement_ref="urn:imi:agreement",
        timestamp=dt.datetime(2026, 11, 23, 9, 15, 2, 417_000, tzinfo=dt.UTC),
        properties={"originalSender": "C1 & <sons>", "finalRecipient": "C4"},
        parts=(
            as4.Part(content=b'{"uncompressed": true}', mime_type="application/json", compressed=False),
            as4.Part(content=(VECTORS / "payload.xml").read_bytes(), mime_type="application/xml", charset="UTF-8"),
        ),
    )
    return as4.build(
        message,
        agreement=agreement("c2", "c3", "keys/c3_ed25519.key"),
        signer=Key("keys/c2_ed25519.key"),
        encrypt_for=certificate("keys/c3_x25519.key"),
        random=lambda size: hashlib.shake_128(next(numbers).to_bytes(2, "big")).digest(size),
    )


def test_our_own_form_stays_what_it_is():
    built = our_example()
    entity_bytes = f"Content-Type: {built.content_type}\r\n\r\n".encode() + built.body
    assert entity_bytes == (VECTORS / "ours.http").read_bytes()


def test_our_own_form_is_read_from_a_spool_file_too():
    content_type, _ = entity("ours.http")
    head = len(f"Content-Type: {content_type}\r\n\r\n")
    agreed = agreement("c3", "c2", "keys/c2_ed25519.key")
    with (VECTORS / "ours.http").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped.find(b"--=_") == head
        with tempfile.TemporaryFile() as spool:
            spool.write(mapped[head:])
            spool.flush()
            body = mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ)
            package = as4.unpack(content_type, body, agreed.limits)
            verified = as4.verify(package, as4.parse_soap(package, agreed.limits), agreed, at=AT)
            message = as4.decompress(as4.decrypt(verified, [Key("keys/c3_x25519.key")]))
    assert [part.mime_type for part in message.parts] == ["application/json", "application/xml"]
    assert message.parts[0].content == b'{"uncompressed": true}'
    assert message.properties == {"originalSender": "C1 & <sons>", "finalRecipient": "C4"}
