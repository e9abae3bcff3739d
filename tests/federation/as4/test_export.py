"""An exported exchange is checked by code that is not ours; any change to it is noticed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from node.federation import as4

CHECKER = Path(__file__).parents[2] / "outside" / "check_message.py"


def written(pair, folder: Path, *parts: as4.Part, receipt: bool = True) -> Path:
    built = pair.build(pair.message(*parts))
    answer = pair.receipt(pair.verify(built.content_type, built.body)).soap
    files = as4.export(
        as4.Exchange(
            content_type=built.content_type,
            body=built.body,
            receipt=answer if receipt else None,
            sender=pair.at.signer.certificate,
            recipient=pair.si.signer.certificate,
            authorities=[],
            facts={"direction": "sent"},
        )
    )
    for name, content in files.items():
        (folder / name).write_bytes(content)
    key = pair.si.decrypter._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(key)
    return folder


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(CHECKER), str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


PARTS = (
    as4.Part(content=b'{"events": []}', mime_type="application/json"),
    as4.Part(content=bytes(range(256)) * 9, mime_type="application/pdf", compressed=False),
)


def test_a_message_and_its_receipt_hold_outside(pair, tmp_path):
    folder = written(pair, tmp_path, *PARTS)
    result = check(folder, str(folder / "key.pem"))
    assert (result.returncode, result.stdout) == (0, "message and receipt hold; 2 attachments checked\n"), result.stderr
    assert "not checked: no key" in check(folder).stdout


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("request.http", b"AT-2026-000123", b"AT-2026-000124"),
        ("request.http", b"2026-11-24", b"2026-11-25"),
        ("request.http", b"\r\n--=_", b"x\r\n--=_"),
        ("receipt.xml", b"5d5e1331", b"5d5e1332"),
        ("receipt.xml", b"<ds:DigestValue>", b"<ds:DigestValue>AAAA"),
    ],
)
def test_a_change_is_noticed_outside(pair, tmp_path, file, old, new):
    folder = written(pair, tmp_path, *PARTS)
    content = (folder / file).read_bytes()
    changed = content[::-1].replace(old[::-1], new[::-1], 2 if old.startswith(b"\r\n") else -1)[::-1]
    assert changed != content
    (folder / file).write_bytes(changed)
    assert check(folder, str(folder / "key.pem")).returncode != 0


def test_another_signer_is_noticed_outside(pair, tmp_path):
    folder = written(pair, tmp_path, *PARTS)
    (folder / "sender.crt").write_bytes((folder / "recipient.crt").read_bytes())
    assert check(folder).returncode != 0


def test_what_is_exported_says_what_it_is(pair, tmp_path):
    folder = written(pair, tmp_path, *PARTS, receipt=False)
    about = json.loads((folder / "about.json").read_text())
    assert about["message_id"] == "5d5e1331@at.imi.node"
    assert about["direction"] == "sent"
    assert sorted(about["files"]) == ["ca.crt", "recipient.crt", "request.http", "sender.crt"]
    assert [part["mime_type"] for part in about["parts"]] == ["application/json", "application/pdf"]
