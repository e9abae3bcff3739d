"""python check_message.py FOLDER [KEY.pem]: is an exported message signed, received and (with the key) what was sent?"""

import base64
import hashlib
import re
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key
from lxml import etree


def octets(element, path):
    return base64.b64decode(element.find(f".//{path}").text)


def canonical(element):
    return etree.tostring(element, method="c14n", exclusive=True, with_tail=False)


def digests_in(element):
    references = element.iterfind(".//{*}Reference[{*}DigestValue]")
    return {one.get("URI"): octets(one, "{*}DigestValue") for one in references}


def check_signature(soap, certificate):
    info, value = soap.find(".//{*}SignedInfo"), octets(soap, "{*}SignatureValue")
    x509.load_pem_x509_certificate(certificate.read_bytes()).public_key().verify(value, canonical(info))
    for element in (soap.find("{*}Header/{*}Messaging"), soap.find("{*}Body")):
        (uri,) = ["#" + value for name, value in element.items() if name.endswith("}Id")]
        assert hashlib.sha256(canonical(element)).digest() == digests_in(info)[uri], uri
    return digests_in(info)


def check_attachments(soap, parts, digests, private):
    secret = private.exchange(load_der_public_key(octets(soap, "{*}DEREncodedKeyValue")))
    wrapping = HKDF(hashes.SHA256(), 16, octets(soap, "{*}Salt"), b"").derive(secret)
    cipher = AESGCM(aes_key_unwrap(wrapping, octets(soap, "{*}EncryptedKey//{*}CipherValue")))
    for headers, sealed in parts:
        uri = "cid:" + re.search(rb"Content-ID: <(.*)>", headers)[1].decode()
        assert hashlib.sha256(cipher.decrypt(sealed[:12], sealed[12:], None)).digest() == digests[uri], uri


folder, key = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
head, body = (folder / "request.http").read_bytes().split(b"\r\n\r\n", 1)
boundary = re.search(rb'boundary="([^"]*)"', head)
parts = [part[:-2] for part in body.split(b"--" + boundary[1])[1:-1]] if boundary else [b"\r\n\r\n" + body]
(_, root), *attached = [part.split(b"\r\n\r\n", 1) for part in parts]
soap, answer = etree.fromstring(root), etree.parse(folder / "receipt.xml").getroot()
digests = check_signature(soap, folder / "sender.crt")
check_signature(answer, folder / "recipient.crt")
assert digests_in(answer.find(".//{*}NonRepudiationInformation")) == digests, "the receipt is for other bytes"
if key:
    check_attachments(soap, attached, digests, load_pem_private_key(key.read_bytes(), None))
print(f"message and receipt hold; {len(attached)} attachments {'checked' if key else 'not checked: no key'}")
