"""The directory as files for others: public and signed, or whole logs; and what an altered file is told."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from node import cli
from node.app import load_keys
from node.directory import Directory
from node.directory.exporting import public_schema
from node.directory.model import Authority, Deleted, Link, Register, write_change
from node.directory.replication import (
    LogId,
    Opening,
    frontier_after,
    new_entry,
    sign_checkpoint,
    write_opening,
    write_page,
)
from node.federation.trust import TrustReader, from_folder
from node.ids import AuthorityId, NodeId
from node.merkle import Frontier
from node.settings import load
from pki.keys import raw_public

EE = NodeId("EE")


def authority(number: str, **more) -> Authority:
    return Authority(id=AuthorityId(f"EE:{number}"), node=EE, names={"et": f"Amet {number}"}, name_lang="et", **more)


@pytest.fixture
def signer(node_config):
    return load_keys(load(node_config)).log_signer


@pytest.fixture
def key(signer):
    return base64.b64encode(raw_public(signer.public_key)).decode()


@pytest.fixture
def filled(node_config, signer):
    """A directory with public and other records, one of them changed, one deleted."""
    with closing(Directory(node_config.parent)) as directory:
        link = Link(coordinator=AuthorityId("EE:1"))
        records = [
            authority("1", roles={"services": ("coordinator",)}, contact="unit 3", email="info@amet.example"),
            authority("2", coordinators=(link,), settings={"services": {"referral": "yes"}}),
            authority("3", status="left"),
            authority("4"),
        ]
        directory.publish(EE, records, signer)
        directory.publish(EE, [Deleted(AuthorityId("EE:4")), authority("2", short_name="A2")], signer)
        registers = [
            Register(id=AuthorityId("EE:r1"), node=EE, names={"et": "Äriregister"}, name_lang="et", fee="no"),
            Register(id=AuthorityId("EE:r2"), node=EE, names={"et": "Sisemine"}, name_lang="et", access="authorities"),
        ]
        directory.publish(EE, registers, signer, collection="registers")
    return node_config


def export(config: Path, *arguments: str) -> int:
    return cli.run(["directory", "export", *arguments, "--config", str(config)])


def lines(file: Path) -> list[dict]:
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line) for line in data.splitlines()]


def test_the_public_export_holds_what_is_public_and_nothing_else(filled, tmp_path):
    file = tmp_path / "public.jsonl.gz"
    assert export(filled, str(file)) == 0
    head, *rest = lines(file)
    assert (head["format"], head["node"]) == ("imi-directory/1", "EE")
    assert sorted(head["heads"]) == ["EE/authorities", "EE/registers"]
    by_id = {next(iter(one.values()))["id"]: next(iter(one.values())) for one in rest}
    assert sorted(by_id) == ["EE:1", "EE:2", "EE:r1"]
    assert by_id["EE:1"] == {
        "id": "EE:1", "node": "EE", "names": {"et": "Amet 1"}, "name_lang": "et", "email": "info@amet.example",
    }  # fmt: skip
    assert not any({"roles", "settings", "coordinators", "contact", "status"} & one.keys() for one in by_id.values())


def test_every_line_is_as_the_published_schema_says(filled, tmp_path):
    file = tmp_path / "public.jsonl"
    export(filled, str(file))
    schema = public_schema()
    for line in lines(file):
        assert fits(line, schema), line
    assert not fits({"authority": {"id": "EE:1"}}, schema)
    assert not fits({"authority": {**lines(file)[1]["authority"], "settings": {}}}, schema)


def test_a_signed_export_is_verified_with_the_key_or_the_trust_list(filled, tmp_path, key, capsys):
    file = tmp_path / "public.jsonl"
    export(filled, str(file))
    assert cli.run(["directory", "verify", str(file), "--key", key]) == 0
    assert "2 authority, 1 register" in capsys.readouterr().out
    file.write_bytes(file.read_bytes().replace(b"Amet 1", b"Amet 9"))
    assert cli.run(["directory", "verify", str(file), "--key", key]) == 1
    assert "no signature of EE" in capsys.readouterr().err


def test_a_whole_log_is_verified_from_the_file_and_the_key_alone(filled, tmp_path, key):
    file = tmp_path / "log.jsonl.gz"
    assert export(filled, str(file), "--log", "EE/authorities") == 0
    command = [sys.executable, "-m", "node.directory.verify", str(file), "--key", key]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(cli.__file__).parents[2])
    assert (done.returncode, done.stderr) == (0, "")
    assert "EE/authorities, 6 entries" in done.stdout
    assert "5 put, 1 deleted, 0 whose body was removed" in done.stdout
    assert "in force: 3 authority" in done.stdout


def test_every_kind_of_damage_to_a_log_is_noticed(filled, tmp_path, key, capsys):
    file = tmp_path / "log.jsonl"
    export(filled, str(file), "--log", "EE/authorities")
    whole = file.read_bytes()
    head, first, *rest = whole.splitlines(keepends=True)
    _, body = json.loads(first)
    damaged = {
        "a word changed": whole.replace(b"Amet 1", b"Amet 9"),
        "a salt changed": head + json.dumps(["00" * 16, body]).encode() + b"\n" + b"".join(rest),
        "an entry left out": head + b"".join(rest),
        "an entry twice": head + first + first + b"".join(rest),
        "two exchanged": head + rest[0] + first + b"".join(rest[1:]),
        "the end missing": whole[:-40],
        "another head": whole.replace(b"EE/authorities\\n6", b"EE/authorities\\n5"),
        "another format": whole.replace(b"imi-log/1", b"imi-log/2"),
        "nothing": b"",
    }
    for what, data in damaged.items():
        assert data != whole, what
        file.write_bytes(data)
        assert cli.run(["directory", "verify", str(file), "--key", key]) == 1, what
        assert capsys.readouterr().err, what


def test_another_key_does_not_verify_a_log(filled, tmp_path, capsys):
    file = tmp_path / "log.jsonl"
    export(filled, str(file), "--log", "EE/authorities")
    assert cli.run(["directory", "verify", str(file), "--key", "A" * 43 + "="]) == 1
    assert "not signed by the log's key" in capsys.readouterr().err


def test_a_removed_body_is_counted_and_the_log_still_verifies(filled, tmp_path, key, capsys):
    file = tmp_path / "log.jsonl"
    export(filled, str(file), "--log", "EE/authorities")
    head, first, *rest = file.read_bytes().splitlines(keepends=True)
    salt, body = json.loads(first)
    leaf = hashlib.sha256(bytes.fromhex(salt) + body.encode()).hexdigest()
    file.write_bytes(head + json.dumps([leaf]).encode() + b"\n" + b"".join(rest))
    assert cli.run(["directory", "verify", str(file), "--key", key]) == 0
    assert "4 put, 1 deleted, 1 whose body was removed" in capsys.readouterr().out


def test_epochs_are_checked_to_follow_each_other(filled, signer, tmp_path, key, capsys):
    early, first, second = (tmp_path / name for name in ("early.jsonl", "first.jsonl.gz", "second.jsonl"))
    export(filled, str(early), "--log", "EE/authorities")
    with closing(Directory(filled.parent)) as directory:
        directory.host.compact(LogId(EE), signer, host=EE, trusted_epoch=1)
        directory.publish(EE, [authority("5")], signer)
    assert export(filled, str(first), "--log", "EE/authorities", "--epoch", "1") == 0
    assert export(filled, str(second), "--log", "EE/authorities") == 0
    capsys.readouterr()
    assert cli.run(["directory", "verify", str(second), str(first), "--key", key]) == 0
    said = capsys.readouterr().out
    assert "EE/authorities/2, 5 entries" in said
    assert "begins with 3 entries of the epoch before" in said
    assert "ends: the log goes on in the next epoch" in said
    assert "The epochs follow each other." in said
    assert cli.run(["directory", "verify", str(early), str(second), "--key", key]) == 1
    assert "goes on from 7 entries of EE/authorities" in capsys.readouterr().err
    assert cli.run(["directory", "verify", str(early), str(first), "--key", key]) == 1
    assert "the same epoch" in capsys.readouterr().err


def test_an_epoch_that_does_not_repeat_what_counted_is_noticed(filled, signer, tmp_path, key, capsys):
    """Signed by the log's own key: the owner itself left something out."""
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    export(filled, str(first), "--log", "EE/authorities")
    checkpoint = lines(first)[0]["checkpoint"]
    kept = write_change(authority("1"))
    entries = [new_entry(write_opening(Opening(checkpoint, 1))), new_entry(kept)]
    frontier = frontier_after(Frontier(), entries)
    signed = sign_checkpoint("EE/authorities/2", frontier, public_key=signer.public_key, sign=signer.sign)
    head = {"format": "imi-log/1", "log": "EE/authorities/2", "checkpoint": signed.note}
    second.write_bytes(json.dumps(head).encode() + b"\n" + write_page(entries))
    assert cli.run(["directory", "verify", str(second), "--key", key]) == 0
    capsys.readouterr()
    assert cli.run(["directory", "verify", str(first), str(second), "--key", key]) == 1
    said = capsys.readouterr().err
    assert "does not repeat what EE/authorities ended with: authority EE:1, authority EE:2, authority EE:3" in said


def test_entries_without_effect_are_named(signer, tmp_path, key, capsys):
    file = tmp_path / "log.jsonl"
    entries = [new_entry(write_change(authority("1"))), new_entry(b'{"op":"put"}')]
    frontier = frontier_after(Frontier(), entries)
    signed = sign_checkpoint("EE/authorities", frontier, public_key=signer.public_key, sign=signer.sign)
    head = {"format": "imi-log/1", "log": "EE/authorities", "checkpoint": signed.note}
    file.write_bytes(json.dumps(head).encode() + b"\n" + write_page(entries))
    assert cli.run(["directory", "verify", str(file), "--key", key]) == 1
    assert "INVALID entry 1: " in capsys.readouterr().out


def test_a_key_or_a_trust_folder_is_needed(tmp_path, capsys):
    file = tmp_path / "log.jsonl"
    file.write_text("{}")
    assert cli.run(["directory", "verify", str(file)]) == 1
    assert cli.run(["directory", "verify", str(file), "--key", "nonsense"]) == 1
    assert cli.run(["directory", "verify", str(file), "--trust", str(tmp_path)]) == 2


def test_the_trust_list_gives_the_keys(filled, tmp_path, capsys):
    trust = filled.parent / "trust"
    TrustReader(trust, from_folder(tmp_path / "federation" / "publisher" / "repository")).refresh()
    log, public = tmp_path / "log.jsonl", tmp_path / "public.jsonl"
    export(filled, str(log), "--log", "EE/registers")
    export(filled, str(public), "--all")
    assert cli.run(["directory", "verify", str(log), str(public), "--trust", str(trust)]) == 0
    assert "2 register" in capsys.readouterr().out


def fits(value: object, schema: dict) -> bool:
    """Whether a value is as a schema says, for the words of JSON Schema that ours uses."""
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    if "const" in schema:
        return value == schema["const"]
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = {"string": str, "object": dict, "array": list, "boolean": bool, "null": type(None), "integer": int}
    if not isinstance(value, kinds[schema["type"]]):
        return False
    if isinstance(value, str):
        return len(value) <= schema.get("maxLength", 10**6) and bool(re.search(schema.get("pattern", ""), value))
    if isinstance(value, list):
        return all(fits(one, schema["items"]) for one in value)
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        return set(schema.get("required", ())) <= value.keys() and all(
            fits(one, known[name]) if name in known else bool(other) and (other is True or fits(one, other))
            for name, one in value.items()
        )
    return True
