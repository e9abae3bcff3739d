"""Signatures judged by signxml and xmlsec. Runs in the environment of requirements/interop-as4.lock.

    python xmldsig_peer.py signxml|xmlsec < questions.json > answers.json

A list of questions in, a list of answers out. A question holds `soap` (Base64), `certificate` (PEM), `at` (ISO 8601)
and, for signxml, `parts`: the octets of attachments by `cid:` URI (Base64). An answer: `verified`, `why`, and the URIs
`signed`, those whose digest the library has computed itself.
"""

import base64
import datetime as dt
import json
import sys

from lxml import etree

DS = "{http://www.w3.org/2000/09/xmldsig#}"
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


def verify(judge, asked):
    soap = base64.b64decode(asked["soap"])
    refused = judge(soap, asked)
    references = etree.fromstring(soap).iterfind(f"{SIGNATURE}/{DS}SignedInfo/{DS}Reference")
    return {
        "verified": refused is None,
        "why": "" if refused is None else f"{type(refused).__name__}: {refused}",
        "signed": [] if refused else [one.get("URI") for one in references],
    }


if __name__ == "__main__":
    judge = {"signxml": by_signxml, "xmlsec": by_xmlsec}[sys.argv[1]]
    json.dump([verify(judge, asked) for asked in json.load(sys.stdin)], sys.stdout)
