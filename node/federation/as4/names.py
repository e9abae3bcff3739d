"""The URIs of the wire: namespaces, algorithms, token types, fixed values.

Sources: ebMS 3.0 Core, AS4 1.0, WS-Security 1.1.1 with its SwA profile, XML Signature 1.1, XML Encryption 1.1,
RFC 9231 and its successor, eDelivery AS4 2.0.
"""

from __future__ import annotations

ENV = "http://www.w3.org/2003/05/soap-envelope"
EB = "http://docs.oasis-open.org/ebxml-msg/ebms/v3.0/ns/core/200704/"
EBBP = "http://docs.oasis-open.org/ebxml-bp/ebbp-signals-2.0"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSSE11 = "http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
DS = "http://www.w3.org/2000/09/xmldsig#"
DSIG11 = "http://www.w3.org/2009/xmldsig11#"
DSIG_MORE = "http://www.w3.org/2021/04/xmldsig-more#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
XENC11 = "http://www.w3.org/2009/xmlenc11#"
XML = "http://www.w3.org/XML/1998/namespace"

EXC_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
SHA1 = "http://www.w3.org/2000/09/xmldsig#sha1"
ED25519 = "http://www.w3.org/2021/04/xmldsig-more#eddsa-ed25519"
X25519 = "http://www.w3.org/2021/04/xmldsig-more#x25519"
HKDF = "http://www.w3.org/2021/04/xmldsig-more#hkdf"
HMAC_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"
ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
ECDH_ES = "http://www.w3.org/2009/xmlenc11#ECDH-ES"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
RSA_SHA384 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384"
RSA_SHA512 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"
RSA_OAEP = "http://www.w3.org/2009/xmlenc11#rsa-oaep"
RSA_OAEP_MGF1P = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"  # the old one: MGF1 with SHA-1, always
MGF1_SHA1 = "http://www.w3.org/2009/xmlenc11#mgf1sha1"
MGF1_SHA256 = "http://www.w3.org/2009/xmlenc11#mgf1sha256"
KW_AES128 = "http://www.w3.org/2001/04/xmlenc#kw-aes128"
AES128_GCM = "http://www.w3.org/2009/xmlenc11#aes128-gcm"

_SWA = "http://docs.oasis-open.org/wss/oasis-wss-SwAProfile-1.1#"
ATTACHMENT_SIGNATURE = _SWA + "Attachment-Content-Signature-Transform"
ATTACHMENT_CIPHERTEXT = _SWA + "Attachment-Ciphertext-Transform"
ATTACHMENT_CONTENT_ONLY = _SWA + "Attachment-Content-Only"

_TOKEN = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#"  # noqa: S105 - a URI
X509V3 = _TOKEN + "X509v3"
X509_PKI_PATH = _TOKEN + "X509PKIPathv1"
X509_SKI = _TOKEN + "X509SubjectKeyIdentifier"
THUMBPRINT_SHA1 = "http://docs.oasis-open.org/wss/oasis-wss-soap-message-security-1.1#ThumbprintSHA1"
ENCRYPTED_KEY_TOKEN = "http://docs.oasis-open.org/wss/oasis-wss-soap-message-security-1.1#EncryptedKey"  # noqa: S105 - a URI
BASE64_BINARY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"

INITIATOR = EB + "initiator"
RESPONDER = EB + "responder"
TEST_SERVICE = EB + "service"
TEST_ACTION = EB + "test"
UNREGISTERED = "urn:oasis:names:tc:ebcore:partyid-type:unregistered"

SERVICE = "urn:imi:service:case"  # the one service of this federation; the step stays in the payload
GZIP = "application/gzip"
SOAP = "application/soap+xml"
