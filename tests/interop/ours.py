"""Our side of the wire: an AS4 endpoint of node.federation.as4 with mutual TLS 1.3, and nothing behind it."""

from __future__ import annotations

import datetime as dt
import ssl
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp
from aiohttp import web

from node.federation import as4

from .keys import Identity

PATIENCE = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True)
class Answer:
    """What came back for a message."""

    status: int
    signal: as4.Signal


@dataclass
class OurSide:
    """Receives messages and answers with receipts; sends messages and reads what is answered."""

    suite: as4.Suite
    us: Identity
    peer: Identity
    changes: dict[str, object] = field(default_factory=dict)  # of the agreement, for a test
    decrypters: Sequence[as4.Decrypter] = ()
    received: list[as4.UserMessage] = field(default_factory=list)
    refused: list[as4.As4Error] = field(default_factory=list)
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    falsify_receipts: bool = False
    port: int = 0
    _receipts: dict[str, as4.Built] = field(default_factory=dict)

    @property
    def agreement(self) -> as4.Agreement:
        agreed = as4.Agreement(
            our_party=as4.party_of(self.us.node),
            their_party=as4.party_of(self.peer.node),
            suite=self.suite,
            services=(as4.Service(name=as4.SERVICE, actions=frozenset({"events"})),),
            their_signing=(self.peer.signer.certificate,),
        )
        return replace(agreed, **self.changes)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/as4"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OurSide]:
        app = web.Application(client_max_size=self.agreement.limits.entity)
        app.router.add_post("/as4", self._receive)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls(ssl.Purpose.CLIENT_AUTH))
            await site.start()
            self.port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()

    def _tls(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        context = ssl.create_default_context(purpose, cafile=self.peer.folder / "authority.pem")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.us.folder / "tls.pem", self.us.folder / "tls.key")
        return context

    async def _receive(self, request: web.Request) -> web.Response:
        content_type, body = request.headers["Content-Type"], await request.read()
        self.requests.append((content_type, body))
        try:
            answer = self.take(content_type, body)
        except as4.As4Error as error:
            self.refused.append(error)
            answer = as4.build_error(error, ref_to_message_id=error.message_id, **self._signal())
        return web.Response(body=answer.body, headers={"Content-Type": answer.content_type})

    def take(self, content_type: str, body: bytes) -> as4.Built:
        """The receipt for a message; the very same again if we had it. Raises As4Error."""
        agreement = self.agreement
        package = as4.unpack(content_type, body, agreement.limits)
        header = as4.parse_soap(package, agreement.limits)
        verified = as4.verify(package, header, agreement, at=now())
        decrypted = as4.decrypt(verified, self.decrypters or [self.us.decrypter])
        if known := self._receipts.get(header.message_id):
            return known
        self.received.append(as4.decompress(decrypted))
        references = verified.references
        if self.falsify_receipts:
            references = (*references[:-1], replace(references[-1], digest=bytes(32)))
        receipt = as4.build_receipt(references, ref_to_message_id=header.message_id, **self._signal())
        self._receipts[header.message_id] = receipt
        return receipt

    def _signal(self) -> dict[str, object]:
        return {
            "message_id": new_id(), "at": now(), "form": self.agreement.signature_form, "signer": self.us.signer,
        }  # fmt: skip

    def message(self, *parts: as4.Part, **changes: object) -> as4.UserMessage:
        message = as4.UserMessage(
            message_id=new_id(),
            conversation_id="AT-2026-000123",
            sender=as4.party_of(self.us.node),
            recipient=as4.party_of(self.peer.node),
            service=as4.SERVICE,
            action="events",
            timestamp=now(),
            properties={"originalSender": self.us.node, "finalRecipient": self.peer.node},
            parts=parts,
        )
        return replace(message, **changes)

    def build(self, message: as4.UserMessage, **changes: object) -> as4.Built:
        known = {"agreement": self.agreement, "signer": self.us.signer}
        return as4.build(message, **(known | {"encrypt_for": self.peer.decrypter.certificate} | changes))

    async def post(self, url: str, built: as4.Built) -> Answer:
        """Post an entity and read the signal that answers it."""
        connector = aiohttp.TCPConnector(ssl=self._tls(ssl.Purpose.SERVER_AUTH))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session,
            session.post(url, data=built.body, headers={"Content-Type": built.content_type}) as response,
        ):
            body = await response.read()
            signal = as4.read_signal(response.headers.get("Content-Type", ""), body, self.agreement, at=now())
            return Answer(response.status, signal)

    async def deliver(self, url: str, message: as4.UserMessage, **changes: object) -> as4.Receipt:
        """Send a message; its receipt, checked."""
        built = self.build(message, **changes)
        signal = (await self.post(url, built)).signal
        assert isinstance(signal, as4.Receipt), signal
        as4.check_receipt(signal, message_id=message.message_id, sent=built.references)
        return signal


def new_id() -> str:
    return f"{uuid.uuid4()}@ours.example"


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
