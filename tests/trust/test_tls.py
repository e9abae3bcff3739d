"""Mutual TLS between real servers and clients on the loopback address."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from typing import Self

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from node.errors import PeerError
from node.federation.peers import Peers
from node.federation.tls import REFUSED, add_anchors, client_context, renew_certificate, server_context
from node.ids import NodeId
from pki.authority import StateAuthority
from pki.founding import Founding, NodePlan
from pki.node_keys import create_keys, install, load_node_keys, write_node_keys, write_request
from pki.state import StateOffice


class Door:
    """A node's door that says who knocked, asking the trust list at each request."""

    def __init__(self, peers: Peers, context: ssl.SSLContext) -> None:
        self.peers, self.context = peers, context
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/", self._who)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.context).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _who(self, request: web.Request) -> web.Response:
        connection = request.get_extra_info("ssl_object")
        try:
            peer = self.peers.identify(connection.getpeercert(binary_form=True))
        except PeerError as error:
            return web.Response(status=403, text=str(error))
        return web.Response(text=f"{peer.node} {connection.version()}")


@pytest.fixture
async def france(federation):
    """The door of FR."""
    peers = federation.peers("FR")
    context = server_context(load_node_keys(federation.founding.keys("FR")), peers)
    peers.on_change(lambda: add_anchors(context, peers))
    async with Door(peers, context) as door:
        yield door


def context_of(federation, node, *, to="FR", peers=None):
    peers = peers or federation.peers(node)
    return client_context(load_node_keys(federation.founding.keys(node)), peers, peers.get(NodeId(to)))


@contextlib.asynccontextmanager
async def session(context):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=1)) as made:
        yield made


async def knock(door, context):
    async with session(context) as made, asyncio.timeout(5), made.get(door.url) as answer:
        return await answer.text()


async def turned_away(door, context):
    """The log lines of a knock that must fail."""
    with capture_logs() as logs:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
            await knock(door, context)
        async with asyncio.timeout(5):
            while not logs:  # noqa: ASYNC110  # capture_logs has no event to wait for
                await asyncio.sleep(0.01)
    return logs


def foreign(keys, federation, to="FR"):
    """A client context with other keys, believing the true trust list."""
    peers = federation.peers("EE")
    return client_context(keys, peers, peers.get(NodeId(to)))


async def test_listed_nodes_talk_over_tls_1_3(federation, france):
    for node in ("EE", "DE", "DE-BY", "EU"):
        assert await knock(france, context_of(federation, node)) == f"{node} TLSv1.3"


async def test_a_stranger_with_an_authority_of_its_own_is_refused_and_seen(federation, france, tmp_path):
    made = Founding(tmp_path / "intruder")
    made.found([NodePlan(node="EE", federation="https://127.0.0.1:1")])
    before = REFUSED.labels("server")._value.get()
    logs = await turned_away(france, foreign(load_node_keys(made.keys("EE")), federation))
    seen = {(line["event"], line["log_level"], line["side"]) for line in logs}
    assert seen == {("tls handshake refused", "warning", "server")}
    assert "certificate" in logs[0]["reason"]
    assert REFUSED.labels("server")._value.get() == before + len(logs)


async def test_a_true_authority_cannot_claim_another_states_node(federation, france, tmp_path):
    """Germany's authority, turned evil, certifies a node of Estonia: its anchor is known, yet the name is not its own."""
    germany = federation.founding.office("DE").authority
    evil = StateAuthority(germany.folder, "EE", germany.certificate, germany._key)
    write_node_keys(tmp_path / "keys", "EE", evil, ["127.0.0.1"])
    logs = await turned_away(france, foreign(load_node_keys(tmp_path / "keys"), federation))
    assert logs[0]["event"] == "tls handshake refused"
    assert "certificate of EE" in logs[0]["reason"]


async def test_a_certified_node_that_is_not_listed_is_refused(federation, france, tmp_path):
    write_node_keys(tmp_path / "keys", "DE-HH", federation.founding.office("DE").authority, ["127.0.0.1"])
    logs = await turned_away(france, foreign(load_node_keys(tmp_path / "keys"), federation))
    assert "no node DE-HH" in logs[0]["reason"]


async def test_without_a_certificate_nobody_comes_in(federation, france):
    context = ssl.create_default_context(cadata=france.peers.get(NodeId("FR")).state_ca.public_bytes(Encoding.DER))
    logs = await turned_away(france, context)
    assert logs[0]["reason"] == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


async def test_older_tls_is_refused(federation, france):
    context = context_of(federation, "EE")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    logs = await turned_away(france, context)
    assert "VERSION" in logs[-1]["reason"] or "PROTOCOL" in logs[-1]["reason"]


async def test_a_revoked_certificate_is_refused(federation, france):
    context = context_of(federation, "EE")
    assert (await knock(france, context)).startswith("EE")
    federation.founding.office("EE").revoke("EE")
    federation.forge("EE", federation.files("EE"))
    france.peers.replace(federation.reader.refresh())
    logs = await turned_away(france, context)
    assert "revoked" in logs[0]["reason"]


async def test_a_removed_peer_is_refused_on_the_next_request_of_an_open_connection(federation, france):
    async with session(context_of(federation, "DE-BY")) as made:
        async with made.get(france.url) as answer:
            assert (await answer.text()).startswith("DE-BY")
        (connection,) = [each for pool in made.connector._conns.values() for each, _ in pool]
        federation.founding.remove("DE-BY")
        france.peers.replace(federation.reader.refresh())
        async with made.get(france.url) as answer:
            assert answer.status == 403
            assert answer.connection is None or answer.connection.protocol is connection
    assert (await knock(france, context_of(federation, "DE"))).startswith("DE ")


async def test_a_node_that_joins_comes_in_without_a_restart(federation, france, tmp_path):
    state = StateOffice.create(federation.founding.folder / "states" / "EL", "EL")
    publisher = federation.founding.publisher
    publisher.set_states(publisher.states() | {"EL": state.trust_key.public_key})
    keys = federation.founding.keys("EL")
    create_keys(keys)
    request = write_request(keys, "EL", ["127.0.0.1"], federation="https://127.0.0.1:9999")
    install(keys, state.admit(request))
    logs = await turned_away(france, foreign(load_node_keys(keys), federation))
    assert logs[0]["event"] == "tls handshake refused"
    federation.founding.publish("EL")
    france.peers.replace(federation.reader.refresh())
    assert await knock(france, context_of(federation, "EL")) == "EL TLSv1.3"


async def test_a_state_that_left_is_refused_though_its_anchor_is_still_known(federation, france):
    context = context_of(federation, "EE")
    publisher = federation.founding.publisher
    publisher.set_states({state: key for state, key in publisher.states().items() if state != "EE"})
    france.peers.replace(federation.reader.refresh())
    logs = await turned_away(france, context)
    assert "no node EE" in logs[0]["reason"]


async def test_a_client_refuses_another_node_than_it_meant(federation):
    """Bavaria's server stands where Germany's should: same authority, same address, another node."""
    peers = federation.peers("DE-BY")
    async with Door(peers, server_context(load_node_keys(federation.founding.keys("DE-BY")), peers)) as door:
        with capture_logs() as logs, pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await knock(door, context_of(federation, "EE", to="DE"))
        line = next(line for line in logs if line["side"] == "client")
        assert line["reason"] == "DE-BY answers where DE should"
        assert line["expected"] == "DE"


async def test_a_client_refuses_a_server_of_another_state(federation):
    peers = federation.peers("FR")
    async with Door(peers, server_context(load_node_keys(federation.founding.keys("FR")), peers)) as door:
        with capture_logs() as logs, pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await knock(door, context_of(federation, "EE", to="DE"))
        assert next(line for line in logs if line["side"] == "client")["expected"] == "DE"


async def test_sessions_are_not_resumed(federation, france):
    """No tickets: each connection proves itself anew."""
    context = context_of(federation, "EE")
    host, port = "127.0.0.1", int(france.url.rsplit(":", 1)[1].strip("/"))
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await reader.read()
    assert not writer.get_extra_info("ssl_object").session.has_ticket
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()


async def test_a_renewed_certificate_is_used_without_a_restart(federation, france):
    folder = federation.founding.keys("FR")
    keys = load_node_keys(folder)
    old = await served(france, federation)
    office = federation.founding.office("FR")
    public = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes()).public_key()
    renewed = office.authority.issue("tls", "FR", public, ["127.0.0.1"])
    (folder / "tls.crt").write_bytes(renewed.public_bytes(Encoding.PEM))
    async with session(context_of(federation, "EE")) as open_before:
        async with open_before.get(france.url) as answer:
            assert answer.status == 200
        renew_certificate(france.context, keys)
        assert await served(france, federation) == renewed.serial_number != old
        async with open_before.get(france.url) as answer:
            assert answer.status == 200


async def test_renewed_keys_are_used_without_a_restart(federation, france, tmp_path):
    folder = federation.founding.keys("FR")
    write_node_keys(tmp_path / "new", "FR", federation.founding.office("FR").authority, ["127.0.0.1"])
    for name in ("tls.key", "tls.crt"):
        shutil.copy(tmp_path / "new" / name, folder / name)
    renew_certificate(france.context, load_node_keys(folder))
    renewed = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
    assert await served(france, federation) == renewed.serial_number


async def served(door, federation) -> int:
    """The serial number of the certificate a door shows to a new connection."""
    host, port = "127.0.0.1", int(door.url.rsplit(":", 1)[1].strip("/"))
    _, writer = await asyncio.open_connection(host, port, ssl=context_of(federation, "EE"), server_hostname=host)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
    return x509.load_der_x509_certificate(der).serial_number


async def test_openssl_is_let_in_with_the_right_key_only(federation, france):
    """A client that is none of ours."""
    keys, ca = federation.founding.keys("EE"), federation.founding.folder / "states" / "FR" / "ca.crt"

    def connect(*more):
        return subprocess.run(
            ["openssl", "s_client", "-connect", france.url[8:-1], "-CAfile", ca, "-verify_return_error", "-quiet", *more],
            input=b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", capture_output=True, check=False, timeout=10,
        )  # fmt: skip

    good = await asyncio.to_thread(connect, "-cert", keys / "tls.crt", "-key", keys / "tls.key")
    assert b"EE TLSv1.3" in good.stdout
    assert b"EE" not in (await asyncio.to_thread(connect)).stdout


async def test_keys_under_a_passphrase_serve_tls(tmp_path):
    made = Founding(tmp_path / "federation", b"secret")
    made.found([NodePlan(node=node, federation="https://127.0.0.1:1") for node in ("EE", "FR")])
    from node.federation.trust import TrustReader, from_folder

    TrustReader.start_from(tmp_path / "trust", made.publisher.root_bytes())
    trust = TrustReader(tmp_path / "trust", from_folder(made.publisher.repository)).refresh()
    peers = Peers(NodeId("FR"), trust)
    keys = {node: load_node_keys(made.keys(node), b"secret") for node in ("EE", "FR")}
    async with Door(peers, server_context(keys["FR"], peers)) as door:
        assert (await knock(door, client_context(keys["EE"], peers, peers.get(NodeId("FR"))))).startswith("EE")
