"""`imi-node peers`: nodes of the federation, and access points outside it: who they are, adding, testing, removing."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer
from cryptography import x509
from rich.table import Table

from node.cli.common import DEFAULT_CONFIG, Config, console, field, known_peers, look, plain, stores, table
from node.errors import ImiError, Refused, SetupError
from node.ids import NodeId
from node.settings import Settings, load, shipped

if TYPE_CHECKING:
    from node.federation.outside import Candidate, Certificates
    from node.federation.peers import Peer, Peers
    from node.federation.selftest import Result
    from pki.node_keys import NodeKeys

peers_app = typer.Typer(help="Nodes of the trust list, and access points outside.", invoke_without_command=True)

_FAMILY: Final = {"as4-2.0-ecc": "ecc", "as4-1.15-rsa": "rsa"}  # suite -> keys that `pki node request --also` makes
_FINGERPRINT: Final = 64  # characters of a SHA-256, hexadecimal
_COLOURS: Final = {"well": "green", "FAULT": "red", "told differently": "yellow"}


class NoKeysForSuite(SetupError):
    """A suite was agreed with a peer for which this node has no keys; the sentence says how they are made."""

    code = "setup.no-keys-for-suite"


class NotRemoved(Refused):
    """The name of a peer to remove was not typed as it stands: nothing is removed."""

    code = "refused.not-removed"


class Ourselves(Refused):
    """An act on a peer names this node itself."""

    code = "refused.ourselves"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(peers_app, name="peers")


@peers_app.callback()
def peers(context: typer.Context, config: Config = DEFAULT_CONFIG) -> None:
    """List the nodes of the trust list, how old the list is, and the access points outside the federation."""
    if context.invoked_subcommand is not None:
        return
    from node.federation.trust import TrustReader, from_folder

    settings = load(config)
    trust = settings.data / "trust"
    kept = TrustReader(trust, from_folder(trust)).kept()
    if kept is None:
        console.print("No trust list yet. Give the node one: imi-node peers bootstrap --from FOLDER")
    else:
        console.print(f"read {kept.read_at:%Y-%m-%d %H:%M} UTC, valid until {kept.valid_until:%Y-%m-%d %H:%M} UTC")
        table(
            "", ("node", "address", "suites", "directory hosted by"),
            [(p.node, _place(p), ", ".join(p.suites), ", ".join(k.host for k in p.logs.values()))
             for p in sorted(kept.nodes.values(), key=lambda p: p.node)],
            empty="The trust list is empty.",
        )  # fmt: skip
    rows = _outside_rows(settings)
    if rows:
        console.print()
        table("outside the federation", ("peer", "address", "suite", "their party", "services"), rows, empty="")


def _place(peer: Peer) -> str:
    return f"through {peer.relay}" if peer.relay else peer.url or "(hosted)"


def _outside_rows(settings: Settings) -> list[tuple[str, ...]]:
    """One line for each agreement, those that cannot be used too."""
    from node.app import PEERS_FOLDER
    from node.federation import outside

    rows: list[tuple[str, ...]] = []
    folder = settings.data / PEERS_FOLDER
    for name in outside.listed(folder):
        try:
            peer = outside.read(folder, name, settings.node)
        except outside.BadAgreement as error:
            rows.append((name, f"NOT USABLE: {error}", "", "", ""))
            continue
        assert peer.terms is not None
        services = ", ".join(service.name for service in peer.terms.services)
        rows.append((name, peer.url or "", peer.terms.suite.name, peer.terms.their_party, services))
    return rows


@peers_app.command("bootstrap")
def bootstrap(
    source: Annotated[
        Path, typer.Option("--from", help="A copy of the trust list's repository (metadata/, targets/).")
    ],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Read the first trust list from a folder; every signature is checked against the node's trusted root.

    **Example** `imi-node peers bootstrap --from /media/stick/repository`
    """
    from node.federation.trust import TrustReader, from_folder

    trust = TrustReader(load(config).data / "trust", from_folder(source)).refresh()
    console.print(f"{len(trust.nodes)} nodes, valid until {trust.valid_until:%Y-%m-%d %H:%M} UTC")


@peers_app.command("example")
def example() -> None:
    """Print an agreement with every entry, its default, unit and meaning, to begin a new one from.

    **Example** `imi-node peers example > partner.toml`
    """
    print(shipped("peers.example.toml").read_text(encoding="utf-8"), end="")


@peers_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What to call it here: small letters, digits, dots and dashes.")],
    agreement: Annotated[Path, typer.Option(help="What was agreed (TOML); imi-node peers example shows one.")],
    tls: Annotated[Path, typer.Option(help="Certificates it shows on connections (PEM, or one in DER).")],
    sign: Annotated[Path, typer.Option(help="Certificates it signs with.")],
    encrypt: Annotated[Path, typer.Option(help="Certificates to encrypt for, the newest first.")],
    fingerprint: Annotated[
        list[str] | None,
        typer.Option(
            help="Whole SHA-256 of a certificate, as the peer's own paper has it; give all. Without: you are asked."
        ),
    ] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Add an access point outside the federation, once agreement, keys and every fingerprint are found right.

    Nothing vouches for its certificates but you: compare each fingerprint with what the peer gave you another way (on
    paper, in person, by telephone), not with the mail the certificates came in. Type or paste it whole, all 64 characters;
    spaces, colons and upper case do not matter. A running node takes the peer up by itself. Afterwards the command prints
    what the other side needs of this node.

    **Examples**

    `imi-node peers add partner --agreement partner.toml --tls tls.pem --sign sign.pem --encrypt encrypt.pem`

    `imi-node peers add partner … --fingerprint AB12… --fingerprint 34CD…`
    """
    from node.app import PEERS_FOLDER, load_keys
    from node.federation import outbox, outside

    with stores(config) as (settings, database):
        waiting = look(database, outbox.unfinished, NodeId(name))
    folder = settings.data / PEERS_FOLDER
    known = known_peers(settings)
    own = known.trust.nodes.get(settings.node)
    files = {"tls": tls, "sign": sign, "encrypt": encrypt}
    found = outside.read_candidate(
        name, agreement, files, settings.node, issuers=() if own is None else (own.state_ca,)
    )
    outside.check_new(folder, found, at=datetime.now(UTC))
    _check_keys(settings, load_keys(settings), found.peer, own)
    certificates = outside.certificates_of(found.peer)
    console.print(f"Agreed with {name}:", highlight=False)
    _print_agreement(found.peer)
    _print_certificates((purpose, one) for purpose, one in certificates.distinct().values())
    if waiting:
        console.print(
            f"\n{waiting} messages wait for a peer called {name} since before: they go to this one. If it is another "
            f"organisation than then, stop here and choose another name."
        )
    _confirm(certificates, fingerprint or [])
    outside.write(folder, name, found.agreement, found.certificates)
    console.print(f"\n{name} is written down in {folder / name}.", highlight=False, soft_wrap=True)
    console.print(
        f"A running node takes it up within {settings.pace.trust_seconds:g} s. Then: imi-node peers test {name}"
    )
    _print_what_they_need(settings, found, known)


def _check_keys(settings: Settings, keys: NodeKeys, peer: Peer, own: Peer | None) -> None:
    """Raises NoKeysForSuite, which says how such keys are made."""
    from node.federation.agreements import has_keys
    from pki.profiles import hosts_of

    assert peer.terms is not None
    suite = peer.terms.suite
    if has_keys(keys, suite):
        return
    url = (own.url if own else None) or "https://HOST:PORT"
    reached = f"--relay {own.relay}" if own and own.relay else f"--url {url}"
    hosts = hosts_of(x509.load_pem_x509_certificate(keys.tls_certificate.read_bytes()))
    family = _FAMILY.get(suite.name)
    folder, node = shlex.quote(str(settings.data / "keys")), settings.node
    options = f" --also {family}" if family else ""
    options += "".join(f" --host {host}" for host in hosts or [urlsplit(url).hostname or "HOST"]) + f" {reached}"
    if settings.passphrase_file:
        options += f" --passphrase-file {shlex.quote(str(settings.passphrase_file))}"
    raise NoKeysForSuite(
        f"this node has no keys for {suite.name}. Make them, then start the node again; those there are stay:\n"
        f"  python -m pki node request {folder} {node} request.json{options}\n"
        f"  python -m pki state admit OFFICE request.json certificates.json  # at your State's office\n"
        f"  python -m pki state sign OFFICE {node}.submission  # at your State's office\n"
        f"  python -m pki list publish PUBLISHER {node}.submission  # at the publisher of the trust list\n"
        f"  python -m pki node install {folder} certificates.json"
    )


def _confirm(certificates: Certificates, given: Sequence[str]) -> None:
    """Raises NotConfirmed unless every fingerprint was given, or is typed now, whole."""
    from node.federation import outside

    if not given:
        console.print("\nCompare with what the peer gave you another way, and type or paste from there:")
        given = [_typed_fingerprint(purpose) for purpose in certificates.fingerprints().values()]
    try:
        outside.confirm(certificates, given)
    except outside.NotConfirmed as error:
        raise outside.NotConfirmed(
            f"{error}. If the peer's paper has another fingerprint, the certificate you were sent is not the peer's"
        ) from error
    console.print("\nEvery fingerprint given is that of a certificate above.")


def _typed_fingerprint(purpose: str) -> str:
    """What is typed for a certificate. Raises NotConfirmed if that is not a whole fingerprint."""
    from node.federation import outside

    typed: str = typer.prompt(f"whole SHA-256 for {purpose}", default="", show_default=False)
    length = len("".join(typed.split()).replace(":", ""))
    if length != _FINGERPRINT:
        short = f", {_FINGERPRINT - length} are missing" if length < _FINGERPRINT else ""
        raise outside.NotConfirmed(
            f"the fingerprint of the certificate for {purpose} has {_FINGERPRINT} characters, you gave {length}{short}: "
            f"nothing is written"
        )
    return typed


def _print_what_they_need(settings: Settings, found: Candidate, known: Peers) -> None:
    from node.federation.outside import fingerprint, grouped

    agreed = found.peer.terms
    assert agreed is not None
    own = known.trust.nodes.get(settings.node)
    console.print("\nWhat the other side needs of us:")
    field("our party", f"{agreed.our_party} ({agreed.our_party_type})")
    field("our address", _own_address(own))
    folder = settings.data / "keys"
    for path, purpose in _our_certificates(folder, found.peer):
        field(purpose, path)
        field("SHA-256", grouped(fingerprint(x509.load_pem_x509_certificate(path.read_bytes()))))
    if own is not None:
        field("who certified us", f"{own.state_ca.subject.rfc4514_string()}, for a peer that wants the whole path")
        field("SHA-256", grouped(fingerprint(own.state_ca)))


def _own_address(own: Peer | None) -> str:
    from node.federation.peers import AS4_PATH

    if own is None:
        return "this node is not in the trust list yet"
    if own.relay:
        return (
            f"none: this node is reached through {own.relay} alone, which passes on nothing from outside the federation"
        )
    return f"{own.url}{AS4_PATH}"


def _our_certificates(folder: Path, peer: Peer) -> list[tuple[Path, str]]:
    """The files to give away: what we show, sign with and decrypt with under the suite."""
    assert peer.terms is not None
    suite = peer.terms.suite
    found = [(folder / "tls.crt", "our TLS certificate")]
    for pattern, purpose, fits in (
        ("sign*.crt", "our signing certificate", suite.can_sign),
        ("encrypt*.crt", "our encryption certificate", suite.can_decrypt),
    ):
        paths = sorted(folder.glob(pattern))
        found += [(path, purpose) for path in paths if fits(x509.load_pem_x509_certificate(path.read_bytes()))]
    return found


@peers_app.command("show")
def show(name: str, config: Config = DEFAULT_CONFIG) -> None:
    """Show everything about a peer: what was agreed, its certificates, what waits for it and why.

    **Examples** `imi-node peers show partner`, `imi-node peers show FR`
    """
    from node.federation import operator, rejections
    from node.federation.outside import certificates_of

    with stores(config) as (settings, database):
        known = known_peers(settings)
        peer = known.get(NodeId(name))
        lanes = look(database, operator.lanes)
        refused = look(database, rejections.newest, peer=name, limit=1)
    if peer.is_outside:
        _print_agreement(peer)
        _print_certificates(certificates_of(peer).distinct().values())
    else:
        _print_node(peer, known)
    console.print("\nLane:")
    lane = next((each for each in lanes if each.node == name), None)
    field("waiting", f"{lane.waiting}, parked {lane.parked}, oldest {lane.oldest:%Y-%m-%d %H:%M} UTC" if lane else "0")
    field("last error", lane.last_error if lane else "")
    for one in refused:
        field("last refused of theirs", f"{one.at:%Y-%m-%d %H:%M} UTC {one.ebms} {one.message_id}: {one.reason}")
        if one.field:
            field(one.field, f"expected {one.expected!r}, received {one.received!r}")


def _print_agreement(peer: Peer) -> None:
    from node.federation.outside import describe

    for label, value in describe(peer).items():
        field(label, value)


def _print_node(peer: Peer, known: Peers) -> None:
    field("node", f"{peer.node}: {', '.join(peer.name.values())}")
    field("address", _place(peer))
    if not peer.is_hosted and peer.node != known.us:
        field("messages are posted", _posted_to(peer.node, known))
    field("suites", ", ".join(peer.suites))
    field("features", ", ".join(peer.features))
    field("directory hosted by", ", ".join(f"{name}: {log.host}" for name, log in peer.logs.items()))
    signing, encryption = (("sign", each) for each in peer.signing), (("encrypt", each) for each in peer.encryption)
    _print_certificates((("its State's authority", peer.state_ca), *signing, *encryption))


def _posted_to(node: NodeId, known: Peers) -> str:
    try:
        return str(known.route(node))
    except ImiError as error:
        return f"nowhere: {error}"


def _print_certificates(found: Iterable[tuple[str, x509.Certificate]]) -> None:
    from node.federation.outside import fingerprint, grouped

    now = datetime.now(UTC)
    for purpose, one in found:
        console.print(f"\nCertificate for {purpose}:")
        field("subject", one.subject.rfc4514_string())
        field("issuer", one.issuer.rfc4514_string())
        ended = " – NOT VALID NOW" if not one.not_valid_before_utc <= now <= one.not_valid_after_utc else ""
        field("valid", f"{one.not_valid_before_utc:%Y-%m-%d} until {one.not_valid_after_utc:%Y-%m-%d}{ended}")
        field("SHA-256", grouped(fingerprint(one)))


@peers_app.command("remove")
def remove(
    name: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the name to be typed.")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Remove an access point outside the federation; what waits for it is kept and told.

    A running node breaks with it by itself. Messages and evidence stay; what waits goes on if a peer of this name is
    added again. **Example** `imi-node peers remove partner`
    """
    from node.app import PEERS_FOLDER
    from node.federation import outbox, outside

    with stores(config) as (settings, database):
        folder = settings.data / PEERS_FOLDER
        if name not in outside.listed(folder):
            raise outside.BadAgreement(f"there is no peer outside called {name[:60]!r}; imi-node peers lists them")
        unfinished = look(database, outbox.unfinished, NodeId(name))
        if unfinished:
            console.print(
                f"{unfinished} messages have no receipt from {name} yet. They are kept, and not sent while there is no "
                f"peer of this name: imi-node messages list --peer {name}"
            )
        if not yes and typer.prompt("type the name of the peer to remove it") != name:
            raise NotRemoved("that is not its name: nothing is removed")
        outside.remove(folder, name)
    console.print(f"{name} is removed; a running node breaks with it within {settings.pace.trust_seconds:g} s")


@peers_app.command("test")
def check(name: str, config: Config = DEFAULT_CONFIG) -> None:
    """Test a live peer, node or outside: connection, payloads, repeats, and that it refuses what is not right.

    All with the test service: nothing is delivered to anybody. Exit code 1 if a check failed. "told differently" is no
    fault: the peer did right, in other words than ours. **Example** `imi-node peers test partner`
    """
    from node.app import load_keys

    settings = load(config)
    if name == settings.node:
        raise Ourselves("this is this node itself: imi-node check looks at it")
    results = asyncio.run(_run_test(NodeId(name), known_peers(settings), load_keys(settings)))
    if any(result.verdict == "FAULT" for result in results):
        raise typer.Exit(1)


async def _run_test(name: NodeId, known: Peers, keys: NodeKeys) -> list[Result]:
    """Each result is printed once it is there."""
    from node.federation.selftest import check_peer
    from node.federation.transport import Transport

    transport = Transport(keys, known)
    results = []
    try:
        async for result in check_peer(name, peers=known, keys=keys, transport=transport):
            _print_result(result)
            results.append(result)
    finally:
        await transport.close()
    return results


def _print_result(result: Result) -> None:
    colour = _COLOURS[result.verdict]
    line = Table(box=None, show_header=False, pad_edge=False)
    for width in (22, 18, None):
        line.add_column(width=width, overflow="fold")
    line.add_row(result.check, f"[{colour}]{result.verdict}[/{colour}]", plain(result.says))
    if result.advice and result.verdict != "well":
        line.add_row("", "", plain(f"→ {result.advice}"))
    console.print(line)
