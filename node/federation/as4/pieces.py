"""The fixed pieces our messages are made of, filled in by `str.format`.

Written by `signing`, `building`, `signals` and the suites; read by `own_form`. What is signed (eb:Messaging, env:Body, ds:SignedInfo) is in exclusive canonical form: see `canonical`.
"""

from __future__ import annotations

from node.federation.as4 import names

HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<env:Envelope xmlns:env="{names.ENV}"><env:Header>'
MESSAGING_OPEN = f'<eb:Messaging xmlns:eb="{names.EB}" xmlns:env="{names.ENV}" xmlns:wsu="{names.WSU}" wsu:Id="MSG-'
MESSAGING_REST = ' env:mustUnderstand="true">'
MESSAGING_CLOSE = "</eb:Messaging>"
SECURITY_OPEN = f'<wsse:Security xmlns:wsse="{names.WSSE}" xmlns:wsu="{names.WSU}" env:mustUnderstand="true">'
SECURITY_CLOSE = "</wsse:Security></env:Header>"
BODY = f'<env:Body xmlns:env="{names.ENV}" xmlns:wsu="{names.WSU}" wsu:Id="BODY-{{token}}"></env:Body>'
END = "</env:Envelope>"

TOKEN_OPEN = (
    f'<wsse:BinarySecurityToken EncodingType="{names.BASE64_BINARY}" ValueType="{{kind}}" wsu:Id="{{identifier}}">'
)
TOKEN_CLOSE = "</wsse:BinarySecurityToken>"  # noqa: S105 - markup
_REFERENCE_OPEN = "<wsse:SecurityTokenReference{says}><wsse:Reference"
TOKEN_REFERENCE = f'{_REFERENCE_OPEN} URI="#{{identifier}}" ValueType="{{kind}}"/></wsse:SecurityTokenReference>'
IDENTIFIER = (
    f'<wsse:SecurityTokenReference><wsse:KeyIdentifier EncodingType="{names.BASE64_BINARY}"'
    ' ValueType="{kind}">{value}</wsse:KeyIdentifier></wsse:SecurityTokenReference>'
)

SIGNATURE_OPEN = f'<ds:Signature xmlns:ds="{names.DS}" Id="SIG-{{token}}">'
SIGNED_INFO_OPEN = (
    f'<ds:SignedInfo xmlns:ds="{names.DS}">'
    f'<ds:CanonicalizationMethod Algorithm="{names.EXC_C14N}"></ds:CanonicalizationMethod>'
    '<ds:SignatureMethod Algorithm="{algorithm}"></ds:SignatureMethod>'
)
SIGNED_INFO_CLOSE = "</ds:SignedInfo>"
VALUE_OPEN = "<ds:SignatureValue>"
VALUE_CLOSE = "</ds:SignatureValue>"
KEY_INFO = "<ds:KeyInfo>{reference}</ds:KeyInfo></ds:Signature>"
REFERENCE = (
    '<ds:Reference{declare} URI="{uri}"><ds:Transforms>'
    '<ds:Transform Algorithm="{transform}">{inclusive}</ds:Transform></ds:Transforms>'
    '<ds:DigestMethod Algorithm="{method}"></ds:DigestMethod>'
    "<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"
)
DECLARE_DS = f' xmlns:ds="{names.DS}"'

ENCRYPTED_KEY_OPEN = f'<xenc:EncryptedKey xmlns:xenc="{names.XENC}" Id="EK-{{token}}">'
LIST_OPEN = "<xenc:ReferenceList>"
LISTED = '<xenc:DataReference URI="#ED-{token}-{number}"/>'
ENCRYPTED_KEY_CLOSE = "</xenc:ReferenceList></xenc:EncryptedKey>"
ENCRYPTED_DATA = (
    f'<xenc:EncryptedData xmlns:xenc="{names.XENC}" Id="ED-{{token}}-{{number}}"'
    f' MimeType="{{media}}" Type="{names.ATTACHMENT_CONTENT_ONLY}">'
    f'<xenc:EncryptionMethod Algorithm="{names.AES128_GCM}"/><ds:KeyInfo xmlns:ds="{names.DS}">'
    f'<wsse:SecurityTokenReference xmlns:wsse11="{names.WSSE11}" wsse11:TokenType="{names.ENCRYPTED_KEY_TOKEN}">'
    '<wsse:Reference URI="#EK-{token}"/></wsse:SecurityTokenReference></ds:KeyInfo>'
    '<xenc:CipherData><xenc:CipherReference URI="cid:{cid}"><xenc:Transforms>'
    f'<ds:Transform xmlns:ds="{names.DS}" Algorithm="{names.ATTACHMENT_CIPHERTEXT}"/></xenc:Transforms>'
    "</xenc:CipherReference></xenc:CipherData></xenc:EncryptedData>"
)

RECEIPT_OPEN = f'<eb:Receipt><ebbp:NonRepudiationInformation xmlns:ebbp="{names.EBBP}">'
RECEIPTED = "<ebbp:MessagePartNRInformation>{reference}</ebbp:MessagePartNRInformation>"
RECEIPT_CLOSE = "</ebbp:NonRepudiationInformation></eb:Receipt>"
