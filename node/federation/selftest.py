"""Checks of a live peer, node or access point, with the test service: nothing of it is delivered to anybody.

Each check is one exchange, bounded in time, and says what came back. A peer may answer some of them in more than one
way that is right (a repeat: the stored receipt, or an error that says duplicate); which one it is, is named.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import urlsplit

from cryptography import x509

from node.errors import ImiError
from node.federation import as4, attempts
from node.federation.agreements import Terms, terms
from node.federation.peers import Peers, Route
from node.federation.tls import client_context
from node.federation.transport import PeerAnswered, Transport
from node.ids import NodeId, new_message_id
from pki.node_keys import NodeKeys

CHECK_SECONDS: Final = 20.0
CLOSES_SECONDS: Final = 0.5  # a peer that refuses our certificate says so at once, after the handshake
_SIGNATURE: Final = re.compile(rb"<(\w+:)?Signature[ >].*</(\w+:)?Signature>", re.DOTALL)

Verdict = Literal["well", "FAULT", "told differently"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check found. `advice` says what to do about it."""

    check: str
    verdict: Verdict
    says: str
    advice: str = ""


async def check_peer(node: NodeId, *, peers: Peers, keys: NodeKeys, transport: Transport) -> AsyncIterator[Result]:
    """All checks in the order of dependence; after a fault in the first two the others would say nothing new.

    Raises:
        PeerError: it is not a peer, or there is no suite in common.
    """
    probe = _Probe(node, peers=peers, transport=transport, agreed=terms(peers, keys, node))
    result = await _bounded("connect", lambda: _connect(peers.route(node), keys, peers))
    yield result
    if result.verdict == "FAULT":
        return
    result = await _bounded("ping", probe.ping)
    yield result
    if result.verdict == "FAULT":
        return
    for name, check in probe.further():
        yield await _bounded(name, check)


@dataclass(frozen=True, slots=True)
class _Faulty(Exception):
    """A check that failed, with what to do."""

    says: str
    advice: str


async def _bounded(name: str, check: Callable[[], Awaitable[Result]]) -> Result:
    """The check's result; whatever keeps it from having one is a fault."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except _Faulty as fault:
        return Result(check=name, verdict="FAULT", says=fault.says, advice=fault.advice)
    except TimeoutError:
        return Result(check=name, verdict="FAULT", says=f"no answer within {CHECK_SECONDS:g} s", advice=_BUSY)
    except ImiError as error:
        return Result(check=name, verdict="FAULT", says=str(error), advice=_DOOR)


_BUSY: Final = "the peer takes connections but does not answer: ask its operators"
_DOOR: Final = "ask the peer's operators what their log says of this minute"
_ADDRESS: Final = "is the address right, and reachable from here (name, port, firewall)?"
_ADMIT: Final = "the peer does not admit our TLS certificate: give its operators keys/tls.crt, and compare fingerprints"
_ADVICE: Final = {
    "EBMS:0001": "party ids differ: compare both sides' agreements, ours with `imi-node peers show`",
    "EBMS:0003": "party, certificate or size do not go together at the peer: compare parties and certificates",
    "EBMS:0004": "a fault of the peer's own: its operators find it in their log",
    "EBMS:0010": "service, action, roles or agreement differ: compare both sides' agreements",
    "EBMS:0101": "the peer does not verify our signature: has it our signing certificate, of this suite?",
    "EBMS:0102": "the peer cannot decrypt: is its encryption certificate in our agreement the one it uses now?",
    "EBMS:0103": "the security policies differ: compare suite and algorithms",
    "EBMS:0303": "the peer cannot decompress what we send: say compress = false if it knows no compression",
}


async def _connect(route: Route, keys: NodeKeys, peers: Peers) -> Result:
    """TLS to the peer's door, or its relay's: the certificate is one we know, and the connection is kept on seeing ours."""
    where = urlsplit(route.as4_url)
    context = client_context(keys, peers, route.door)
    try:
        reader, writer = await asyncio.open_connection(
            where.hostname, where.port or 443, ssl=context, server_hostname=where.hostname
        )
    except ssl.SSLCertVerificationError as error:
        raise _Faulty(
            f"its TLS certificate is not the one we know: {getattr(error, 'verify_message', '') or error}", _OTHER
        ) from error
    except ssl.SSLError as error:
        raise _Faulty(f"no TLS 1.3: {error.reason}", "the peer's door must offer TLS 1.3") from error
    except OSError as error:
        raise _Faulty(
            f"no connection to {where.hostname}:{where.port or 443}: {error.strerror or error}", _ADDRESS
        ) from error
    try:
        tls = writer.get_extra_info("ssl_object")
        certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
        await _stays_open(reader)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    through = "" if route.is_direct else f"through {route.door.node}: "
    says = f"{through}{tls.version()}, {certificate.subject.rfc4514_string()}, valid until {certificate.not_valid_after_utc:%Y-%m-%d}"
    return Result(check="connect", verdict="well", says=says)


_OTHER: Final = "has the peer a new TLS certificate? Ask its operators, compare the fingerprint, and agree on it anew"


async def _stays_open(reader: asyncio.StreamReader) -> None:
    """In TLS 1.3 a server looks at our certificate after our handshake: a refusal comes as an alert, or as an end."""
    try:
        async with asyncio.timeout(CLOSES_SECONDS):
            ended = await reader.read(1) == b""
    except TimeoutError:
        return
    except (ssl.SSLError, ConnectionError) as error:
        raise _Faulty("the peer closes the connection on seeing our certificate", _ADMIT) from error
    if ended:
        raise _Faulty("the peer closes the connection on seeing our certificate", _ADMIT)


class _Probe:
    """Test messages to one peer."""

    def __init__(self, node: NodeId, *, peers: Peers, transport: Transport, agreed: Terms) -> None:
        self._node, self._us, self._transport, self._terms = node, peers.us, transport, agreed

    def further(self) -> Sequence[tuple[str, Callable[[], Awaitable[Result]]]]:
        """The checks after the ping."""
        return (
            ("one payload", self.one_payload),
            ("several payloads", self.several_payloads),
            ("uncompressed payload", self.uncompressed),
            ("duplicate", self.duplicate),
            ("tampered", self.tampered),
            ("unsigned", self.unsigned),
        )

    async def ping(self) -> Result:
        """A message without payload, answered with a receipt for it."""
        return await self._accepted("ping", ())

    async def one_payload(self) -> Result:
        return await self._accepted("one payload", (self._part(1),))

    async def several_payloads(self) -> Result:
        parts = (self._part(1), self._part(2), self._part(3, mime_type="application/octet-stream"))
        return await self._accepted("several payloads", parts)

    async def uncompressed(self) -> Result:
        return await self._accepted("uncompressed payload", (self._part(1, compressed=False),))

    async def duplicate(self) -> Result:
        """The same bytes twice: a lost answer must do no harm."""
        message, built = self._build((self._part(1),))
        first = await self._post(built, built.body)
        if not isinstance(first, as4.Receipt):
            raise self._refused(first)
        again = await self._post(built, built.body)
        if isinstance(again, as4.Receipt):
            as4.check_receipt(again, message_id=message.message_id, sent=built.references)
            same = again.message_id == first.message_id
            return _well("duplicate", "the stored receipt again" if same else "a receipt anew")
        if again.says_duplicate:
            verdict: Verdict = "well" if again.authenticated else "told differently"
            signed = "" if again.authenticated else " (unsigned: not believed)"
            return Result(check="duplicate", verdict=verdict, says=f"{attempts.words(again)}{signed}")
        raise _Faulty(
            f"a repeat is answered with {attempts.words(again)}",
            "an answer that is lost would leave messages refused: the peer should repeat its receipt, or say EBMS:4001",
        )

    async def tampered(self) -> Result:
        """One byte of the ciphertext changed on the way."""
        _, built = self._build((self._part(1),))
        package = as4.unpack(built.content_type, built.body, self._terms.agreement.limits)
        (attached,) = package.attachments.values()
        place = built.body.index(bytes(attached.content)) + len(attached.content) // 2
        changed = built.body[:place] + bytes([built.body[place] ^ 1]) + built.body[place + 1 :]
        return await self._must_be_refused("tampered", built, changed)

    async def unsigned(self) -> Result:
        """The same message without its signature."""
        _, built = self._build((self._part(1),))
        return await self._must_be_refused("unsigned", built, built.body.replace(built.soap, _unsigned(built.soap)))

    async def _must_be_refused(self, check: str, built: as4.Built, body: bytes) -> Result:
        try:
            signal = await self._post(built, body)
        except PeerAnswered as error:
            return Result(
                check=check, verdict="told differently", says=f"refused without an ebMS error: {error}", advice=_PLAIN
            )
        if isinstance(signal, as4.Receipt):
            raise _Faulty(f"the peer gives a receipt for a message that is {check}", _STOP)
        said = attempts.words(signal)
        if signal.authenticated:
            return _well(check, f"refused: {said}")
        return Result(check=check, verdict="told differently", says=f"refused, unsigned: {said}", advice=_PLAIN)

    async def _accepted(self, check: str, parts: Sequence[as4.Part]) -> Result:
        message, built = self._build(parts)
        signal = await self._post(built, built.body)
        if not isinstance(signal, as4.Receipt):
            raise self._refused(signal)
        as4.check_receipt(signal, message_id=message.message_id, sent=built.references)
        signed = signal.certificate.subject.rfc4514_string()
        return _well(check, f"receipt verified, signed by {signed}")

    async def _post(self, built: as4.Built, body: bytes) -> as4.Signal:
        kind, answer = await self._transport.post_message(self._node, body, built.content_type)
        return as4.read_signal(kind, answer, self._terms.agreement, at=datetime.now(UTC))

    def _build(self, parts: Sequence[as4.Part]) -> tuple[as4.UserMessage, as4.Built]:
        agreed = self._terms.agreement
        message = as4.UserMessage(
            message_id=new_message_id(self._us),
            conversation_id="self-test",
            sender=agreed.our_party,
            recipient=agreed.their_party,
            service=as4.TEST_SERVICE,
            action=as4.TEST_ACTION,
            timestamp=datetime.now(UTC),
            properties={"originalSender": self._us, "finalRecipient": self._node},
            parts=tuple(parts),
        )
        built = as4.build(message, agreement=agreed, signer=self._terms.signer, encrypt_for=self._terms.encrypt_for)
        return message, built

    def _part(self, number: int, *, mime_type: str = "application/json", compressed: bool | None = None) -> as4.Part:
        content = json.dumps({"test": number, "text": "x" * 500}).encode()
        wanted = self._terms.agreement.compress if compressed is None else compressed
        return as4.Part(content=content, mime_type=mime_type, compressed=wanted)

    def _refused(self, signal: as4.ErrorSignal) -> _Faulty:
        signed = "" if signal.authenticated else "unsigned "
        return _Faulty(f"{signed}{attempts.words(signal)}", _ADVICE.get(signal.code, _DOOR))


_PLAIN: Final = "no harm: our node tries such a message again, as only a signed error is believed"
_STOP: Final = "do not exchange messages with it: it does not check what it receives; tell its operators"


def _unsigned(soap: bytes) -> bytes:
    return _SIGNATURE.sub(b"", soap, count=1)


def _well(check: str, says: str) -> Result:
    return Result(check=check, verdict="well", says=says)
