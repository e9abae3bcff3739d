"""The parts of an envelope that user messages and signals share: Messaging, Body, Signature, written to be signed.

Each function returns text in exclusive canonical form where it is signed (`eb:Messaging`, `env:Body`,
`ds:SignedInfo`), so that no canonicalisation is needed when building.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from node.federation.as4 import names, tokens
from node.federation.as4.canonical import attribute, b64, sha256
from node.federation.as4.model import Reference, SignatureForm, Signer

_MESSAGING_OPEN = f'<eb:Messaging xmlns:eb="{names.EB}" xmlns:env="{names.ENV}" xmlns:wsu="{names.WSU}" wsu:Id="MSG-'
_BODY_OPEN = f'<env:Body xmlns:env="{names.ENV}" xmlns:wsu="{names.WSU}" wsu:Id="BODY-'
_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<env:Envelope xmlns:env="{names.ENV}"><env:Header>'
_SECURITY_OPEN = f'<wsse:Security xmlns:wsse="{names.WSSE}" xmlns:wsu="{names.WSU}" env:mustUnderstand="true">'


def envelope(
    unit: str, *, token: str, security: str, attached: Sequence[Reference], form: SignatureForm, signer: Signer
) -> tuple[bytes, tuple[Reference, ...]]:
    """The signed SOAP envelope around `unit` (canonical content of eb:Messaging) and the references it signs.

    `security` is what precedes the signing token in the security header: receivers work in document order, so
    encrypted keys and data must come before the signature. `attached` are references to attachments.
    """
    messaging = f'{_MESSAGING_OPEN}{token}" env:mustUnderstand="true">{unit}</eb:Messaging>'
    body = f'{_BODY_OPEN}{token}"></env:Body>'
    references = (
        Reference(uri=f"#MSG-{token}", digest=sha256(messaging.encode())),
        Reference(uri=f"#BODY-{token}", digest=sha256(body.encode())),
        *attached,
    )
    named = tokens.write_named(_certificate(signer, form), form.reference, f"X509-{token}", form.issuers)
    signed = _signature(references, token, form, signer, named.reference)
    soap = (
        f"{_HEAD}{messaging}{_SECURITY_OPEN}{security}{named.token}{signed}"
        f"</wsse:Security></env:Header>{body}</env:Envelope>"
    )
    return soap.encode(), references


def _certificate(signer: Signer, form: SignatureForm) -> x509.Certificate:
    if signer.certificate is None or not form.suite.can_sign(signer.certificate):
        raise ValueError(f"the signer has no certificate for {form.suite.name}")
    return signer.certificate


def _signature(
    references: Sequence[Reference], token: str, form: SignatureForm, signer: Signer, key_reference: str
) -> str:
    info = (
        f'<ds:SignedInfo xmlns:ds="{names.DS}">'
        f'<ds:CanonicalizationMethod Algorithm="{names.EXC_C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{form.suite.signature_algorithm}"></ds:SignatureMethod>'
        f"{''.join(map(write_reference, references))}</ds:SignedInfo>"
    )
    return (
        f'<ds:Signature xmlns:ds="{names.DS}" Id="SIG-{token}">{info}'
        f"<ds:SignatureValue>{b64(signer.sign(info.encode()))}</ds:SignatureValue>"
        f"<ds:KeyInfo>{key_reference}</ds:KeyInfo></ds:Signature>"
    )


def write_reference(reference: Reference, declare: str = "") -> str:
    """A `ds:Reference` in canonical form; `declare` is a declaration of the ds prefix where none is in scope."""
    inclusive = (
        f'<ec:InclusiveNamespaces xmlns:ec="{names.EXC_C14N}" PrefixList="{attribute(" ".join(reference.prefixes))}">'
        "</ec:InclusiveNamespaces>"
        if reference.prefixes
        else ""
    )
    return (
        f'<ds:Reference{declare} URI="{attribute(reference.uri)}"><ds:Transforms>'
        f'<ds:Transform Algorithm="{reference.transform}">{inclusive}</ds:Transform></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{reference.digest_method}"></ds:DigestMethod>'
        f"<ds:DigestValue>{b64(reference.digest)}</ds:DigestValue></ds:Reference>"
    )


def write_timestamp_and_id(timestamp: str, message_id: str) -> str:
    return f"<eb:Timestamp>{timestamp}</eb:Timestamp><eb:MessageId>{message_id}</eb:MessageId>"
