"""Signatures judged by signxml and xmlsec, content keys by xmlsec. Runs in the environment of interop-as4.lock.

    python xmldsig_peer.py signxml|xmlsec|unwrap < questions.json > answers.json

A list of questions in, a list of answers out; bytes are Base64, keys and certificates PEM.

    signxml, xmlsec   soap, certificate, at (ISO 8601), parts (octets of attachments by cid: URI, for signxml)
                      -> verified, why, signed (the URIs whose digest the library has computed itself)
    unwrap            soap, key -> content_key (empty if it cannot), by the algorithms the message declares
"""

import base64
import datetime as dt
import json
import sys
from functools import partial

from lxml import etree

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XENC = "{http://www.w3.org/2001/04/xmlenc#}"
WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
SIGNATURE = f"{{*}}Header/{WSSE}Security/{DS}Signature"


def by_signxml(soap, asked):
    import signxml

    parts = {uri: base64.b64decode(octets) for uri, octets in asked.get("parts", {}).items()}
    config = signxml.SignatureConfiguration(
        location=f"./{{http://www.w3.org/2003/05/soap-envelope}}Header/{WSSE}Security/",
        expect_references=True,
        signature_methods=frozenset({signxml.SignatureMethod.RSA_SHA256, signxml.SignatureMethod.ECDSA_SHA256}),
        digest_algorithms=frozenset({signxml.DigestAlgorithm.SHA256}),
        verification_time=dt.datetime.fromisoformat(asked["at"]),
    )
    try:
        signxml.XMLVerifier().verify(soap, x509_cert=asked["certificate"], uri_resolver=parts.get, expect_config=config)
    except signxml.exceptions.SignXMLException as refused:
        return refused
    return None


def by_xmlsec(soap, asked):
    import xmlsec

    root = etree.fromstring(soap)
    xmlsec.tree.add_ids(root, ["Id"])
    context = xmlsec.SignatureContext()
    try:
        context.key = xmlsec.Key.from_memory(asked["certificate"], xmlsec.constants.KeyDataFormatCertPem)
        context.verify(root.find(SIGNATURE))
    except xmlsec.Error as refused:
        return refused
    return None


def unwrap(asked):
    import xmlsec

    root = etree.fromstring(base64.b64decode(asked["soap"]))
    context = xmlsec.EncryptionContext()
    try:
        context.key = xmlsec.Key.from_memory(asked["key"], xmlsec.constants.KeyDataFormatPem)
        content_key = context.decrypt(root.find(f"{{*}}Header/{WSSE}Security/{XENC}EncryptedKey"))
    except xmlsec.Error:
        content_key = b""
    return {"content_key": base64.b64encode(content_key).decode()}


def verify(judge, asked):
    soap = base64.b64decode(asked["soap"])
    refused = judge(soap, asked)
    references = etree.fromstring(soap).iterfind(f"{SIGNATURE}/{DS}SignedInfo/{DS}Reference")
    return {
        "verified": refused is None,
        "why": "" if refused is None else f"{type(refused).__name__}: {refused}",
        "signed": [] if refused else [one.get("URI") for one in references],
    }


COMMANDS = {"signxml": partial(verify, by_signxml), "xmlsec": partial(verify, by_xmlsec), "unwrap": unwrap}

if __name__ == "__main__":
    command = COMMANDS[sys.argv[1]]
    json.dump([command(asked) for asked in json.load(sys.stdin)], sys.stdout)
