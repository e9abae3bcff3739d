"""Foreign implementations in Python: their environment, how they are asked, and parties as they know them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email import message_from_bytes
from functools import cache
from pathlib import Path
from types import MappingProxyType

import pybergshamra
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from lxml import etree

from node.federation import as4
from node.federation.as4 import names
from pki.signer import FileDecrypter
from tests.conftest import component_missing
from tests.federation.as4.conftest import NOW, Pair, Side

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOCK = ROOT / "requirements" / "interop-as4.lock"
ENVIRONMENT = ROOT / "build" / "interop" / "as4-env"
PYTHON = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / "python"
MAKING_SECONDS = 300
ANSWER_SECONDS = 60

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | X25519PrivateKey

PARTY_TYPE = "urn:fdc:peppol.eu:2017:identifiers:ap"
AGREEMENT = "urn:fdc:peppol.eu:2017:agreements:tia:ap_provider"
PROCESS = "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"
DOCUMENT_TYPE = "urn:example:imi::Request##urn:example:imi:request:1.0::1.0"
PARTICIPANT_TYPE = "iso6523-actorid-upis"
PARTICIPANTS = {"originalSender": "9915:at-authority", "finalRecipient": "9949:si-authority"}


def environment() -> Path:
    """The Python of the peers' environment, made when it is not there or its lock has changed."""
    if missing := _make():
        component_missing(missing)
    return PYTHON


@cache
def _make() -> str:
    """Why there is no environment; the empty string if there is one. Tried once in a run."""
    stamp, wanted = ENVIRONMENT / "made-from", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return ""
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    try:
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)],
            [str(PYTHON), *install, "--require-hashes", "--requirement", str(LOCK)],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=MAKING_SECONDS)
    except subprocess.TimeoutExpired:
        return f"the environment of the Python peers was not made within {MAKING_SECONDS} seconds"
    except subprocess.CalledProcessError as failed:
        return f"the environment of the Python peers cannot be made: {(failed.stderr or failed.stdout).strip()[-300:]}"
    stamp.write_text(wanted, encoding="ascii")
    return ""


def ask(script: str, command: str, questions: list[dict]) -> list[dict]:
    """What the script says in the peers' environment, one answer to each question."""
    done = subprocess.run(
        [str(environment()), "-I", str(HERE / script), command],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def private_pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Foreign(Side):
    """A party played by the package as4: one RSA key, which signs and decrypts."""

    def __init__(self, node: str, kind: str) -> None:
        super().__init__(node, kind)
        self.key: rsa.RSAPrivateKey = self.signer._key
        self.decrypter = FileDecrypter(self.key, self.signer.certificate)

    def send(self, recipient: Side, *payloads: bytes) -> list[dict]:
        """Messages as the package builds them: content_type, body, payload as it was before compression, and state."""
        them = {
            "id": recipient.party,
            "type": PARTY_TYPE,
            "certificate": pem(recipient.decrypter.certificate),
            "signs_with": pem(recipient.signer.certificate),
        }
        question = {
            "us": self._described(),
            "them": them,
            "sender": PARTICIPANTS["originalSender"],
            "recipient": PARTICIPANTS["finalRecipient"],
            "process": PROCESS,
            "document_type": DOCUMENT_TYPE,
        }
        sent = ask("as4_peer.py", "send", [question | {"payload": encoded(payload)} for payload in payloads])
        return [one | {name: base64.b64decode(one[name]) for name in ("body", "payload")} for one in sent]

    def check(self, sent: dict, *answers: bytes) -> list[dict]:
        """What the package makes of answers to a message it sent."""
        question = {"us": self._described(), "state": sent["state"]}
        return ask("as4_peer.py", "check", [question | {"body": encoded(answer)} for answer in answers])

    def receive(self, sender: Side, *entities: tuple[str, bytes], profile: str = "peppol") -> list[dict]:
        """What the package reads in messages and answers."""
        question = {"us": self._described(), "trusted": pem(sender.signer.certificate), "profile": profile}
        answers = ask(
            "as4_peer.py",
            "receive",
            [question | {"content_type": kind, "body": encoded(body)} for kind, body in entities],
        )
        for one in answers:
            one["answer"] = base64.b64decode(one["answer"])
            one["payloads"] = [base64.b64decode(payload) for payload in one["payloads"].values()]
        return answers

    def _described(self) -> dict:
        ours = {"certificate": pem(self.signer.certificate), "key": private_pem(self.key)}
        return {"id": self.party, "type": PARTY_TYPE, **ours}


@dataclass(frozen=True)
class Meeting(Pair):
    """Ours (AT) and a party played by as4 (SI). Both directions are agreed in Peppol's words, which as4 insists on."""

    si: Foreign

    def agreement(self, **changes) -> as4.Agreement:
        """Ours with the foreign party."""
        agreed = self.at.agreement_with(
            self.si,
            our_party_type=PARTY_TYPE,
            their_party_type=PARTY_TYPE,
            services=(
                as4.Service(
                    name=PROCESS, type="cenbii-procid-ubl", actions=frozenset({f"busdox-docid-qns::{DOCUMENT_TYPE}"})
                ),
            ),
            agreement_ref=AGREEMENT,
            property_types=dict.fromkeys(PARTICIPANTS, PARTICIPANT_TYPE),
            encryption_reference=as4.KeyReference.TOKEN,  # the package reads no other reference to a key
        )
        return replace(agreed, **changes)

    def peppol_message(self, payload: bytes, **changes) -> as4.UserMessage:
        values = {
            "service": PROCESS,
            "action": f"busdox-docid-qns::{DOCUMENT_TYPE}",
            "agreement_ref": AGREEMENT,
            "properties": PARTICIPANTS,
        }
        return self.message(as4.Part(content=payload, mime_type="application/xml"), **(values | changes))


@cache
def meeting(bits: int) -> Meeting:
    kind = f"1.15 {bits}"
    return Meeting(Side("AT", kind), Foreign("SI", kind))


def sbd(document: bytes) -> bytes:
    """The document in a StandardBusinessDocument, as Peppol wants it."""
    namespace = "http://www.unece.org/cefact/namespaces/StandardBusinessDocumentHeader"
    sender, recipient = PARTICIPANTS.values()

    def scope(kind: str, value: str) -> str:
        return f"<Scope><Type>{kind}</Type><InstanceIdentifier>{value}</InstanceIdentifier></Scope>"

    return (
        (
            f'<StandardBusinessDocument xmlns="{namespace}"><StandardBusinessDocumentHeader>'
            "<HeaderVersion>1.0</HeaderVersion>"
            f'<Sender><Identifier Authority="{PARTICIPANT_TYPE}">{sender}</Identifier></Sender>'
            f'<Receiver><Identifier Authority="{PARTICIPANT_TYPE}">{recipient}</Identifier></Receiver>'
            "<DocumentIdentification><Standard>urn:example:imi</Standard><TypeVersion>1.0</TypeVersion>"
            "<InstanceIdentifier>1</InstanceIdentifier><Type>Request</Type>"
            "<CreationDateAndTime>2026-11-24T09:30:00Z</CreationDateAndTime></DocumentIdentification>"
            f"<BusinessScope>{scope('DOCUMENTID', DOCUMENT_TYPE)}{scope('PROCESSID', PROCESS)}{scope('COUNTRY_C1', 'AT')}"
            "</BusinessScope></StandardBusinessDocumentHeader>"
        ).encode()
        + document
        + b"</StandardBusinessDocument>"
    )


@dataclass(frozen=True)
class Judgement:
    """What a library says of a signature. `signed` are the URIs whose digest it has computed itself."""

    verified: bool
    why: str
    signed: frozenset[str]


def judge(
    library: str, soap: bytes, certificate: x509.Certificate, parts: Mapping[str, bytes] = MappingProxyType({})
) -> Judgement:
    """The envelope's signature judged by "pybergshamra", "signxml" or "xmlsec".

    `parts` are the octets of attachments by `cid:` URI, which only signxml takes.
    """
    if library == "pybergshamra":
        return _by_pybergshamra(soap, certificate)
    question = {
        "soap": encoded(soap),
        "certificate": pem(certificate),
        "at": NOW.isoformat(),
        "parts": {uri: encoded(octets) for uri, octets in parts.items()},
    }
    (said,) = ask("xmldsig_peer.py", library, [question])
    return Judgement(said["verified"], said["why"], frozenset(said["signed"]))


def _by_pybergshamra(soap: bytes, certificate: x509.Certificate) -> Judgement:
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    manager = pybergshamra.KeysManager()
    try:
        manager.add_key(pybergshamra.load_spki_der(spki))
        # As in tests/federation/as4/test_canonical.py: not SAML's rules of place, and attachments are out of sight.
        context = pybergshamra.DsigContext(manager, strict_verification=False, require_reference_digests=False)
        result = pybergshamra.verify(context, soap.decode())
    except pybergshamra.BergshamraError as refused:
        return Judgement(False, str(refused), frozenset())
    references = result.references or []
    return Judgement(bool(result), result.reason or "", frozenset(one.uri for one in references if one.digest_verified))


def signed_octets(built: as4.Built, key: rsa.RSAPrivateKey) -> dict[str, bytes]:
    """What the attachments of a 1.15 message were when they were signed, by `cid:` URI; read without code of ours."""
    wrapped = base64.b64decode(etree.fromstring(built.soap).find(f".//{{*}}EncryptedKey/{_CIPHER_VALUE}").text)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return _opened(built, key.decrypt(wrapped, oaep))


def octets_by_xmlsec(built: as4.Built, key: rsa.RSAPrivateKey) -> dict[str, bytes]:
    """As `signed_octets`, but the content key is unwrapped by xmlsec. Empty if it cannot."""
    (said,) = ask("xmldsig_peer.py", "unwrap", [{"soap": encoded(built.soap), "key": private_pem(key)}])
    content_key = base64.b64decode(said["content_key"])
    return _opened(built, content_key) if content_key else {}


def _opened(built: as4.Built, content_key: bytes) -> dict[str, bytes]:
    cipher = AESGCM(content_key)
    return {uri: cipher.decrypt(part[:12], part[12:], None) for uri, part in _attached(built).items()}


def _attached(built: as4.Built) -> dict[str, bytes]:
    """The attachments as they travel, by `cid:` URI; taken apart by the standard library."""
    entity = b"Content-Type: " + built.content_type.encode() + b"\r\n\r\n" + built.body
    _, *attached = message_from_bytes(entity).get_payload()
    return {"cid:" + one["Content-ID"].strip("<>"): one.get_payload(decode=True) for one in attached}


def octets_by_pybergshamra(built: as4.Built, key: PrivateKey) -> bytes:
    """What the one attachment was when it was signed, decrypted by pybergshamra.

    It follows neither `cid:` nor SecurityTokenReference: an EncryptedData with everything inside is made of what travels.
    Three elements of a 2.0 key agreement are put as it reads them, their values untouched: HKDF's Salt in a child
    Specified, KeyLength in bits, and an X25519 key as ECKeyValue.
    """
    (sealed,) = _attached(built).values()
    wrapped = etree.fromstring(built.soap).find(".//{*}EncryptedKey")
    wrapped.remove(wrapped.find("{*}ReferenceList"))
    for element, write in ((".//{*}Salt", _specified), (".//{*}KeyLength", _in_bits), (_SPKI, _as_ec_key)):
        if (found := wrapped.find(element)) is not None:
            write(found)
    document = _EMBEDDED.format(key=etree.tostring(wrapped, encoding="unicode"), sealed=encoded(sealed))
    manager = pybergshamra.KeysManager()
    manager.add_key(_load(key))
    return pybergshamra.decrypt_to_bytes(pybergshamra.EncContext(manager), document)


def _specified(salt: etree._Element) -> None:
    etree.SubElement(salt, salt.tag.replace("Salt", "Specified")).text = salt.text
    salt.text = None


def _in_bits(length: etree._Element) -> None:
    length.text = str(8 * int(length.text))


def _as_ec_key(spki: etree._Element) -> None:
    value = etree.Element(f"{{{names.DS}}}KeyValue")
    key = etree.SubElement(value, f"{{{names.DSIG11}}}ECKeyValue")
    etree.SubElement(key, f"{{{names.DSIG11}}}NamedCurve", URI="urn:oid:1.3.101.110")
    etree.SubElement(key, f"{{{names.DSIG11}}}PublicKey").text = encoded(base64.b64decode(spki.text)[-32:])
    spki.getparent().replace(spki, value)


def _load(key: PrivateKey) -> pybergshamra.Key:
    text = private_pem(key).encode()
    match key:
        case rsa.RSAPrivateKey():
            return pybergshamra.load_rsa_private_pem(text)
        case ec.EllipticCurvePrivateKey():
            by_size = {
                256: pybergshamra.load_ec_p256_private_pem,
                384: pybergshamra.load_ec_p384_private_pem,
                521: pybergshamra.load_ec_p521_private_pem,
            }
            return by_size[key.curve.key_size](text)
        case _:
            return pybergshamra.load_x25519_private_raw(key.private_bytes_raw())


_CIPHER_VALUE = "{*}CipherData/{*}CipherValue"
_SPKI = ".//{*}OriginatorKeyInfo/{*}DEREncodedKeyValue"
_EMBEDDED = (
    f'<xenc:EncryptedData xmlns:xenc="{names.XENC}"><xenc:EncryptionMethod Algorithm="{names.AES128_GCM}"/>'
    f'<ds:KeyInfo xmlns:ds="{names.DS}">{{key}}</ds:KeyInfo>'
    "<xenc:CipherData><xenc:CipherValue>{sealed}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>"
)
