"""What lies in the files: proofs at small cost, flagged entries, frozen logs, what owners hand in, older formats."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from node import merkle
from node.directory import Authority, Directory
from node.directory.following import EpochNotKnown
from node.directory.hosting import LogClosed, LogGap, NotOurLog, NotPublishable, Signed
from node.directory.model import MAX_ENTRY_BYTES, write_change
from node.directory.originals import LogFrozen
from node.directory.replication import (
    PAGE,
    BadCheckpoint,
    BadPage,
    Closing,
    Divergence,
    Entry,
    LogForked,
    LogId,
    LogRolledBack,
    contradict,
    frontier_after,
    new_entry,
    read_checkpoint,
    read_page,
    sign_checkpoint,
    write_closing,
    write_page,
)
from node.directory.serving import Server, read_signed, write_signed
from node.directory.store import DirectoryBusy, DirectoryFull, LogStore
from node.federation.peers import LogKey
from node.ids import AuthorityId, NodeId
from node.merkle import Frontier, leaf_hash
from pki.keys import generate
from pki.signer import FileSigner

EE = NodeId("EE")
LOG = LogId(EE)
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def authority(name: str, number: str = "1") -> Authority:
    return Authority(id=AuthorityId(f"EE:{number}"), node=EE, names={"et": name}, name_lang="et")


def sign(signer, entries, log=LOG, before: Frontier | None = None):
    after = frontier_after(before or Frontier(), entries)
    made = sign_checkpoint(str(log), after, public_key=signer.public_key, sign=signer.sign)
    return read_checkpoint(made.note, log=str(log), public_key=signer.public_key)


@pytest.fixture(scope="module")
def long_log(tmp_path_factory):
    """A log of 70,000 entries: 273 full tiles of leaves, one full tile of those."""
    store = LogStore(tmp_path_factory.mktemp("long") / "logs.db", durable=False)
    entries = [Entry(n.to_bytes(32), None, None) for n in range(70_000)]
    with store.writing():
        for first in range(0, len(entries), 5000):
            store.stage(str(LOG), entries[first : first + 5000])
        checkpoint = sign(FileSigner(generate("log")), entries)
        store.prove(checkpoint)
    yield store, [leaf_hash(entry.leaf) for entry in entries]
    store.close()


@pytest.mark.parametrize(
    ("index", "size"), [(0, 70_000), (65_535, 65_536), (69_999, 70_000), (300, 301), (12_345, 66_000)]
)
def test_a_proof_of_inclusion_is_made_from_tiles(long_log, index, size):
    store, leaves = long_log
    proof = store.prove_inclusion(str(LOG), index, size)
    assert merkle.is_included(leaves[index], index, size, proof, merkle.root(leaves[:size]))


@pytest.mark.parametrize(("old", "size"), [(1, 70_000), (255, 256), (65_536, 70_000), (69_999, 70_000), (300, 65_537)])
def test_a_proof_of_consistency_is_made_from_tiles(long_log, old, size):
    store, leaves = long_log
    proof = store.prove_consistency(str(LOG), old, size)
    roots = merkle.root(leaves[:old]), merkle.root(leaves[:size])
    assert store.root_at(str(LOG), old) == roots[0]
    assert merkle.is_consistent(old, roots[0], size, roots[1], proof)


def test_a_proof_reads_few_rows_however_long_the_log_is(long_log):
    store, _ = long_log
    read, fetch = [], store._hashes
    store._hashes = lambda *args: read.append(found := fetch(*args)) or found
    store.prove_inclusion(str(LOG), 12_345, 69_999)
    assert len(read) < 40
    assert max(map(len, read)) <= 128
    store._hashes = fetch


def test_there_is_no_proof_of_what_is_not_here(long_log):
    store, _ = long_log
    for make in (
        lambda: store.prove_inclusion(str(LOG), 0, 70_001),
        lambda: store.prove_consistency("FR/authorities", 1, 2),
    ):
        with pytest.raises(ValueError, match="is not here"):
            make()


def test_tiles_are_served_side_by_side_as_far_as_they_are_full(long_log):
    store, leaves = long_log
    assert store.tile(str(LOG), 0, 273) == b"".join(leaves[273 * 256 :])
    assert store.tile(str(LOG), 1, 1) == b"".join(merkle.root(leaves[n * 256 : n * 256 + 256]) for n in range(256, 273))
    assert store.tile(str(LOG), 2, 0) == merkle.root(leaves[: 256 * 256])
    assert store.tile(str(LOG), 3, 0) == b""


def test_what_is_not_proven_leaves_no_tile_behind(place):
    store = place("EE").directory.own
    store.stage(str(LOG), [new_entry(b"x")] * 600)
    store.unstage(str(LOG))
    assert store.connection().execute("SELECT count(*) FROM tiles").fetchone()[0] == 0
    store.stage(str(LOG), [new_entry(b"x")] * 600)


def test_a_whole_log_is_verified_and_a_changed_body_found(place):
    owner = place("EE")
    owner.say("Amet", "Teine")
    store = owner.directory.replica
    assert store.is_whole(str(LOG))
    store.connection().execute("UPDATE entries SET body = CAST(replace(body, 'Amet', 'Vale') AS BLOB) WHERE seq = 0")
    assert not store.is_whole(str(LOG))


def test_paths_lead_to_what_is_there_and_to_nothing_else(place):
    owner = place("EE")
    owner.say(*(f"Amet {n}" for n in range(300)))
    server = Server(owner.directory)
    assert server.find("EE/authorities/checkpoint").body == owner.directory.heads()["EE/authorities"].encode()
    assert len(server.find("EE/authorities/tile/0/001.p/44").body) == 44 * 32
    assert len(server.find("EE/authorities/tile/1/000.p/1").body) == 32
    assert server.find("EE/authorities/tile/entries/000")
    for path in (
        "EE/authorities/2/checkpoint", "EE/authorities/1/checkpoint", "FR/authorities/checkpoint", "EE/authorities",
        "EE/authorities/tile/0/001", "EE/authorities/tile/0/001.p/45", "EE/authorities/tile/0/000.p/0",
        "EE/authorities/tile/9/000", "EE/authorities/tile/entries/x001/x002/x003/004", "../logs.db",
    ):  # fmt: skip
        assert server.find(path) is None, path


# -- entries that may not be believed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        b"{}", b"\xff\xfe", b"[" * 5000, b'{"op":"become","id":"EE:1"}', b"x" * (MAX_ENTRY_BYTES + 1),
        b'{"op":"delete","kind":"register","id":"EE:1"}', b'{"op":"delete","kind":"authority","id":"FR:1"}',
        b'{"op":"put","authority":{"id":"FR:1","node":"FR","names":{},"name_lang":"fr"}}',
        b'{"op":"put","authority":{"id":"EE:1","node":"EE-2","names":{},"name_lang":"et"}}',
        b'{"op":"open","previous":"","entries":0}',
    ],
)  # fmt: skip
def test_one_bad_entry_never_stops_a_log(place, bad):
    replica = place("FR")
    good = [write_change(authority("Amet")), write_change(authority("Teine", "2"))]
    entries = [new_entry(body) for body in (good[0], bad, good[1])]
    checkpoint = sign(replica.signer, entries)
    replica.directory.replica.stage(str(LOG), entries)
    replica.directory.settle(checkpoint, source="EE")
    assert replica.names() == {"EE:1": "Amet", "EE:2": "Teine"}
    ((seq, reason),) = replica.directory.invalid(EE)
    assert seq == 1
    assert reason
    assert (replica.status().invalid, replica.status().size) == (1, 3)
    replica.follow(replica)  # and it goes on
    more = [new_entry(write_change(authority("Kolmas", "3")))]
    checkpoint = sign(replica.signer, more, before=replica.directory.replica.frontier(str(LOG)))
    replica.directory.replica.stage(str(LOG), more)
    replica.directory.settle(checkpoint, source="EE")
    assert replica.status().invalid == 1
    assert len(replica.names()) == 3


# -- contradictions ------------------------------------------------------------------------------------------------


def test_a_smaller_head_is_compared_with_the_tree_at_hand_whoever_shows_it(place):
    owner, liar, replica = place("EE"), place("EE", folder="liar"), place("FR")
    owner.say("Amet", "Teine", "Kolmas")
    replica.follow(owner)
    liar.say("Vale", "Teine")
    with pytest.raises(LogForked):
        replica.see(LOG, liar.directory.heads()["EE/authorities"], source="BG")
    (found,) = replica.directory.evidence()
    notes = [read_checkpoint(n, log=str(LOG), public_key=owner.signer.public_key) for n in (found.held, found.seen)]
    assert contradict(*notes, found.proof)
    assert not contradict(*notes, None)
    assert not contradict(*notes, replace(found.proof, root=notes[1].root))
    assert not contradict(*notes, Divergence(found.proof.root, ()))


def test_a_frozen_log_goes_on_when_its_operator_says_so(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet")
    old = owner.directory.heads()["EE/authorities"]
    owner.say("Teine", first=2)
    replica.follow(owner)
    with pytest.raises(LogRolledBack):
        replica.see(LOG, old)
    owner.say("Kolmas", first=3)
    replica.follow(owner)
    assert len(replica.names()) == 2
    assert (replica.status().frozen, replica.status().behind) == (LogRolledBack.code, 1)
    replica.directory.close()
    again = place("FR")  # it stays so over a restart
    assert again.status().frozen
    assert again.directory.release(LOG, because="restored from a backup, and caught up")
    assert not again.directory.release(LOG, because="twice")
    again.follow(owner)
    assert len(again.names()) == 3
    assert (again.status().frozen, again.status().evidence) == ("", 1)


def test_a_node_whose_own_log_is_frozen_starts_again(place):
    owner, thief = place("EE"), place("EE", folder="thief")
    owner.say("Amet")
    thief.say("Vale")
    with pytest.raises(LogForked):
        owner.see(LOG, thief.directory.heads()["EE/authorities"], source="BG")
    signed = owner.directory.own.held("EE/authorities")
    for _ in range(2):
        with pytest.raises(LogFrozen):
            owner.say("Teine", first=2)
    assert owner.directory.own.held("EE/authorities") == signed  # nothing more was signed
    with owner.directory.own.writing():  # the node died after it had signed, before it saw the contradiction
        owner.directory.host._append(LOG, [write_change(authority("Teine", "2"))], owner.signer)
    owner.directory.close()
    again = place("EE")
    again.directory.catch_up()  # as the node does when it starts
    assert again.status().frozen
    again.directory.release(LOG, because="the key was stolen, and is renewed")
    again.directory.catch_up()
    assert again.names() == {"EE:1": "Amet", "EE:2": "Teine"}


def test_a_new_epoch_in_the_trust_list_ends_the_frost(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet")
    old = owner.directory.heads()["EE/authorities"]
    owner.say("Teine", first=2)
    replica.follow(owner)
    with pytest.raises(LogRolledBack):
        replica.see(LOG, old)
    owner.directory.host.compact(LOG, owner.signer, host=EE, trusted_epoch=1)
    with pytest.raises(EpochNotKnown):  # its own word is not enough: the frozen log is not read to its end
        replica.follow(owner)
    replica.key = replace(replica.key, epoch=2)
    replica.follow(owner)
    assert (replica.status().held_epoch, replica.status().frozen) == (2, "")


# -- what owners hand in -------------------------------------------------------------------------------------------


def handed(owner, first: int = 0) -> Signed:
    held = owner.directory.own.held(str(LOG))
    entries = owner.directory.own.entries(str(LOG), first, held.size)
    return Signed(log=LOG, first=first, entries=entries, note=held.note)


def test_a_host_publishes_what_the_owner_signed_elsewhere_and_the_same_again_changes_nothing(place):
    owner, host = place("EE"), place("EU")
    owner.say("Amet")
    for _ in range(2):
        host.directory.accept(read_signed(write_signed(handed(owner))), host.key)
    owner.say("Teine", first=2)
    host.directory.accept(handed(owner, 1), host.key)
    host.directory.accept(handed(owner), host.key)
    assert host.names() == owner.names()
    assert host.directory.own.held(str(LOG)).size == 2


def test_a_host_publishes_nothing_that_its_owner_did_not_sign_or_others_cannot_read(place):
    owner, host = place("EE"), place("EU")
    owner.say("Amet")
    signed = handed(owner)
    stranger = LogKey(public_key=FileSigner(generate("log")).public_key, host=EE)
    forged = [new_entry(b"{}")]
    bad = {
        BadPage: replace(signed, entries=[new_entry(write_change(authority("Vale")))]),
        LogGap: replace(signed, first=1),
        NotPublishable: Signed(log=LOG, first=0, entries=forged, note=sign(owner.signer, forged).note),
        NotOurLog: replace(signed, log=LOG.at(2)),
    }
    for error, each in bad.items():
        with pytest.raises(error):
            host.directory.accept(each, host.key)
    with pytest.raises(BadCheckpoint):
        host.directory.accept(signed, stranger)
    bodiless = [Entry(entry.leaf, None, None) for entry in signed.entries]
    with pytest.raises(NotPublishable):
        host.directory.accept(replace(signed, entries=bodiless), host.key)
    assert host.directory.own.held(str(LOG)) is None
    assert host.directory.own.staged(str(LOG)).size == 0
    host.directory.host.lies_here = lambda _log: False
    with pytest.raises(NotOurLog):
        host.directory.accept(signed, host.key)


def test_a_host_takes_no_second_branch_and_nothing_after_the_end(place):
    owner, other, host = place("EE"), place("EE", folder="other"), place("EU")
    owner.say("Amet")
    other.say("Muu", "Teine")
    host.directory.accept(handed(owner), host.key)
    with pytest.raises(LogForked):
        host.directory.accept(handed(other), host.key)
    closing = [new_entry(write_closing(Closing(2, NodeId("EU"))))]
    frontier = owner.directory.own.frontier(str(LOG))
    closed = sign(owner.signer, closing, before=frontier)
    host.directory.accept(Signed(log=LOG, first=1, entries=closing, note=closed.note), host.key)
    owner.say("Hiline", first=2)
    late = sign(owner.signer, [*closing, *closing], before=frontier)
    with pytest.raises(LogClosed):
        host.directory.accept(Signed(log=LOG, first=2, entries=closing, note=late.note), host.key)


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f\x8b" + b"\x00" * 20])
def test_what_is_no_handed_in_log_is_refused(data):
    with pytest.raises(BadPage):
        read_signed(data)


# -- formats -------------------------------------------------------------------------------------------------------

FORMAT_1 = """
CREATE TABLE logs (
  log TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, frontier BLOB NOT NULL, note TEXT NOT NULL,
  staged_size INTEGER NOT NULL, staged_frontier BLOB NOT NULL);
CREATE TABLE entries (
  log TEXT NOT NULL, seq INTEGER NOT NULL, leaf BLOB NOT NULL, salt BLOB, body BLOB,
  PRIMARY KEY (log, seq)) WITHOUT ROWID;
CREATE TABLE evidence (
  id INTEGER PRIMARY KEY, at TEXT NOT NULL, log TEXT NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL,
  held TEXT NOT NULL, seen TEXT NOT NULL, UNIQUE (log, kind, seen));
PRAGMA user_version = 1;
"""


def test_logs_of_format_1_are_converted_in_place(tmp_path):
    signer = FileSigner(generate("log"))
    entries = [new_entry(write_change(authority(f"Amet {n}", str(n)))) for n in range(600)]
    checkpoint = sign(signer, entries)
    blob = b"".join(frontier_after(Frontier(), entries).roots)
    old = sqlite3.connect(tmp_path / "logs.db")
    old.executescript(FORMAT_1)
    old.execute(
        "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?)",
        (str(LOG), 600, checkpoint.root, blob, checkpoint.note, 600, blob),
    )
    old.executemany(
        "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
        ((str(LOG), n, e.leaf, e.salt, e.body) for n, e in enumerate(entries)),
    )
    old.execute("INSERT INTO evidence VALUES (1, '2026-01-01', 'FR/authorities', 'peer.log-forked', 'FR', 'a', 'b')")
    old.commit()
    old.close()
    directory = Directory(tmp_path)
    directory.catch_up()
    assert directory.count() == 600
    assert directory.own.root_at(str(LOG), 512) == frontier_after(Frontier(), entries[:512]).root
    assert directory.own.connection().execute("SELECT count(*) FROM tiles").fetchone()[0] == 2
    assert [each.log for each in directory.evidence()] == ["FR/authorities"]
    assert directory.publish(EE, [authority("Veel üks", "600")], signer).size == 601
    directory.close()
    directory = Directory(tmp_path)
    assert directory.own.is_whole(str(LOG))
    directory.close()


def test_a_commit_that_fails_leaves_no_transaction_open(place):
    store = place("EE").directory.own
    connection = store.connection()
    connection.executescript(
        "PRAGMA foreign_keys = ON;"
        "CREATE TABLE one (id INTEGER PRIMARY KEY);"
        "CREATE TABLE two (id INTEGER REFERENCES one DEFERRABLE INITIALLY DEFERRED);"
    )
    with pytest.raises(sqlite3.IntegrityError), store.writing() as writing:
        writing.execute("INSERT INTO two VALUES (7)")  # refused at COMMIT
    assert not store.is_writing()
    store.keep_evidence(at=NOW, log=str(LOG), kind="x", source="FR", held="a", seen="b", more={})
    assert store.evidence()


def test_what_is_added_to_a_checkpoint_beside_its_signature_is_not_kept(place):
    """A note travels in every greeting: who could make it longer could make greetings too long to be read."""
    owner = place("EE")
    owner.say("Amet")
    note = owner.directory.heads()["EE/authorities"]
    for longer in (note + "x" * 3000, note.replace("\n\n", "\n\n— imi-federation/EE/authorities AAAA\n"), note + note):
        assert read_checkpoint(longer, log="EE/authorities", public_key=owner.key.public_key).note == note


@contextmanager
def written_by_another(path):
    """Another process in a long transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("file", ["logs.db", "directory.db"])
def test_who_only_reads_opens_the_directory_while_another_process_writes(place, file):
    owner = place("EE")
    owner.say("Amet")
    with written_by_another(owner.folder / file), closing(Directory(owner.folder)) as beside:
        assert beside.get(AuthorityId("EE:1")).name == "Amet"


def test_a_writer_that_waited_too_long_is_told_so_and_may_try_again(place):
    owner = place("EE")
    owner.say("Amet")
    owner.directory.own.connection().execute("PRAGMA busy_timeout=1")
    with written_by_another(owner.folder / "logs.db"), pytest.raises(DirectoryBusy, match=r"logs\.db .*try again"):
        owner.say("Uus amet")
    owner.say("Uus amet")
    assert owner.names() == {"EE:1": "Uus amet"}


@pytest.mark.parametrize("file", ["own", "replica"])
def test_on_a_full_disk_nothing_is_half_written_and_it_goes_on_when_there_is_room(place, file):
    owner = place("EE")
    owner.say("Amet")
    store = getattr(owner.directory, file)
    (pages,) = store.connection().execute("PRAGMA page_count").fetchone()
    store.connection().execute(f"PRAGMA max_page_count={pages}")
    names = [f"Amet {n} {'x' * 300}" for n in range(200)]
    with pytest.raises(DirectoryFull, match="free some space"):
        owner.say(*names)
    assert owner.names() == {"EE:1": "Amet"}
    store.connection().execute("PRAGMA max_page_count=1000000")
    owner.directory.catch_up()  # as the node does every few seconds
    owner.say("Uus amet")
    assert owner.directory.own.is_whole("EE/authorities")
    assert owner.directory.replica.is_whole("EE/authorities")
    assert owner.names()["EE:1"] == "Uus amet"
    assert owner.directory.position(LogId(EE)) == (1, {"own": 2, "replica": 202}[file])


def test_the_fullest_page_that_an_owner_can_publish_is_read_by_everybody():
    body = b'{"op":"put","x":"' + b'\\"' * ((MAX_ENTRY_BYTES - 20) // 2) + b'"}'
    entries = [new_entry(body)] * PAGE
    assert len(body) > MAX_ENTRY_BYTES - 10
    assert read_page(write_page(entries), count=PAGE) == entries
