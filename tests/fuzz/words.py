"""The words of the wire, for mutations and for libFuzzer's dictionary."""

from __future__ import annotations

from node.federation.as4 import names

URIS = sorted(
    {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str) and ":" in value}
)

_ELEMENTS = {
    names.ENV: "Envelope Header Body",
    names.EB: """Messaging UserMessage SignalMessage MessageInfo Timestamp MessageId RefToMessageId PartyInfo From To
        PartyId Role CollaborationInfo AgreementRef Service Action ConversationId MessageProperties Property
        PayloadInfo PartInfo PartProperties Receipt Error Description""",
    names.EBBP: "NonRepudiationInformation MessagePartNRInformation",
    names.WSSE: "Security BinarySecurityToken SecurityTokenReference Reference KeyIdentifier UsernameToken",
    names.WSU: "Timestamp Created",
    names.DS: """Signature SignedInfo CanonicalizationMethod SignatureMethod Reference Transforms Transform DigestMethod
        DigestValue SignatureValue KeyInfo KeyValue X509Data X509IssuerSerial X509IssuerName X509SerialNumber X509SKI
        X509Certificate Object""",
    names.DSIG11: "DEREncodedKeyValue ECKeyValue NamedCurve PublicKey",
    names.DSIG_MORE: "HKDFParams PRF Salt KeyLength Info",
    names.XENC: """EncryptedKey EncryptedData EncryptionMethod AgreementMethod OriginatorKeyInfo RecipientKeyInfo
        CipherData CipherValue CipherReference Transforms ReferenceList DataReference OAEPparams""",
    names.XENC11: "KeyDerivationMethod ConcatKDFParams MGF",
    names.EXC_C14N: "InclusiveNamespaces",
}
TAGS = [f"{{{namespace}}}{local}" for namespace, locals_ in _ELEMENTS.items() for local in locals_.split()]
ATTRIBUTES = [
    *("Id", "ID", "id", f"{{{names.WSU}}}Id", f"{{{names.XML}}}id", f"{{{names.XML}}}lang", f"{{{names.XML}}}base"),
    *("URI", "Algorithm", "Type", "MimeType", "ValueType", "EncodingType", "PrefixList", "href", "name", "type"),
    *("severity", "errorCode", "shortDescription", "refToMessageInError", "category", "origin", "mpc", "pmode"),
    *(f"{{{names.ENV}}}{local}" for local in ("mustUnderstand", "role", "relay", "encodingStyle")),
    f"{{{names.WSSE11}}}TokenType",
]
TEXTS = [
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "16",
        "128",
        "true",
        "false",
        "failure",
        "\u0661",
        "x" * 300,
        "A" * 2000,
        "AA==",
        "MAA=",
    ),
    *("{digest}", "{sign}", "#default ds env", "cid:part", "cid:%61", "cid:", "#", "http://example.org/part"),
    *("2026-11-23T09:15:02.417Z", "2026-11-23", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-W47-1"),
    *("application/gzip", "application/xml", "text/plain; charset=UTF-16", "image/svg+xml", "application/octet-stream"),
    *("CN=Example CA", "CN=a+OU=b,C=EU", "C=EUR", "1.2.3=#6162", "CN=\\2c\\", "DC=\u00e9", "2.5.4.45=a", "9" * 64),
    *("urn:oid:1.2.840.10045.3.1.7", "urn:oid:1.3.132.0.35", "urn:oid:1.3.36.3.3.2.8.1.1.7"),
    *("EBMS:4001", "EBMS:0004", "c2", "c3", "a&b<c>\"'\r\n\t\u2028", "\U0001f600", "MIIB" + "A" * 60, "MIABAAAA"),
]

_MIME = [
    *(
        "\r\n",
        "\r\n\r\n",
        "--",
        "--b",
        "\r\n--b\r\n",
        "\r\n--b--\r\n",
        "Content-Type: ",
        "Content-ID: <a@b>",
        "<root@b>",
    ),
    *("Content-Transfer-Encoding: binary", "base64", "multipart/related", "application/soap+xml", "; charset=UTF-8"),
    *('; boundary="b"', '; type="application/soap+xml"', '; start="<root@b>"', "; start-info=", '\\"', "\r\n folded"),
]
_MARKUP = [
    "<![CDATA[",
    "]]>",
    "<!--",
    "<!DOCTYPE a [",
    "<!ENTITY b 'c'>",
    "<?xml",
    "&#xD;",
    "&lt;",
    "&a;",
    " xmlns:a='b'",
]
_GZIP = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", b"\x1f\x8b", b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"]
_BOMS = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"]

WORDS = [
    word
    for texts in (URIS, [tag.rpartition("}")[2] for tag in TAGS], [name.rpartition("}")[2] for name in ATTRIBUTES])
    for word in map(str.encode, texts)
]
WORDS += [text.encode() for text in (*TEXTS, *_MIME, *_MARKUP) if 0 < len(text) < 65]
WORDS += [*_GZIP, *_BOMS]


def dictionary() -> str:
    """The words in libFuzzer's format, one quoted string a line."""
    return "".join(f'"{_escaped(word)}"\n' for word in dict.fromkeys(WORDS))


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)
