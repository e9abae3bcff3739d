"""One exchange as files that anyone can check without this software.

`imi-node messages export` writes what `export` returns; `tests/outside/check_message.py` reads it with code that is
not ours, and docs/reference/wire-format.md says how.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.federation.as4.canonical import sha256
from node.federation.as4.envelope import Header, parse_soap
from node.federation.as4.mime import unpack
from node.federation.as4.model import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A stored message with its answer, as the delivery tables keep them."""

    content_type: str
    body: bytes
    receipt: bytes | None  # the receipt's SOAP, if there is one
    sender: x509.Certificate  # what the message is signed with
    recipient: x509.Certificate  # what the receipt is signed with (or would be)
    authorities: Sequence[x509.Certificate]  # the State CAs of both
    facts: Mapping[str, str]  # what the row says besides: direction, times, state


def export(exchange: Exchange) -> dict[str, bytes]:
    """File contents by file name.

    request.http: the content type header, an empty line, the body as posted. receipt.xml: the receipt's SOAP.
    sender.crt, recipient.crt, ca.crt: PEM certificates. about.json: the header's facts and each file's SHA-256.
    Raises As4Error if the stored body is no message.
    """
    files = {
        "request.http": f"Content-Type: {exchange.content_type}\r\n\r\n".encode() + exchange.body,
        "sender.crt": _pem([exchange.sender]),
        "recipient.crt": _pem([exchange.recipient]),
        "ca.crt": _pem(exchange.authorities),
    }
    if exchange.receipt is not None:
        files["receipt.xml"] = exchange.receipt
    return files | {"about.json": _about(exchange, files)}


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _about(exchange: Exchange, files: Mapping[str, bytes]) -> bytes:
    limits = Limits()
    header = parse_soap(unpack(exchange.content_type, exchange.body, limits), limits)
    facts = {
        **exchange.facts,
        **_header_facts(header),
        "files": {name: sha256(content).hex() for name, content in sorted(files.items())},
    }
    return json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n"


def _header_facts(header: Header) -> dict[str, object]:
    return {
        "message_id": header.message_id,
        "sender": header.sender.id,
        "recipient": header.recipient.id,
        "service": header.service,
        "action": header.action,
        "conversation_id": header.conversation_id,
        "timestamp": header.timestamp.isoformat(),
        "parts": [{"content_id": part.content_id, "mime_type": part.mime_type} for part in header.parts],
    }
