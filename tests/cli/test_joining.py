"""A State joins with commands alone, as docs/how-to/run-a-node.md says: office, node, publisher, then the first reading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(*arguments: str, cwd: Path, stdin: str = "", expect: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        input=stdin,
        check=False,
        timeout=60,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_state_joins_with_commands_alone(tmp_path):
    run("pki", "state", "create", "office", "EE", cwd=tmp_path)
    run("pki", "list", "ceremony", "publisher", "EE=office/trust.pub", cwd=tmp_path)
    root = tmp_path / "publisher" / "repository" / "metadata" / "1.root.json"
    told = run(
        "node",
        "init",
        "node",
        "--node",
        "EE",
        "--url",
        "https://127.0.0.1:8443",
        "--trust-root",
        str(root),
        cwd=tmp_path,
    )
    assert "What comes next" in told
    again = run(
        "node",
        "init",
        "node",
        "--node",
        "EE",
        "--url",
        "https://x:1",
        "--trust-root",
        str(root),
        cwd=tmp_path,
        expect=2,
    )
    assert "lives here already" in again
    early = run("node", "check", "--config", "node/node.toml", cwd=tmp_path, expect=1)
    assert "FAULT" in early
    assert "has not answered" in early
    run("pki", "state", "admit", "office", "node/request.json", "certificates.json", cwd=tmp_path)
    run("pki", "state", "sign", "office", "submission.json", cwd=tmp_path)
    run("pki", "list", "publish", "publisher", "submission.json", cwd=tmp_path)
    run("pki", "node", "install", "node/keys", "certificates.json", cwd=tmp_path)
    read = run(
        "node", "peers", "bootstrap", "--from", "publisher/repository", "--config", "node/node.toml", cwd=tmp_path
    )
    assert "1 nodes" in read
    assert "EE" in run("node", "peers", "--config", "node/node.toml", cwd=tmp_path)
    (tmp_path / "EE.jsonl").write_text(
        '{"id": "EE-b81b464c76", "name": "Haridus- ja Teadusministeerium", "name_lang": "et"}\n'
    )
    run("node", "authorities", "import", "EE.jsonl", "--config", "node/node.toml", cwd=tmp_path)
    found = run("node", "authorities", "search", "haridus", "--config", "node/node.toml", cwd=tmp_path)
    assert "EE:b81b464c76" in found
    added = run(
        "node", "users", "add", "mari", "--authority", "EE:b81b464c76", "--role", "handler", "--token",
        "--config", "node/node.toml", cwd=tmp_path, stdin="a long enough password\n",
    )  # fmt: skip
    assert "API token" in added
    checked = run("node", "check", "--config", "node/node.toml", cwd=tmp_path)
    assert "FAULT" not in checked


def test_a_malformed_catalogue_stops_the_start_and_names_file_line_and_reason(tmp_path):
    import shutil

    from node.settings import shipped

    shutil.copytree(shipped(), tmp_path / "config", ignore=shutil.ignore_patterns("directory"))
    broken = tmp_path / "config" / "workflows" / "request.toml"
    broken.write_text(broken.read_text().replace('to = "accepted"', 'to = "accepte"', 1))
    (tmp_path / "node.toml").write_text('node = "EE"\ndata = "."\ncatalogue = "config"\n')
    told = run("node", "check", "--config", "node.toml", cwd=tmp_path, expect=1)
    assert "workflows/request.toml" in told
    assert "accepte" in told
