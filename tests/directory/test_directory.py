"""Authorities: found in any script, replicated and proven, never silently rewritten."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from node.directory import Authority, Directory, UnknownAuthority
from node.directory.directory import NotOurLog, log_name
from node.directory.folding import fold, spellings
from node.directory.importing import Overlay, read_authorities
from node.directory.model import OPERATOR, BadEntry, Deleted, read_change, write_change
from node.directory.replication import (
    BadCheckpoint,
    BadPage,
    Entry,
    LogForked,
    LogId,
    LogRolledBack,
    pages,
    read_checkpoint,
    read_page,
    write_page,
)
from node.directory.rows import BadImport
from node.directory.store import CannotOpenDirectory
from node.federation.peers import LogKey
from node.ids import AuthorityId, NodeId, State
from node.settings import shipped
from pki.keys import generate
from pki.signer import FileSigner

EE = NodeId("EE")
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def body(name: str = "Haridus- ja Noorteamet", number: str = "1", **more) -> Authority:
    return Authority(
        id=AuthorityId(f"EE:{number}"), node=EE, names={"et": name}, name_lang="et",
        languages=("et", "en"), **more,
    )  # fmt: skip


@pytest.fixture
def signer():
    return FileSigner(generate("log"))


@pytest.fixture
def owner(tmp_path):
    (tmp_path / "owner").mkdir()
    directory = Directory(tmp_path / "owner", vocabulary={"secondary-school-teacher": ["teacher", "õpetaja", "учител"]})
    yield directory
    directory.close()


@pytest.fixture
def replica(tmp_path):
    (tmp_path / "replica").mkdir()
    directory = Directory(tmp_path / "replica")
    yield directory
    directory.close()


def see(directory: Directory, note: str, signer: FileSigner, *, source: str = "EE"):
    key = LogKey(public_key=signer.public_key, host=EE)
    return directory.see(LogId(EE), note, key, source=source, at=NOW)


def follow(owner: Directory, replica: Directory, signer: FileSigner, *, tamper=lambda data: data) -> None:
    """What sync does, without a network."""
    note = owner.heads()[log_name(EE)]
    promised = see(replica, note, signer)
    assert promised
    held = replica.replica.staged(promised.log).size
    for page, width, skip in pages(held, promised.size):
        data = tamper(write_page(owner.replica.page(promised.log, page)[:width]))
        replica.replica.stage(promised.log, read_page(data, count=width)[skip:])
    replica.settle(promised)


def test_a_new_name_is_found_everywhere_without_accents(owner, replica, signer):
    owner.publish(EE, [body(), body("Päästeamet", "2")], signer)
    follow(owner, replica, signer)
    owner.publish(EE, [replace(body("Ühtne Õppeamet"), professions=("secondary-school-teacher",))], signer)
    follow(owner, replica, signer)
    assert [hit.authority.id for hit in replica.search("uhtne oppeamet").hits] == ["EE:1"]
    assert not replica.search("noorteamet").hits
    assert [hit.authority.id for hit in owner.search("teacher").hits] == ["EE:1"]
    assert replica.get(AuthorityId("EE:1")).professions == ("secondary-school-teacher",)


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Υπουργείο Εθνικής Παιδείας και Θρησκευμάτων", "ypourgeio paideias"),
        ("Υπουργείο Εθνικής Παιδείας και Θρησκευμάτων", "ipourgio pedias"),
        ("Υπουργείο Εθνικής Παιδείας και Θρησκευμάτων", "ΥΠΟΥΡΓΕΙΟ ΠΑΙΔΕΙΑΣ"),
        ("Министерство на образованието и науката", "ministerstvo na obrazovanieto"),
        ("Община Търговище", "targovishte"),
        ("Район Лозенец", "rayon lozenets"),
        ("Autoritatea Națională pentru Protecția Consumatorilor", "nationala protectia"),
        ("Υπουργείο Εθνικής Παιδείας και Θρησκευμάτων", "ypourgio paidias"),
        ("Υπουργείο Εθνικής Παιδείας και Θρησκευμάτων", "upourgeio paideias"),
        ("Υπουργείο Εξωτερικών", "eksoterikon"),
        ("Столична община София", "sofia"),
        ("Столична община София", "sofija"),
        ("Община Търговище", "turgovishte"),
        ("Народно събрание на България", "bulgaria"),
        ("Landeshauptstadt München", "muenchen"),
        ("Landeshauptstadt München", "munchen"),
        ("Århus Kommune", "aarhus"),
        ("Straßenbauamt Łódź", "strassenbauamt lodz"),
        ("Sjøfartsdirektoratet, Ærø", "sjofartsdirektoratet aero"),
    ],
)
def test_names_are_found_as_people_type_them(owner, signer, name, typed):
    owner.publish(EE, [body(name)], signer)
    assert owner.search(typed).hits


def test_folding_keeps_the_bulgarian_short_i_apart():
    assert fold("Й") == "й"
    assert spellings("й") == (["й"], ["y"])


def test_filters_hold_together(owner, signer):
    a = body("Amet", "1", areas=("services",), roles={"services": ("alert-inbox",)}, territory=("EE001",))
    owner.publish(EE, [a, body("Amet", "2")], signer)
    assert [
        h.authority.id for h in owner.search("amet", area="services", role="services/alert-inbox", nuts="EE0").hits
    ] == ["EE:1"]
    assert not owner.search("amet", state=State("FR")).hits
    assert [found.id for found in owner.with_role("services", "alert-inbox", State("EE"))] == ["EE:1"]
    assert len(owner.search("").hits) == 2
    assert owner.search("amet", limit=1).has_more


@pytest.mark.parametrize("typed", ['"', "a* OR b", "NEAR(a b)", "names:x", "\x00", "'" * 50, "x" * 5000, "-", "*"])
def test_what_is_typed_is_never_query_syntax(owner, signer, typed):
    owner.publish(EE, [body()], signer)
    owner.search(typed)


def test_a_deleted_authority_is_gone_and_the_log_goes_on(owner, replica, signer):
    owner.publish(EE, [body()], signer)
    owner.publish(EE, [Deleted(AuthorityId("EE:1"))], signer)
    follow(owner, replica, signer)
    with pytest.raises(UnknownAuthority):
        replica.get(AuthorityId("EE:1"))
    assert replica.replica.held(log_name(EE)).size == 2


def test_a_tampered_page_is_refused_and_nothing_of_it_counts(owner, replica, signer):
    owner.publish(EE, [body()], signer)
    with pytest.raises(BadPage):
        follow(owner, replica, signer, tamper=lambda data: data.replace(b"Noorteamet", b"Valeamet!!"))
    assert replica.count() == 0
    follow(owner, replica, signer)
    assert replica.count() == 1


def test_only_the_host_may_say_that_a_body_was_deleted(owner, signer):
    owner.publish(EE, [body()], signer)
    leaf = owner.replica.page(log_name(EE), 0)[0].leaf
    page = write_page([Entry(leaf, None, None)])
    with pytest.raises(BadPage):
        read_page(page, count=1)
    assert read_page(page, count=1, from_host=True) == [Entry(leaf, None, None)]


def test_a_smaller_log_from_its_host_is_a_rollback_and_kept_as_evidence(owner, replica, signer):
    owner.publish(EE, [body()], signer)
    old = owner.heads()[log_name(EE)]
    owner.publish(EE, [body("Uus nimi")], signer)
    follow(owner, replica, signer)
    assert see(replica, old, signer, source="FR") is None  # a peer may lag behind
    with pytest.raises(LogRolledBack):
        see(replica, old, signer)
    assert [each.kind for each in replica.evidence()] == ["peer.log-rolled-back"]


def test_two_logs_of_one_size_are_a_fork(tmp_path, owner, replica, signer):
    owner.publish(EE, [body()], signer)
    follow(owner, replica, signer)
    (tmp_path / "liar").mkdir()
    liar = Directory(tmp_path / "liar")
    liar.publish(EE, [body("Teine tõde")], signer)
    with pytest.raises(LogForked):
        see(replica, liar.heads()[log_name(EE)], signer)
    liar.publish(EE, [body("Kolmas", "3")], signer)
    assert see(replica, liar.heads()[log_name(EE)], signer) is None  # frozen: nothing more of it is asked for
    assert replica.release(LogId(EE), because="the liar was found")
    with pytest.raises(BadPage):  # longer, but it does not continue what we hold
        follow(liar, replica, signer)
    assert replica.get(AuthorityId("EE:1")).name == "Haridus- ja Noorteamet"
    liar.close()


def test_a_checkpoint_of_another_key_or_log_is_refused(owner, signer):
    owner.publish(EE, [body()], signer)
    note = owner.heads()[log_name(EE)]
    with pytest.raises(BadCheckpoint):
        read_checkpoint(note, log=log_name(EE), public_key=FileSigner(generate("log")).public_key)
    with pytest.raises(BadCheckpoint):
        read_checkpoint(note, log="FR/authorities", public_key=signer.public_key)
    with pytest.raises(BadCheckpoint):
        read_checkpoint(note.replace("\n1\n", "\n2\n"), log=log_name(EE), public_key=signer.public_key)


@pytest.mark.parametrize(
    "data", [b"[]\n", b"{}\n", b"[1]\n", b'["00","x"]\n', b"[" * 100_000 + b"\n", b'["zz"]\n', b"\xff\n"]
)
def test_malformed_entries_are_refused(data):
    with pytest.raises(BadPage):
        read_page(data, count=1)


def test_an_entry_speaks_only_for_its_own_node():
    with pytest.raises(BadEntry):
        read_change(write_change(body()), node=NodeId("FR"))
    with pytest.raises(BadEntry):
        read_change(b"{}", node=EE)


def test_nothing_enters_a_log_that_others_would_refuse(owner, signer):
    with pytest.raises(BadEntry):
        owner.publish(EE, [body("x" * 500)], signer)
    with pytest.raises(NotOurLog):
        owner.publish(NodeId("FR"), [body()], signer)
    assert owner.own.held(log_name(EE)) is None


def test_a_crash_between_log_and_replica_is_made_good_at_the_next_start(tmp_path, owner, signer):
    owner.publish(EE, [body()], signer)
    owner.close()
    (tmp_path / "owner" / "directory.db").unlink()
    again = Directory(tmp_path / "owner")
    again.catch_up()
    assert again.get(AuthorityId("EE:1")).name == "Haridus- ja Noorteamet"
    again.close()


def test_the_bodies_a_coordinator_represents_are_those_whose_entries_say_so_now(owner, signer):
    represented = body(number="2", represented_by=AuthorityId("EE:1"))
    owner.publish(EE, [body(), represented, body(number="3", represented_by=AuthorityId("EE:9"))], signer)
    assert owner.represented_by(AuthorityId("EE:1")) == ("EE:2",)
    owner.publish(EE, [replace(represented, represented_by="")], signer)
    assert owner.represented_by(AuthorityId("EE:1")) == ()


def test_all_shipped_authorities_can_be_read_and_the_overlay_is_marked():
    overlay = Overlay(shipped("directory", "overlay.toml"))
    files = sorted(shipped("directory", "authorities").glob("*.jsonl"))
    found = [a for f in files for a in overlay.over(read_authorities(f, node=NodeId(f.stem)))]
    assert len(found) == 15507
    marked = [a for a in found if a.roles]
    assert 50 <= len(marked) <= 70
    assert all(a.assignment_invented for a in marked)
    for authority in found:
        read_change(write_change(replace(authority, node=NodeId(authority.state))), node=NodeId(authority.state))


@pytest.mark.parametrize(
    "line", ["{", '{"id": "FR-1", "name": "x"}', '{"name": "x"}', '{"id": "EE-2"}', "[1]", '"x"', "{}" + " " * 70_000]
)
def test_a_bad_import_names_file_and_line(tmp_path, line):
    file = tmp_path / "EE.jsonl"
    file.write_text('{"id": "EE-1", "name": "x", "name_lang": "et"}\n' + line + "\n")
    with pytest.raises(BadImport, match="line 2"):
        list(read_authorities(file, node=EE))


def _back(folder, name, kept):
    """Put a kept file back, as from a backup."""
    for tail in ("-wal", "-shm"):
        (folder / (name + tail)).unlink(missing_ok=True)
    shutil.copy(kept, folder / name)


def test_after_a_restored_backup_no_size_is_signed_twice(tmp_path, owner, replica, signer):
    owner.publish(EE, [body()], signer)
    owner.close()
    shutil.copy(tmp_path / "owner" / "logs.db", tmp_path / "backup.db")
    later = Directory(tmp_path / "owner")
    later.publish(EE, [body("Uus nimi")], signer)
    follow(later, replica, signer)
    later.close()
    _back(tmp_path / "owner", "logs.db", tmp_path / "backup.db")
    restored = Directory(tmp_path / "owner")
    restored.catch_up()
    with pytest.raises(BadCheckpoint):
        restored.publish(EE, [body("Kolmas", "3")], FileSigner(generate("log")))
    checkpoint = restored.publish(EE, [body("Kolmas", "3")], signer)
    assert checkpoint.size == 3
    follow(restored, replica, signer)
    assert replica.get(AuthorityId("EE:1")).name == "Uus nimi"
    assert replica.get(AuthorityId("EE:3")).name == "Kolmas"
    restored.close()


def test_other_entries_than_were_signed_are_never_signed(tmp_path, owner, replica, signer):
    owner.publish(EE, [body()], signer)
    owner.publish(EE, [body("Teine", "2")], signer)
    owner.close()
    (tmp_path / "liar").mkdir()
    liar = Directory(tmp_path / "liar")
    liar.publish(EE, [body("Muu", "3")], signer)
    liar.close()
    _back(tmp_path / "owner", "logs.db", tmp_path / "liar" / "logs.db")
    again = Directory(tmp_path / "owner")
    again.catch_up()
    with pytest.raises(LogForked):
        again.publish(EE, [body("Neljas", "4")], signer)
    assert again.own.held(log_name(EE)).size == 1
    again.close()


def test_a_contradiction_is_kept_once(tmp_path, owner, replica, signer):
    owner.publish(EE, [body()], signer)
    old = owner.heads()[log_name(EE)]
    owner.publish(EE, [body("Uus nimi")], signer)
    follow(owner, replica, signer)
    for _ in range(3):
        with pytest.raises(LogRolledBack):
            see(replica, old, signer)
    assert len(replica.evidence()) == 1


def test_a_copy_of_another_format_is_made_again_and_evidence_stays(tmp_path, owner, signer):
    owner.publish(EE, [body("Uus nimi")], signer)
    owner.replica.connection().executescript(
        "CREATE TABLE evidence (id INTEGER PRIMARY KEY, at TEXT, log TEXT, kind TEXT, source TEXT, held TEXT, seen TEXT);"
        "INSERT INTO evidence VALUES (1, '2026-01-01', 'EE/authorities', 'peer.log-rolled-back', 'EE', 'a', 'b');"
        "PRAGMA user_version=3"
    )
    owner.close()
    again = Directory(tmp_path / "owner")
    assert again.count() == 0
    again.catch_up()
    assert again.get(AuthorityId("EE:1")).name == "Uus nimi"
    assert [each.kind for each in again.evidence()] == ["peer.log-rolled-back"]
    assert (tmp_path / "owner" / "directory.db.format-3").is_file()
    again.close()


def test_logs_of_another_format_are_refused(tmp_path, owner):
    owner.own.connection().execute("PRAGMA user_version=9")
    owner.close()
    with pytest.raises(CannotOpenDirectory):
        Directory(tmp_path / "owner")


def test_a_name_of_no_stated_language_is_in_the_states_own_and_a_seat_is_no_territory(tmp_path):
    file = tmp_path / "EE.jsonl"
    file.write_text(
        '{"id": "EE-1", "name": "Amet", "nuts": "EE001"}\n'
        '{"id": "EE-2", "name": "Amet", "nuts": "EE001", "level": "national"}\n'
        '{"id": "EE-3", "name": "Office", "name_lang": "en", "nuts": "EE001", "type": "ministry"}\n'
        '{"id": "EE-4", "name": "Vald", "nuts": "EE001", "nuts_by": "city", "type": "municipality"}\n'
        '{"id": "EE-5", "name": "Maavalitsus", "nuts": "EE001", "level": "regional"}\n'
        '{"id": "EE-6", "name": "Maavalitsus", "nuts": "EE001", "nuts_by": "city", "level": "regional"}\n'
    )
    found = list(read_authorities(file, node=EE))
    assert [a.name_lang for a in found] == ["et", "et", "en", "et", "et", "et"]
    assert {a.address["nuts"] for a in found} == {"EE001"}
    assert [a.territory for a in found] == [(), (), (), ("EE001",), ("EE001",), ()]


def test_a_search_in_a_region_finds_who_sits_there(owner, signer):
    owner.publish(EE, [body(level="local", address={"city": "Tallinn", "nuts": "EE001"})], signer)
    for region in ("EE001", "EE00", "EE0"):
        assert [hit.authority.id for hit in owner.search("", nuts=region).hits] == ["EE:1"]
    assert owner.search("", nuts="EE008").hits == ()


def test_an_entry_says_only_what_is_known():
    written = write_change(body())
    assert b"website" not in written
    assert len(written) < 200
    assert read_change(written, node=EE) == (body(), OPERATOR)
    gone = Deleted(AuthorityId("EE:1"))
    assert read_change(write_change(gone), node=EE) == (gone, OPERATOR)


def test_words_of_a_profession_find_it_whoever_wrote_the_index(tmp_path, owner, signer):
    owner.replica.vocabulary = {}
    owner.publish(EE, [body(professions=("secondary-school-teacher",)), body("Päästeamet", "2")], signer)
    words = {
        "secondary-school-teacher": ["teacher", "enseignant du secondaire", "profesor", "учител"],
        "86.21": ["Arzt"],
    }
    reader = Directory(tmp_path / "owner", vocabulary=words)
    for typed in ("enseignant", "profesor", "teach", "учител", "profesor noorteamet"):
        found = reader.search(typed)
        assert [hit.authority.id for hit in found.hits] == ["EE:1"], typed
        assert not found.partial
    assert not reader.search("arzt").hits
    assert reader.search("profesor").understood == ("secondary-school-teacher",)
    reader.close()


def test_if_none_has_all_words_those_with_most_are_found(owner, signer):
    owner.publish(EE, [body("Haridusamet Tallinn"), body("Haridusamet", "2"), body("Päästeamet", "3")], signer)
    found = owner.search("haridusamet tallinn diplom")
    assert found.partial
    assert [hit.authority.id for hit in found.hits] == ["EE:1"]
    assert not owner.search("haridusamet tallinn").partial
    nothing = owner.search("midagi muud")
    assert not nothing.hits
    assert not nothing.partial
    assert not owner.search("haridusamet diplom", state=State("FR")).hits
