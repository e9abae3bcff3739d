"""The parts of an envelope that user messages and signals share: Messaging, Body, Signature, written to be signed.

Each function returns text in exclusive canonical form where it is signed (`eb:Messaging`, `env:Body`,
`ds:SignedInfo`), so that no canonicalisation is needed when building.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from node.federation.as4 import names, pieces, tokens
from node.federation.as4.canonical import attribute, b64, sha256
from node.federation.as4.model import Reference, SignatureForm, Signer


def envelope(
    unit: str, *, token: str, security: str, attached: Sequence[Reference], form: SignatureForm, signer: Signer
) -> tuple[bytes, tuple[Reference, ...]]:
    """The signed SOAP envelope around `unit` (canonical content of eb:Messaging) and the references it signs.

    `security` is what precedes the signing token in the security header: receivers work in document order, so
    encrypted keys and data must come before the signature. `attached` are references to attachments.
    """
    messaging = f'{pieces.MESSAGING_OPEN}{token}"{pieces.MESSAGING_REST}{unit}{pieces.MESSAGING_CLOSE}'
    body = pieces.BODY.format(token=token)
    references = (
        Reference(uri=f"#MSG-{token}", digest=sha256(messaging.encode())),
        Reference(uri=f"#BODY-{token}", digest=sha256(body.encode())),
        *attached,
    )
    named = tokens.write_named(_certificate(signer, form), form.reference, f"X509-{token}", form.issuers)
    signed = _signature(references, token, form, signer, named.reference)
    soap = (
        f"{pieces.HEAD}{messaging}{pieces.SECURITY_OPEN}{security}{named.token}{signed}"
        f"{pieces.SECURITY_CLOSE}{body}{pieces.END}"
    )
    return soap.encode(), references


def _certificate(signer: Signer, form: SignatureForm) -> x509.Certificate:
    if signer.certificate is None or not form.suite.can_sign(signer.certificate):
        raise ValueError(f"the signer has no certificate for {form.suite.name}")
    return signer.certificate


def _signature(
    references: Sequence[Reference], token: str, form: SignatureForm, signer: Signer, key_reference: str
) -> str:
    opening = pieces.SIGNED_INFO_OPEN.format(algorithm=form.suite.signature_algorithm)
    info = f"{opening}{''.join(map(write_reference, references))}{pieces.SIGNED_INFO_CLOSE}"
    return (
        f"{pieces.SIGNATURE_OPEN.format(token=token)}{info}"
        f"{pieces.VALUE_OPEN}{b64(signer.sign(info.encode()))}{pieces.VALUE_CLOSE}"
        f"{pieces.KEY_INFO.format(reference=key_reference)}"
    )


def write_reference(reference: Reference, declare: str = "") -> str:
    """A `ds:Reference` in canonical form; `declare` is a declaration of the ds prefix where none is in scope."""
    inclusive = (
        f'<ec:InclusiveNamespaces xmlns:ec="{names.EXC_C14N}" PrefixList="{attribute(" ".join(reference.prefixes))}">'
        "</ec:InclusiveNamespaces>"
        if reference.prefixes
        else ""
    )
    return pieces.REFERENCE.format(
        declare=declare,
        uri=attribute(reference.uri),
        transform=reference.transform,
        inclusive=inclusive,
        method=reference.digest_method,
        digest=b64(reference.digest),
    )


def write_timestamp_and_id(timestamp: str, message_id: str) -> str:
    return f"<eb:Timestamp>{timestamp}</eb:Timestamp><eb:MessageId>{message_id}</eb:MessageId>"
