"""`python -m pki`: the keys of States and of the trust list, by hand."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from cryptography import x509
from securesystemslib.signer import Key

from pki.errors import PkiError, Untrusted
from pki.files import write_whole
from pki.founding import Founding, NodePlan
from pki.node_keys import (
    FAMILIES,
    BadRequest,
    create_keys,
    create_more_keys,
    create_own_log_key,
    install,
    load_log_public,
    read_certificates,
    read_request,
    write_request,
)
from pki.state import StateOffice
from pki.trustlist.models import COLLECTIONS, NodeEntry, read_crl
from pki.trustlist.publisher import Publisher, read_state_key
from pki.trustlist.submission import Submission
from pki.verification import verify_chain

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False
)
state = typer.Typer(no_args_is_help=True, help="A State's side: authority, nodes, signing. Its folder is on no node.")
node = typer.Typer(no_args_is_help=True, help="A node's side: keys, request, certificates.")
trust = typer.Typer(no_args_is_help=True, help="The publisher's side: the trust list.")
app.add_typer(state, name="state")
app.add_typer(node, name="node")
app.add_typer(trust, name="list")

Folder = Annotated[Path, typer.Argument(help="Folder to work in.")]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help="File with the passphrase of the private keys in the folder.")
]


@app.callback()
def about() -> None:
    """Keys, certificates and the trust list of a federation.

    **A State begins**

    `python -m pki state create states/EE EE`

    **The publisher begins**, with the public half of each State's key

    `python -m pki list ceremony publisher EE=EE/trust.pub FR=FR/trust.pub`

    **A node joins**: keys and request on the node, certificates from its State, the State's word to the publisher

    `python -m pki node request keys EE request.json --host ee.example --url https://ee.example:8443`

    `python -m pki state admit states/EE request.json certificates.json`

    `python -m pki node install keys certificates.json`

    `python -m pki state sign states/EE EE.submission`

    `python -m pki list publish publisher EE.submission`

    **A node is shut out**

    `python -m pki state remove states/EE EE EE.submission`

    **All at once**, to try things: `python -m pki found demo EE FR EU`
    """


@state.command("create")
def state_create(folder: Folder, code: str, passphrase_file: Passphrase = None) -> None:
    """Make a State's authority and its key for the trust list. Example: `state create states/EE EE`."""
    StateOffice.create(folder, code, _passphrase(passphrase_file))
    print(f"{folder}: authority of {code}. Give {folder / 'trust.pub'} to the publisher; keep the folder off the net.")


@state.command("admit")
def state_admit(folder: Folder, request: Path, out: Path, passphrase_file: Passphrase = None) -> None:
    """Certify a node's request and enter the node. Example: `state admit states/EE request.json certificates.json`."""
    office = StateOffice.open(folder, _passphrase(passphrase_file))
    asked = read_request(request.read_bytes())
    write_whole(out, office.admit(asked).model_dump_json(indent=1).encode())
    print(f"{out}: certificates of {asked.node}; back to the node with it. Next: state sign")


@state.command("sign")
def state_sign(folder: Folder, out: Path, passphrase_file: Passphrase = None) -> None:
    """Sign what the State says of its nodes. Example: `state sign states/EE EE.submission`."""
    _sign(StateOffice.open(folder, _passphrase(passphrase_file)), out)


@state.command("remove")
def state_remove(folder: Folder, code: str, out: Path, passphrase_file: Passphrase = None) -> None:
    """Take a node off the list and revoke its certificates. Example: `state remove states/DE DE-BY DE.submission`."""
    office = StateOffice.open(folder, _passphrase(passphrase_file))
    office.remove(code)
    _sign(office, out)


@state.command("revoke")
def state_revoke(
    folder: Folder,
    out: Path,
    certificate: Annotated[
        list[Path] | None, typer.Option(help="Certificate to revoke; none: only renew the list.")
    ] = None,
    passphrase_file: Passphrase = None,
) -> None:
    """Revoke certificates, or renew the revocation list. Example: `state revoke states/EE EE.submission --certificate tls.crt`."""
    office = StateOffice.open(folder, _passphrase(passphrase_file))
    office.authority.revoke(*(_certificate(path).serial_number for path in certificate or ()))
    _sign(office, out)


@state.command("show")
def state_show(folder: Folder, passphrase_file: Passphrase = None) -> None:
    """List a State's nodes and revoked certificates. Example: `state show states/EE`."""
    office = StateOffice.open(folder, _passphrase(passphrase_file))
    for entry in office.entries():
        _print_entry(entry)
    crl = office.authority.crl()
    print(f"revoked: {', '.join(f'{each.serial_number:x}' for each in crl) or 'none'}; list ends {crl.next_update_utc}")


@state.command("host")
def state_host(
    folder: Folder,
    out: Path,
    *,
    host: Annotated[str, typer.Option(help="Node that serves this State's logs.")] = "EU",
    passphrase_file: Passphrase = None,
) -> None:
    """Have the logs of a State without a node served by another; its key stays here. Example: `state host states/LU LU.submission`.

    `log.key` in the folder signs them: `imi-node directory sign` with it, and the host takes the file that makes.
    """
    secret = _passphrase(passphrase_file)
    office = StateOffice.open(folder, secret)
    office.host(dict.fromkeys(COLLECTIONS, create_own_log_key(folder, secret)), host)
    _sign(office, out)


@state.command("logs")
def state_logs(
    folder: Folder,
    code: str,
    out: Path,
    *,
    host: Annotated[str, typer.Option(help="Node that serves the logs from now on; default: as before.")] = "",
    epoch: Annotated[int, typer.Option(help="Epoch they are in; default: the next one.")] = 0,
    key: Annotated[Path | None, typer.Option(help="log.pub: the key that signs them from now on.")] = None,
    collection: Annotated[list[str] | None, typer.Option(help="Only this log; may be repeated.")] = None,
    passphrase_file: Passphrase = None,
) -> None:
    """Hand a node's directory logs over to another host, or publish their new epoch.

    Example: `state logs states/LU LU LU.submission --host EU`.
    """
    office = StateOffice.open(folder, _passphrase(passphrase_file))
    public = load_log_public(key) if key else None
    entry = office.move_logs(code, host=host or None, epoch=epoch or None, key=public, collections=collection or None)
    _sign(office, out)
    for name, each in sorted(entry.logs.items()):
        print(f"{code}/{name}: at {each.host}, epoch {each.epoch}")


@node.command("request")
def node_request(
    keys: Folder,
    code: str,
    out: Path,
    *,
    host: Annotated[list[str], typer.Option(help="Name or address of the node; may be repeated.")],
    url: Annotated[str | None, typer.Option(help="Base address of its door for other nodes.")] = None,
    relay: Annotated[str | None, typer.Option(help="The node of its State that stands before it, instead.")] = None,
    suite: Annotated[
        list[str] | None, typer.Option(help="AS4 suite it reads, preferred first; added to those its entry names.")
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(help="Keys for another suite too: rsa (AS4 1.15) or ecc (2.0 on P-256); may be repeated."),
    ] = None,
    passphrase_file: Passphrase = None,
) -> None:
    """Make a node's keys and its request. Example: `node request keys EE request.json --host ee.example --url https://ee.example:8443`.

    Keys that are there already are kept: with `--also rsa` a node gets keys for an older suite besides its own. Its State
    answers with the same certificates for the keys it certified before, and keeps what its entry says.
    """
    if url is None and relay is None:
        _fail(
            "say where other nodes reach it, --url, or which node of its State stands before it, --relay (pki.request)"
        )
    if url is not None and relay is not None:
        _fail("a node is reached at its --url or through its --relay, not both (pki.request)")
    secret = _passphrase(passphrase_file)
    if not (keys / "sign.key").exists():
        create_keys(keys, secret)
    for family in also or ():
        _more_keys(keys, family, secret)
    asked = write_request(
        keys, code, host, secret, federation=url, relay=relay, suites=tuple(suite or ()), collections=COLLECTIONS
    )
    write_whole(out, asked.model_dump_json(indent=1).encode())
    print(f"{out}: request of {code}; its State answers it. The keys stay in {keys}.")


def _more_keys(keys: Path, family: str, secret: bytes | None) -> None:
    if family not in FAMILIES:
        raise BadRequest(f"--also {family}: there are keys for {' and '.join(FAMILIES)}")
    create_more_keys(keys, family, secret)


@node.command("install")
def node_install(keys: Folder, certificates: Path) -> None:
    """Put the State's answer beside the keys. Example: `node install keys certificates.json`."""
    install(keys, read_certificates(certificates.read_bytes()))
    print(f"{keys}: complete")


@trust.command("ceremony")
def list_ceremony(
    folder: Folder,
    states: Annotated[list[str], typer.Argument(help="STATE=FILE: a State and its trust.pub.")],
    training: Annotated[
        bool, typer.Option("--training", help="A federation for exercises: its clock may be set.")
    ] = False,
    passphrase_file: Passphrase = None,
) -> None:
    """Make the list's keys and its first version. Example: `list ceremony publisher EE=EE/trust.pub FR=FR/trust.pub`."""
    keys = _state_keys(states)
    publisher = Publisher.ceremony(folder, keys, _passphrase(passphrase_file), training=training)
    root = folder / "root.json"
    write_whole(root, publisher.root_bytes())
    print(f"{folder}: trust list of {', '.join(sorted(keys))}. Hand {root} to every node that joins.")
    print("Keep root-*.key and targets-*.key in different hands; only online.key is needed day by day.")


@trust.command("admit")
def list_admit(folder: Folder, states: list[str], passphrase_file: Passphrase = None) -> None:
    """Admit States, or change the key of one. Example: `list admit publisher EL=EL/trust.pub`."""
    publisher = Publisher(folder, _passphrase(passphrase_file))
    publisher.set_states(publisher.states() | _state_keys(states))
    print(f"{folder}: {', '.join(sorted(publisher.states()))}. An admitted State is heard once it has signed.")


@trust.command("expel")
def list_expel(folder: Folder, states: list[str], passphrase_file: Passphrase = None) -> None:
    """Take States with all their nodes off the list. Example: `list expel publisher EL`."""
    publisher = Publisher(folder, _passphrase(passphrase_file))
    publisher.set_states({code: key for code, key in publisher.states().items() if code not in states})
    print(f"{folder}: {', '.join(sorted(publisher.states()))}")


@trust.command("publish")
def list_publish(folder: Folder, submissions: list[Path], passphrase_file: Passphrase = None) -> None:
    """Take what States have signed into the list. Example: `list publish publisher EE.submission DE.submission`."""
    publisher = Publisher(folder, _passphrase(passphrase_file))
    for path in submissions:
        publisher.accept(Submission.from_bytes(path.read_bytes()), snapshot=False)
    publisher.snapshot()
    print(f"{folder}: published {len(submissions)} submission(s)")


@trust.command("renew")
def list_renew(
    folder: Folder,
    root: Annotated[bool, typer.Option("--root", help="Sign the root anew too.")] = False,
    replace: Annotated[list[str] | None, typer.Option(help="A key to replace with --root: root-2, online …")] = None,
    passphrase_file: Passphrase = None,
) -> None:
    """Renew the time stamp. Examples: `list renew publisher`, `list renew publisher --root --replace root-2`."""
    publisher = Publisher(folder, _passphrase(passphrase_file))
    if root or replace:
        publisher.renew_root(replace or ())
    publisher.renew()
    print(f"{folder}: renewed")


@trust.command("show")
def list_show(folder: Folder) -> None:
    """List who is in the trust list. Example: `list show publisher`."""
    publisher = Publisher(folder)
    for code in sorted(publisher.states()):
        for entry in publisher.entries(code):
            _print_entry(entry)


@app.command()
def verify(
    certificate: Path,
    authority: Annotated[Path, typer.Option(help="The State's ca.crt.")],
    crl: Annotated[Path | None, typer.Option(help="Its crl.pem.")] = None,
    purpose: Annotated[str | None, typer.Option(help="tls, sign or encrypt.")] = None,
) -> None:
    """Say whose certificate this is. Example: `verify keys/tls.crt --authority ca.crt --crl crl.pem --purpose tls`."""
    lists = [] if crl is None else [read_crl(crl.read_bytes(), str(crl))]
    found = verify_chain(
        [_certificate(certificate)], [_certificate(authority)], lists, at=datetime.now(UTC), purpose=purpose
    )
    print(f"{found.node}{' (the revocation list has expired)' if found.crl_expired else ''}")


@app.command()
def found(folder: Folder, nodes: list[str], base_port: int = 8443, passphrase_file: Passphrase = None) -> None:
    """Make a whole federation on this machine, to try things. Example: `found demo EE FR EU`."""
    plans = [
        NodePlan(node=code, federation=f"https://127.0.0.1:{base_port + number}") for number, code in enumerate(nodes)
    ]
    Founding(folder, _passphrase(passphrase_file)).found(plans)
    print(f"{folder}: keys and trust list of {', '.join(nodes)}")


def main() -> None:
    """Run; an expected failure is one sentence, not a traceback."""
    try:
        app()
    except PkiError as error:
        _fail(f"{error} ({error.code})")
    except FileExistsError as error:
        _fail(f"{error.filename} is there already: a key is never overwritten (pki.file)")
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror} (pki.file)")


def _fail(sentence: str) -> NoReturn:
    print(f"pki: {sentence}", file=sys.stderr)
    sys.exit(1)


def _sign(office: StateOffice, out: Path) -> None:
    write_whole(out, office.sign().to_bytes())
    print(f"{out}: what {office.state} says of its nodes, signed; to the publisher with it. Next: list publish")


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise Untrusted(f"{path} holds no certificate") from error


def _state_keys(states: list[str]) -> dict[str, Key]:
    pairs = [each.partition("=") for each in states]
    if not all(file for _, _, file in pairs):
        _fail("write STATE=FILE, as in EE=states/EE/trust.pub (pki.file)")
    return {code: read_state_key(Path(file).read_bytes()) for code, _, file in pairs}


def _passphrase(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes().strip()


def _print_entry(entry: NodeEntry) -> None:
    certificates = [x509.load_pem_x509_certificate(text.encode()) for text in (*entry.signing, *entry.encryption)]
    end = min((each.not_valid_after_utc for each in certificates), default=None)
    hosts = ", ".join(sorted({each.host for each in entry.logs.values()}))
    place = f"through {entry.relay}" if entry.relay else entry.federation or f"hosted by {hosts}"
    print(f"{entry.node:10} {place:40} {f'certificates end {end:%Y-%m-%d}' if end else ''}".rstrip())


if __name__ == "__main__":
    main()
