"""Writes the corpus to begin with: `python -m tests.fuzz.seeds`. One small file for each shape worth knowing."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from node.federation import as4
from node.federation.as4 import names, payload, tokens
from node.federation.as4.canonical import b64

from .parties import AT, COMMON, PARTIES, VECTORS, Parties, split_entity

CORPUS = Path(__file__).parent / "corpus"
Seeds = Iterator[tuple[str, bytes]]

_SIGNATURE = re.compile(rb"(?<=<ds:SignatureValue>)[^<]+")
_DIGEST = re.compile(rb'(<ds:Reference URI="#(?:(?!</ds:Reference>).)*?<ds:DigestValue>)[^<]+')
_SIGNING_TOKEN = re.compile(rb'<wsse:BinarySecurityToken [^>]*wsu:Id="X509-[^>]*>[^<]*</wsse:BinarySecurityToken>')
_SIGNER = re.compile(rb"(?<=</ds:SignatureValue><ds:KeyInfo>).*?(?=</ds:KeyInfo></ds:Signature>)")
_TRANSFORM = b'<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#">'


def main() -> None:
    """Write them all. RSA encryption draws chance of its own: those files change each time."""
    for target, seeds in {"mime": _mime, "soap": _soap, "security": _security, "payload": _payload}.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds():
            (folder / name).write_bytes(data)


def _mime() -> Seeds:
    head = b'Content-Type: multipart/related; boundary="b"; type="application/soap+xml"; start="<root@b>"\r\n\r\n'
    root = b"--b\r\nContent-Type: application/soap+xml; charset=UTF-8\r\nContent-ID: <root@b>\r\n\r\n<a/>\r\n"
    part = b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n"
    yield "plain-soap", b"Content-Type: application/soap+xml; charset=UTF-8\r\n\r\n<a/>"
    yield "root-only", head + root + b"--b--"
    two = head + root + part + b"Content-ID: <a@b>\r\n\r\none\r\n" + part + b"Content-ID: <c@b>\r\n\r\n"
    yield "two-parts", two + b"two\r\n--b--\r\n"
    yield "longer-boundary", two + b"\r\n--bb\r\n--b--\r\n"
    yield "same-id-twice", head + root + 2 * (part + b"Content-ID: <a@b>\r\n\r\none\r\n") + b"--b--"
    yield "folded-header", head + root + part + b"Content-ID:\r\n <a@b>\r\n\r\none\r\n--b--\r\n"
    yield "base64", head + root + part.replace(b"binary", b"base64") + b"Content-ID: <a@b>\r\n\r\nb25l\r\n--b--"
    yield "no-closing-boundary", head + root + part + b"Content-ID: <a@b>\r\n\r\none"
    yield "preamble", head + b"hello\r\n" + root + b"--b--"
    yield "bare-line-feeds", head + (root + b"--b--").replace(b"\r\n", b"\n")
    yield "quoted-pair", head.replace(b'"b"', b'"\\b"') + b"\r\n" + root + b"--b--"
    yield "boundary-in-part", head + root + part + b"Content-ID: <a@b>\r\n\r\n--b--\r\n--b\r\n\r\n\r\n--b--"
    yield "six-parts", head + root + b"".join(part + b"Content-ID: <%d@b>\r\n\r\n\r\n" % n for n in range(6)) + b"--b--"


def _soap() -> Seeds:
    message = _built(COMMON).soap
    yield "message", _unsigned(message)
    yield "ping", _unsigned(_built(COMMON, parts=(), changes=_PING).soap)
    yield "receipt", _unsigned(COMMON.examples()[0][1])
    small = _unsigned(message)
    yield "no-security-header", re.sub(rb"<wsse:Security.*</wsse:Security>", b"", small)
    yield "other-zone", small.replace(b"09:15:02.417Z", b"09:15:02+02:00")
    yield "last-instant", small.replace(b"2026-11-23T09:15:02.417Z", b"9999-12-31T23:59:59-14:00")
    yield "cdata", small.replace(b"AT-2026-000123", b"<![CDATA[AT-2026]]>-1")
    yield "external-part", small.replace(b'href="cid:', b'href="http://example.org/')
    yield "doctype", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"
    yield "deep", small.replace(b"<env:Header>", b"<env:Header>" + b"<a>" * 30 + b"</a>" * 30)
    yield "utf-16", "<?xml version='1.0' encoding='utf-16'?><a/>".encode("utf-16")
    yield "payload-in-body", small.replace(b"</env:Body>", b"<a/></env:Body>")
    yield "block-to-be-understood", small.replace(b"<wsse:Security", b'<a env:mustUnderstand="1"/><wsse:Security')


def _unsigned(soap: bytes) -> bytes:
    """Without what only the other targets look into."""
    return re.sub(rb"(<wsse:Security[^>]*>).*(</wsse:Security>)", rb"\1\2", soap, flags=re.DOTALL)


def _security() -> Seeds:
    for parties in PARTIES.values():
        if parties.name not in as4.SUITES:
            yield _named(parties, "message", _with_older_key(parties, _askable(_entity(_built(parties)))))
            continue
        yield from _user_messages(parties)
        yield from _signals(parties)
        entity, receipt = parties.examples()[0]
        yield _named(parties, "genuine", entity)
        if parties is COMMON:  # the digests of something else are not signed
            yield _named(parties, "other-digests", _digestless(entity).replace(b"IMI-0001", b"IMI-0002"))
        yield _named(parties, "genuine-receipt", _answer(receipt))


def _named(parties: Parties, name: str, entity: bytes) -> tuple[str, bytes]:
    return f"{name}.{parties.name}", parties.name.encode() + b"\n" + entity


def _user_messages(parties: Parties) -> Seeds:
    """As built, to be signed anew. The common suite has every shape, the others what they alone have."""
    entity = _askable(_entity(_built(parties)))
    yield _named(parties, "message", entity)
    if parties.suite is as4.CURVES:
        yield _named(parties, "unknown-curve", re.sub(rb"(?<=urn:oid:)[0-9.]+", b"1.3.132.0.10", entity))
        off_curve = b64(b"\x04" + bytes(range(64))).encode()
        yield _named(parties, "point-off-curve", re.sub(rb"(?<=<dsig11:PublicKey>)[^<]+", off_curve, entity))
        return
    if parties.suite is as4.RSA:
        label = rb"\1<xenc:OAEPparams>AA==</xenc:OAEPparams>"
        labelled = re.sub(rb'(<xenc:EncryptionMethod Algorithm="[^"]*rsa-oaep">)', label, entity)
        yield _named(parties, "oaep-label", labelled)
        return
    yield from _encryptions(parties, entity)
    yield from _signers(parties, entity)
    yield _named(parties, "two-parts", _askable(_entity(_built(parties, parts=_TWO_PARTS))))
    listed = b'<ec:InclusiveNamespaces xmlns:ec="' + names.EXC_C14N.encode() + b'" PrefixList="env ds #default"/>'
    yield _named(parties, "inclusive-namespaces", entity.replace(_TRANSFORM, _TRANSFORM + listed))


def _encryptions(parties: Parties, entity: bytes) -> Seeds:
    yield _named(parties, "long-content-key", _askable(_entity(_built(parties, random=_chance(key_bytes=32)))))
    low_order = b64(bytes.fromhex("302a300506032b656e032100") + bytes(32)).encode()
    zero = re.sub(rb"(?<=<dsig11:DEREncodedKeyValue)([^>]*>)[^<]+", rb"\1" + low_order, entity)
    yield _named(parties, "zero-secret", zero)
    by_token = _built(parties, encryption_reference=as4.KeyReference.TOKEN)
    yield _named(parties, "recipient-by-token", _askable(_entity(by_token)))
    key = re.search(rb"<xenc:EncryptedKey .*</xenc:EncryptedKey>", entity)[0]
    yield _named(parties, "two-keys", entity.replace(key, key + key.replace(b'Id="EK', b'Id="other-EK')))
    ping = _askable(_entity(_built(parties, parts=(), changes=_PING)))
    yield _named(parties, "ping", ping)
    token = b"<wsse:BinarySecurityToken"
    yield _named(parties, "key-without-parts", ping.replace(token, key + token))
    short = re.sub(rb"(?s)(octet-stream\r\n.*?\r\n\r\n).*(?=\r\n--=_)", rb"\1short", entity)
    yield _named(parties, "short-ciphertext", short)


def _signers(parties: Parties, entity: bytes) -> Seeds:
    """One for each way to name the signer's certificate: the forms we write, and those we only read."""
    authority = x509.load_pem_x509_certificate((VECTORS / "keys" / "ca.crt").read_bytes())
    for form in set(as4.KeyReference) - {as4.KeyReference.TOKEN}:
        built = _built(parties, signature_reference=form, issuers=(authority,))
        yield _named(parties, f"signer-by-{form.value}", _askable(_entity(built)))
    certificate = parties.signers["c2"].certificate
    references = {
        "x509-ski": f"<ds:X509SKI>{b64(tokens.ski(certificate) or b'')}</ds:X509SKI>",
        "x509-certificate": f"<ds:X509Certificate>{b64(tokens.der(certificate))}</ds:X509Certificate>",
    }
    for name, reference in references.items():
        other = _SIGNING_TOKEN.sub(b"", _SIGNER.sub(f"<ds:X509Data>{reference}</ds:X509Data>".encode(), entity))
        yield _named(parties, f"signer-by-{name}", other)


def _with_older_key(parties: Parties, entity: bytes) -> bytes:
    """The content key encrypted as old peers do: OAEP with SHA-1."""
    sha1 = hashes.SHA1()
    wrapped = parties.decrypter.certificate.public_key().encrypt(
        _content_key(), padding.OAEP(padding.MGF1(sha1), sha1, None)
    )
    method = f'<xenc:EncryptionMethod Algorithm="{names.RSA_OAEP_MGF1P}"/>'.encode()
    changed = re.sub(rb'<xenc:EncryptionMethod Algorithm="[^"]*rsa-oaep">.*?</xenc:EncryptionMethod>', method, entity)
    return re.sub(rb"(?<=<xenc:CipherValue>)[^<]+", b64(wrapped).encode(), changed)


def _content_key() -> bytes:
    random = _chance()
    random(16)
    return random(16)


def _signals(parties: Parties) -> Seeds:
    verified, _ = parties.receive(*split_entity(parties.examples()[0][0]))
    about = {
        "ref_to_message_id": verified.header.message_id,
        "at": AT,
        "form": parties.receiving.signature_form,
        "signer": parties.signers["c3"],
        "random": _chance(),
    }
    receipt = as4.build_receipt(verified.references, message_id="receipt-1@c3.example", **about)
    yield _named(parties, "receipt", _askable(_entity(receipt)))
    if parties is COMMON:
        twice = _askable(_entity(receipt)).replace(b"</eb:Receipt>", b"</eb:Receipt><eb:Receipt></eb:Receipt>")
        yield _named(parties, "two-receipts", twice)
        error = _entity(as4.build_error(as4.NotAgreed, message_id="error-1@c3.example", **about))
        yield _named(parties, "error", _askable(error))
        yield _named(parties, "unsigned-error", re.sub(rb"<wsse:Security.*</wsse:Security>", b"", error))
        yield _named(parties, "duplicate", _askable(error).replace(b"EBMS:0010", b"EBMS:4001"))


def _payload() -> Seeds:
    document = (VECTORS / "payload.xml").read_bytes()
    for name, content in {
        "document": document,
        "empty": b"",
        "zeros": bytes(100_000),
        "bomb": bytes(8_000_000),
    }.items():
        yield f"gzip-{name}", b"application/gzip\n" + payload.compress(content)
    packed = payload.compress(document)
    yield "gzip-two-members", b"application/gzip\n" + packed * 2
    yield "gzip-cut", b"application/gzip\n" + packed[:-5]
    yield "xml", b"application/xml\n" + document
    utf_16 = "<?xml version='1.0' encoding='utf-16'?><a b='\u00e9'>\u00e9</a>".encode("utf-16")
    yield "xml-utf-16", b"text/xml\n" + utf_16
    yield "xml-latin-1", b"text/xml\n<?xml version='1.0' encoding='iso-8859-1'?><a>\xe9</a>"
    comments = b"<!-- a --><?b c?><a xmlns:x='urn:u' x:b='&#9;'><!-- d --><b xmlns=''/><![CDATA[<]]></a>"
    yield "xml-comments", b"image/svg+xml\n" + comments
    yield "xml-doctype", b"application/xml\n<!DOCTYPE a [<!ENTITY b 'c'><!ATTLIST a d CDATA 'e'>]><a>&b;</a>"
    lol = "".join(f"<!ENTITY a{n + 1} '{f'&a{n};' * 10}'>" for n in range(9))
    yield "xml-laughs", f"application/xml\n<!DOCTYPE a [<!ENTITY a0 'ha'>{lol}]><a b='&a9;'>&a9;</a>".encode()
    yield "xml-relative-namespace", b"application/xml\n<a xmlns='b/c'/>"
    yield "xml-deep", b"application/xml\n" + b"<a>" * 200 + b"</a>" * 200
    yield "text", b"text/plain; charset=UTF-8\na\rb\nc\r\nd\r\r\n"
    yield "json", b'application/json\n{"a": 1}'


def _chance(key_bytes: int | None = None):
    """The same octets each time; the second ones are the content key (the first are `building`'s token)."""
    numbers = iter(range(1, 1000))

    def draw(size: int) -> bytes:
        number = next(numbers)
        return hashlib.shake_128(number.to_bytes(2, "big")).digest((number == 2 and key_bytes) or size)

    return draw


_PING = {"service": names.TEST_SERVICE, "action": names.TEST_ACTION}
_TWO_PARTS = (
    as4.Part(content=b'{"a": 1}', mime_type="application/json", compressed=False),
    as4.Part(content=b"<a/>", mime_type="application/xml", compressed=False, charset="UTF-8"),
)


def _built(
    parties: Parties,
    *,
    parts: tuple[as4.Part, ...] | None = None,
    changes: dict[str, object] | None = None,
    random: Callable[[int], bytes] | None = None,
    **agreed,
) -> as4.Built:
    message = as4.UserMessage(
        message_id="1@c2.example",
        conversation_id="AT-2026-000123",
        sender="c2",
        recipient="c3",
        service="urn:example:imi:service",
        action="submitRequest",
        agreement_ref="urn:imi:agreement",
        timestamp=dt.datetime(2026, 11, 23, 9, 15, 2, 417_000, tzinfo=dt.UTC),
        properties={"originalSender": "C1", "finalRecipient": "C4"},
        parts=(as4.Part(content=b"<a/>", mime_type="application/xml"),) if parts is None else parts,
    )
    return as4.build(
        replace(message, **(changes or {})),
        agreement=replace(parties.sending, **agreed),
        signer=parties.signers["c2"],
        encrypt_for=parties.decrypter.certificate,
        random=random or _chance(),
    )


def _entity(built: as4.Built) -> bytes:
    return f"Content-Type: {built.content_type}\r\n\r\n".encode() + built.body


def _answer(receipt: bytes) -> bytes:
    return b"Content-Type: application/soap+xml; charset=UTF-8\r\n\r\n" + receipt


def _askable(entity: bytes) -> bytes:
    """With the digests and the signature to be filled in (see `resigning`)."""
    return _SIGNATURE.sub(b"{sign}", _digestless(entity))


def _digestless(entity: bytes) -> bytes:
    return re.sub(
        rb"<ds:SignedInfo.*?</ds:SignedInfo>",
        lambda info: _DIGEST.sub(rb"\1{digest}", info[0]),
        entity,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    main()
