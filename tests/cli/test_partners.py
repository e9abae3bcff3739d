"""An access point outside the federation, with commands alone: added, tested, written to, read from, removed."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from cryptography import x509

from node import cli
from node.federation import attempts, outside
from tests.delivery.harness import until
from tests.delivery.partners import SERVICE, Side, files_of, introduce, two_sides

WITHOUT_DEFAULT = {"agreement_ref", "agreement_type", "our_party", "type", "property_types"}  # the example has some


@pytest.fixture
def sides(tmp_path):
    return two_sides(tmp_path)


def test_a_peer_is_written_down_once_every_fingerprint_is_confirmed(sides, capsys):
    estonia, partner = sides
    files = _options(files_of(partner))
    given = [option for digest in _fingerprints(partner) for option in ("--fingerprint", digest)]
    assert estonia.command("peers", "add", "partner", *files, *given) == 0
    told = capsys.readouterr().out
    assert (estonia.home / "peers/partner/agreement.toml").is_file()
    assert SERVICE in told
    assert outside.grouped(_fingerprint(estonia.home / "keys/sign-ecc.crt")) in told  # what they need of us
    assert "/imi/v1/as4" in told
    assert estonia.command("peers") == 0
    assert "partner" in capsys.readouterr().out
    assert estonia.command("peers", "show", "partner") == 0
    assert outside.grouped(_fingerprint(partner.home / "keys/tls.crt")) in capsys.readouterr().out


def test_fingerprints_may_be_typed_whole(sides, monkeypatch, capsys):
    estonia, partner = sides
    tls, sign, encrypt = _fingerprints(partner)
    _typed(monkeypatch, tls, f"  {sign.lower()} ", outside.grouped(encrypt.replace(":", "")))
    assert estonia.command("peers", "add", "partner", *_options(files_of(partner))) == 0
    assert (estonia.home / "peers/partner").is_dir()
    assert "type or paste from there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "has 64 characters, you gave 0, 64 are missing"),
        ("all but one", "has 64 characters, you gave 63, 1 are missing"),
        ("the first eight", "has 64 characters, you gave 8, 56 are missing"),
        ("one too many", "has 64 characters, you gave 65:"),
        ("right at its first eight", "no certificate of these files has the fingerprint"),
        ("another certificate's", "the fingerprint of the certificate for tls was not confirmed"),
    ],
)
def test_anything_but_the_whole_fingerprint_is_refused(sides, monkeypatch, capsys, typed, says):
    estonia, partner = sides
    tls, *others = _fingerprints(partner)
    digest = tls.replace(":", "")
    first = {
        "": "", "all but one": digest[:-1], "the first eight": _spaced(digest), "one too many": digest + "0",
        "right at its first eight": digest[:8] + "0" * 56, "another certificate's": others[0],
    }[typed]  # fmt: skip
    _typed(monkeypatch, first, *others)
    assert estonia.command("peers", "add", "partner", *_options(files_of(partner))) == 1
    told = capsys.readouterr().err
    assert says in told
    assert "nothing is written" in told
    assert not (estonia.home / "peers").exists()


@pytest.mark.parametrize("wrong", ["one missing", "one of another certificate", "one too many", "typed wrongly"])
def test_nothing_is_written_while_one_fingerprint_is_wrong(sides, monkeypatch, capsys, wrong):
    estonia, partner = sides
    digests = _fingerprints(partner)
    if wrong == "one missing":
        digests.pop()
    elif wrong == "one of another certificate":
        digests[-1] = _fingerprint(estonia.home / "keys/tls.crt")
    elif wrong == "one too many":
        digests.append(_fingerprint(estonia.home / "keys/tls.crt"))
    given = [option for digest in digests for option in ("--fingerprint", digest)]
    if wrong == "typed wrongly":
        _typed(monkeypatch, "00000000")
        given = []
    assert estonia.command("peers", "add", "partner", *_options(files_of(partner)), *given) == 1
    assert "nothing is written" in capsys.readouterr().err
    assert not (estonia.home / "peers").exists()


def test_a_suite_without_keys_here_names_the_command_that_makes_them(sides, capsys):
    estonia, partner = sides
    files = files_of(partner)
    (estonia.home / "keys/sign-ecc.key").unlink()
    (estonia.home / "keys/encrypt-ecc.key").unlink()
    assert estonia.command("peers", "add", "partner", *_options(files)) == 2
    told = capsys.readouterr().err
    assert f"node request {estonia.home / 'keys'} EE request.json --also ecc --host 127.0.0.1 --url https://" in told
    assert not (estonia.home / "peers").exists()


def test_a_certificate_that_does_not_fit_the_suite_is_named(sides, capsys):
    estonia, partner = sides
    files = files_of(partner) | {"--sign": str(partner.home / "keys/sign.crt")}
    assert estonia.command("peers", "add", "partner", *_options(files)) == 2
    assert "sign certificate" in capsys.readouterr().err


def test_the_same_tls_certificate_cannot_be_two_peers(sides, capsys):
    estonia, partner = sides
    introduce(estonia, partner)
    assert estonia.command("peers", "add", "again", *_options(files_of(partner))) == 2
    assert "partner shows the same TLS certificate" in capsys.readouterr().err


async def test_files_go_to_and_come_from_a_partner_and_each_message_tells_its_story(sides, tmp_path, capsys):
    estonia, partner = sides
    introduce(estonia, partner)
    introduce(partner, estonia)
    permit = tmp_path / "permit.xml"
    permit.write_text("<permit>Ehitusluba</permit>")
    sent = ["messages", "send", "partner", str(permit), "--action", "Submit", "--conversation", "permit-7"]
    assert await _run(estonia, *sent) == 0
    message_id = capsys.readouterr().out.strip()
    async with partner.small().running(), estonia.small().running() as ours:
        await until(lambda: _outcomes(ours, ["received"]))
    for side in sides:
        assert await _run(side, "messages", "show", message_id) == 0
        told = capsys.readouterr().out
        for expected in (SERVICE, "as4-2.0-ecc", "Submit", "permit-7", "imi-node-no", "application/xml", "SHA-256"):
            assert expected in told
        assert "Ehitusluba" not in told
    assert await _run(partner, "messages", "payload", message_id, "--to", str(tmp_path / "inbox")) == 0
    about = json.loads((tmp_path / "inbox/message.json").read_text())
    assert about["properties"] == {"originalSender": "EE", "finalRecipient": "partner"}
    assert (tmp_path / "inbox" / about["parts"][0]["file"]).read_text() == permit.read_text()
    assert (tmp_path / "inbox" / about["parts"][0]["file"]).stat().st_mode & 0o077 == 0
    for side in sides:
        assert await _run(side, "messages", "export", message_id, "--to", str(tmp_path / side.node)) == 0
        names = {path.name for path in (tmp_path / side.node).iterdir()}
        assert names == {"request.http", "receipt.xml", "sender.crt", "recipient.crt", "ca.crt", "about.json"}
    vouching = x509.load_pem_x509_certificates((tmp_path / "EE/ca.crt").read_bytes())
    assert x509.load_pem_x509_certificate((partner.home / "keys/sign-ecc.crt").read_bytes()) in vouching


async def test_rsa_keys_and_a_file_too_large_for_a_row(tmp_path, capsys):
    estonia, partner = two_sides(tmp_path, family="rsa")
    introduce(estonia, partner, family="rsa")
    introduce(partner, estonia, family="rsa")
    plan = tmp_path / "plan.bin"
    plan.write_bytes(os.urandom(300_000))
    assert await _run(estonia, "messages", "send", "partner", str(plan), "--action", "Submit") == 0
    message_id = capsys.readouterr().out.strip()
    async with partner.small().running(), estonia.small().running() as ours:
        await until(lambda: _outcomes(ours, ["received"]))
    capsys.readouterr()
    assert await _run(partner, "messages", "show", message_id) == 0
    assert "as4-1.15-rsa" in capsys.readouterr().out
    assert await _run(partner, "messages", "payload", message_id, "--to", str(tmp_path / "inbox")) == 0
    capsys.readouterr()
    assert (tmp_path / "inbox/payload-1.bin").read_bytes() == plan.read_bytes()
    assert await _run(partner, "messages", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["size"] > 300_000
    assert await _run(estonia, "messages", "export", message_id, "--to", str(tmp_path / "evidence")) == 0
    folder = tmp_path / "evidence"
    verify = ["openssl", "verify", "-partial_chain", "-CAfile", "ca.crt", "sender.crt", "recipient.crt"]
    told = await asyncio.to_thread(subprocess.run, verify, cwd=folder, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["sender.crt: OK", "recipient.crt: OK"]


@pytest.mark.parametrize("compress", ["true", "false"])
async def test_payloads_travel_as_agreed(sides, tmp_path, capsys, compress):
    estonia, partner = sides
    introduce(estonia, partner, more=f"compress = {compress}")
    introduce(partner, estonia)
    permit = tmp_path / "permit.xml"
    permit.write_text("<permit> <!-- none --> </permit>")
    assert await _run(estonia, "messages", "send", "partner", str(permit), "--action", "Submit") == 0
    message_id = capsys.readouterr().out.strip()
    async with partner.small().running(), estonia.small().running() as ours:
        await until(lambda: _outcomes(ours, ["received"]))
    capsys.readouterr()
    assert await _run(partner, "messages", "show", message_id) == 0
    assert ("application/xml, compressed" in capsys.readouterr().out) == (compress == "true")


async def test_a_refused_message_tells_both_sides_which_field_differed(sides, tmp_path, capsys):
    estonia, partner = sides
    introduce(estonia, partner)
    introduce(partner, estonia, more='their_party_type = "urn:example:other"')
    permit = tmp_path / "permit.xml"
    permit.write_text("<permit/>")
    assert await _run(estonia, "messages", "send", "partner", str(permit), "--action", "Submit") == 0
    message_id = capsys.readouterr().out.strip()
    async with partner.small().running(), estonia.small().running() as ours:
        await until(lambda: _outcomes(ours, ["never again"]))
    capsys.readouterr()
    assert await _run(estonia, "messages", "show", message_id) == 0
    assert "EBMS:0001 ValueNotRecognized" in capsys.readouterr().out
    assert await _run(partner, "messages", "show", message_id) == 0
    told = capsys.readouterr().out
    assert "From/PartyId type" in told
    assert "urn:example:other" in told
    assert await _run(partner, "messages", "list", "--refused", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["field"] == "From/PartyId type"
    assert await _run(partner, "peers", "show", "estonia") == 0
    assert "From/PartyId type" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["EE", "--action", "Submit"], "node of the federation"),
        (["partner", "--action", "Withdraw"], "agreed: Submit"),
        (["partner", "--action", "Submit", "--service", "urn:other"], "is not agreed"),
        (["stranger", "--action", "Submit"], "no node stranger"),
    ],
)
def test_what_is_not_agreed_is_not_sent(sides, tmp_path, capsys, arguments, says):
    estonia, partner = sides
    introduce(estonia, partner)
    file = tmp_path / "f.txt"
    file.write_text("x")
    peer, *options = arguments
    assert estonia.command("messages", "send", peer, str(file), *options) == 1
    assert says in capsys.readouterr().err


def test_a_file_above_a_mebibyte_is_refused(sides, tmp_path, capsys):
    estonia, partner = sides
    introduce(estonia, partner)
    file = tmp_path / "f.bin"
    file.write_bytes(bytes(1024 * 1024 + 1))
    assert estonia.command("messages", "send", "partner", str(file), "--action", "Submit") == 1
    assert "may have 1048576 bytes" in capsys.readouterr().err


def test_removing_a_peer_asks_for_its_name_and_keeps_what_waits(sides, tmp_path, monkeypatch, capsys):
    estonia, partner = sides
    introduce(estonia, partner)
    file = tmp_path / "f.txt"
    file.write_text("x")
    assert estonia.command("messages", "send", "partner", str(file), "--action", "Submit") == 0
    message_id = capsys.readouterr().out.strip()
    _typed(monkeypatch, "no")
    assert estonia.command("peers", "remove", "partner") == 1
    assert (estonia.home / "peers/partner").is_dir()
    assert estonia.command("peers", "remove", "partner", "--yes") == 0
    assert "1 messages have no receipt from partner" in capsys.readouterr().out
    assert not (estonia.home / "peers/partner").exists()
    assert estonia.command("messages", "show", message_id) == 0
    assert "waiting" in capsys.readouterr().out
    given = [option for digest in _fingerprints(partner) for option in ("--fingerprint", digest)]
    assert estonia.command("peers", "add", "partner", *_options(files_of(partner)), *given) == 0
    assert "1 messages wait for a peer called partner" in capsys.readouterr().out


def test_the_example_agreement_is_one_and_names_every_entry_with_its_default(capsys):
    assert cli.run(["peers", "example"]) == 0
    text = capsys.readouterr().out
    outside.parse(text.encode())
    everything = re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)
    outside.parse(everything.encode())
    written = tomllib.loads(everything)
    parts = ((written, outside.AgreementFile), (written["service"][0], outside.ServiceEntry),
             (written["retry"], outside.RetryEntry), (written["limits"], outside.LimitsEntry))  # fmt: skip
    for entries, model in parts:
        assert set(entries) == set(model.model_fields)
        shown = model.model_validate(entries)
        for name, about in model.model_fields.items():
            if not about.is_required() and name not in WITHOUT_DEFAULT:
                assert getattr(shown, name) == about.get_default(call_default_factory=True), name


async def _run(side: Side, *arguments: str) -> int:
    return await asyncio.to_thread(side.command, *arguments)


def _options(files: dict[str, str]) -> list[str]:
    return [part for pair in files.items() for part in pair]


def _fingerprint(path: Path) -> str:
    return outside.fingerprint(x509.load_pem_x509_certificate(path.read_bytes()))


def _fingerprints(side: Side) -> list[str]:
    """As a paper has them: upper case, with colons."""
    names = ("tls", "sign-ecc", "encrypt-ecc")
    digests = [_fingerprint(side.home / f"keys/{name}.crt").upper() for name in names]
    return [":".join(digest[place : place + 2] for place in range(0, 64, 2)) for digest in digests]


def _typed(monkeypatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def _spaced(digest: str) -> str:
    return f"{digest[:4]} {digest[4:8]}"


async def _outcomes(node, expected: list[str]) -> bool:
    found = await node.database.read(attempts.of_message, 1)
    return [attempt.outcome for attempt in found] == expected
