"""Bringing authorities and registers in by command: said before it is done, done once, and never half."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from node import cli
from node.directory import Directory, UnknownAuthority
from node.directory.model import Authority
from node.ids import AuthorityId, NodeId
from pki.keys import generate
from pki.signer import FileSigner

CSV = """id,name,name_lang,type,postal_code,city,nuts,website,identifiers.national
EE-1,Haridusamet,et,government_body,10111,Tallinn,EE001,https://haridus.example,90000001
,Elva Vallavalitsus,et,municipality,61507,Elva,EE008,,90000002
,Ruhnu Vallavalitsus,et,municipality,93001,Ruhnu,EE004,ruhnu.example,
"""


def run(config: Path, *arguments: str) -> int:
    return cli.run(["authorities", "import", *arguments, "--config", str(config)])


def size(config: Path) -> int:
    with closing(Directory(config.parent)) as directory:
        held = directory.own.held("EE/authorities")
        return held.size if held else 0


@pytest.fixture
def file(tmp_path):
    found = tmp_path / "authorities.csv"
    found.write_text(CSV, encoding="utf-8")
    return found


def test_a_dry_run_says_what_would_happen_and_changes_nothing(node_config, file, capsys):
    assert run(node_config, str(file), "--dry-run") == 0
    said = capsys.readouterr().out
    assert f"{file}:2  new  EE:1  Haridusamet" in said
    assert "3 added" in " ".join(said.split())
    assert size(node_config) == 0


def test_a_second_import_of_the_same_file_appends_nothing(node_config, file, capsys):
    assert run(node_config, str(file)) == 0
    assert size(node_config) == 3
    assert run(node_config, str(file)) == 0
    assert size(node_config) == 3
    assert "3 as it was" in " ".join(capsys.readouterr().out.split())


def test_what_changed_is_named_by_field_and_nothing_else_is_written(node_config, file, capsys):
    run(node_config, str(file))
    file.write_text(CSV.replace("10111", "10112").replace("Elva Valla", "Elva  VALLA"), encoding="utf-8")
    capsys.readouterr()
    assert run(node_config, str(file), "--dry-run") == 0
    said = capsys.readouterr().out
    assert "changed  EE:1  Haridusamet  address" in said
    assert "matched by national 90000002; names" in said
    run(node_config, str(file))
    assert size(node_config) == 5


def test_a_body_without_number_is_recognised_by_name_and_town_and_keeps_its_identifier(node_config, file, capsys):
    run(node_config, str(file))
    with closing(Directory(node_config.parent)) as directory:
        before = {hit.authority.id for hit in directory.search("ruhnu").hits}
    file.write_text(CSV.replace("Ruhnu Vallavalitsus", "RUHNU vallavalitsus"), encoding="utf-8")
    capsys.readouterr()
    run(node_config, str(file))
    assert "matched by name" in capsys.readouterr().out
    with closing(Directory(node_config.parent)) as directory:
        found = directory.search("ruhnu").hits
        assert {hit.authority.id for hit in found} == before
        assert found[0].authority.website == "http://ruhnu.example"


def test_a_bad_row_is_named_and_does_not_stop_the_others(node_config, file, capsys):
    file.write_text(
        CSV + "FR-9,Mairie,,,,,,,\nEE-1,Twice,,,,,,,\nEE-8,,,,,,,,\nEE-7,short\nEE-6,Fine,,,,,,,\n", "utf-8"
    )
    assert run(node_config, str(file)) == 1
    said = capsys.readouterr().out
    assert f"{file}:5  refused  Mairie  FR-9 is no identifier of EE" in said
    assert f"{file}:6  refused  Twice  the same as line 2" in said
    assert f"{file}:7  refused  name: " in said
    assert f"{file}:8  refused  2 cells for 9 columns" in said
    assert size(node_config) == 4


def test_strict_means_all_or_nothing(node_config, file, capsys):
    file.write_text(CSV + "FR-9,Mairie,,,,,,,\n", encoding="utf-8")
    assert run(node_config, str(file), "--strict") == 1
    assert "nothing is imported" in capsys.readouterr().err
    assert size(node_config) == 0


def test_who_is_not_in_the_file_stays_unless_deletion_is_asked_for(node_config, file, capsys):
    run(node_config, str(file))
    file.write_text("\n".join(CSV.splitlines()[:2]) + "\n", encoding="utf-8")
    run(node_config, str(file))
    assert "2 in the directory, not in the file: left as it is" in " ".join(capsys.readouterr().out.split())
    assert size(node_config) == 3
    assert run(node_config, str(file), "--delete-missing", "--yes") == 0
    assert size(node_config) == 5
    with closing(Directory(node_config.parent)) as directory:
        assert directory.count() == 1
    run(node_config, str(file), "--delete-missing", "--yes")
    assert size(node_config) == 5


def test_nothing_is_deleted_while_a_row_cannot_be_read(node_config, file, capsys):
    run(node_config, str(file))
    file.write_text("id,name\nEE-1,\n", encoding="utf-8")
    assert run(node_config, str(file), "--delete-missing", "--yes") == 1
    assert "nothing is deleted" in capsys.readouterr().err
    with closing(Directory(node_config.parent)) as directory:
        assert directory.count() == 3


def test_what_a_file_does_not_name_stays_and_what_it_empties_goes(node_config, file):
    run(node_config, str(file))
    file.write_text("id,name,website\nEE-1,Haridusamet,\n", encoding="utf-8")
    run(node_config, str(file))
    with closing(Directory(node_config.parent)) as directory:
        found = directory.get(AuthorityId("EE:1"))
    assert (found.website, found.address["city"], found.identifiers) == ("", "Tallinn", {"national": "90000001"})


def test_an_import_by_a_process_of_its_own_is_seen_by_who_has_the_directory_open(node_config, tmp_path):
    """As beside a running node: it reads and writes on while thousands of rows come in."""
    rows = "".join(f"Asutus {n},{n}\n" for n in range(5000))
    file = tmp_path / "many.csv.gz"
    file.write_bytes(gzip.compress(f"name,identifiers.national\n{rows}".encode()))
    command = [sys.executable, "-m", "node", "authorities", "import", str(file), "--config", str(node_config)]
    with (
        closing(Directory(node_config.parent)) as directory,
        subprocess.Popen(command, stderr=subprocess.PIPE) as beside,
    ):
        seen = set()
        while beside.poll() is None:
            seen.add(directory.count())
            with pytest.raises(UnknownAuthority):
                directory.get(AuthorityId("EE:none"))
            time.sleep(0.02)
        assert beside.returncode == 0, beside.stderr
        assert directory.count() == 5000
        assert len(seen) > 2, "it came in parts"


def test_an_import_that_is_killed_goes_on_where_it_was(node_config, tmp_path):
    rows = "".join(f"Asutus {n},{n}\n" for n in range(7000))
    file = tmp_path / "many.csv"
    file.write_text(f"name,identifiers.national\n{rows}", encoding="utf-8")
    command = [sys.executable, "-m", "node", "authorities", "import", str(file), "--config", str(node_config)]
    with closing(Directory(node_config.parent)) as directory, subprocess.Popen(command) as killed:
        while directory.count() == 0 and killed.poll() is None:
            time.sleep(0.02)
        killed.kill()
    assert 0 < size(node_config) < 7000
    assert run(node_config, str(file)) == 0
    assert size(node_config) == 7000


def test_what_moved_to_another_node_of_the_state_is_left_alone(node_config, file, capsys):
    """A national list names it still; neither its identifier, nor its number, nor its name makes a second one."""
    moved = Authority(
        id=AuthorityId("EE:2"), node=NodeId("EE-X"), names={"et": "Elva Vallavalitsus"}, name_lang="et",
        address={"city": "Elva"}, identifiers={"national": "90000002"},
    )  # fmt: skip
    with closing(Directory(node_config.parent)) as directory:
        directory.publish(NodeId("EE-X"), [moved], FileSigner(generate("log")))
    capsys.readouterr()
    assert run(node_config, str(file), "--dry-run") == 0
    assert f"{file}:3  other node  EE:2  Elva Vallavalitsus  belongs to EE-X" in capsys.readouterr().out
    assert run(node_config, str(file), "--delete-missing", "--yes") == 0
    assert size(node_config) == 2
    with closing(Directory(node_config.parent)) as directory:
        assert directory.get(AuthorityId("EE:2")) == moved
