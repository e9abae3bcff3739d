"""Epochs: a log begins anew, here or at another host; nothing deleted returns, and nobody takes one epoch for another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.directory.following import EpochNotKnown
from node.directory.hosting import EpochNotPublished, LogClosed, NotOurLog
from node.directory.model import Authority, Deleted
from node.directory.replication import (
    BadCheckpoint,
    BadPage,
    Closing,
    LogForked,
    LogId,
    LogRolledBack,
    Opening,
    frontier_after,
    new_entry,
    read_checkpoint,
    read_closing,
    read_opening,
    sign_checkpoint,
    write_closing,
    write_opening,
)
from node.ids import AuthorityId, NodeId
from pki.keys import generate
from pki.signer import FileSigner

EE = NodeId("EE")


def authority(name: str, number: str = "1") -> Authority:
    return Authority(id=AuthorityId(f"EE:{number}"), node=EE, names={"et": name}, name_lang="et")


FIRST, SECOND = LogId(EE), LogId(EE, epoch=2)


def compact(owner) -> None:
    owner.directory.host.compact(FIRST, owner.signer, host=EE, trusted_epoch=owner.key.epoch)


def forge(owner, shown: LogId, bodies) -> tuple[list, str]:
    """What whoever has the log's key can sign."""
    entries = [new_entry(body) for body in bodies]
    frontier = frontier_after(owner.directory.replica.frontier("nothing"), entries)
    made = sign_checkpoint(str(shown), frontier, public_key=owner.signer.public_key, sign=owner.signer.sign)
    return entries, made.note


def put_forged(replica, shown: LogId, entries, note) -> None:
    promised = replica.see(shown, note)
    replica.directory.replica.stage(promised.log, entries)
    replica.directory.settle(promised, source="EE")


@pytest.mark.parametrize("text", ["EE", "EE/", "EE/authorities/1", "EE/authorities/02", "EE/authorities/1000", "ee/x"])
def test_a_log_has_one_name(text):
    assert LogId.parse(text) is None


@pytest.mark.parametrize("log", [FIRST, SECOND, LogId(NodeId("DE-BY"), "registers", 31)])
def test_a_logs_name_is_read_back(log):
    assert LogId.parse(str(log)) == log


def test_a_checkpoint_of_one_epoch_is_none_of_another(place):
    owner = place("EE")
    owner.say("Amet")
    note = owner.directory.heads()["EE/authorities"]
    read_checkpoint(note, log=str(FIRST), public_key=owner.signer.public_key)
    for text in (note, note.replace("EE/authorities", "EE/authorities/2")):
        with pytest.raises(BadCheckpoint):
            read_checkpoint(text, log=str(SECOND), public_key=owner.signer.public_key)


def test_openings_and_closings_are_read_back_and_nothing_else_is_one():
    opening, closing = Opening("note", 3), Closing(2, NodeId("EU"))
    assert read_opening(write_opening(opening)) == opening
    assert read_closing(write_closing(closing), FIRST) == closing
    assert read_closing(write_closing(closing), SECOND) is None  # it leads back
    for body in (None, b"", b'{"op":"open",', b'{"op":"open","previous":1,"entries":2}', b'{"op":"close","epoch":2}'):
        assert read_opening(body) is None
        assert read_closing(body, FIRST) is None


def test_after_compaction_everybody_has_the_same_and_the_log_is_short(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet", "Teine amet", "Kolmas amet")
    replica.follow(owner)
    for n in range(5):
        owner.say(f"Amet {n}")
    owner.directory.publish(EE, [Deleted(AuthorityId("EE:2"))], owner.signer)
    compact(owner)
    replica.follow(owner)
    assert replica.names() == owner.names() == {"EE:1": "Amet 4", "EE:3": "Kolmas amet"}
    assert (replica.status().held_epoch, replica.status().size) == (2, 3)  # how it begins, and two that count
    assert not replica.directory.evidence()
    owner.say("Amet 5")
    replica.follow(owner)
    assert replica.names()["EE:1"] == "Amet 5"
    assert replica.directory.replica.held(str(FIRST)).size == 10
    assert not replica.directory.replica.has_entries(str(FIRST))


def test_an_authority_that_came_from_another_node_and_was_deleted_stays_deleted_over_a_new_epoch(place):
    """Its old node's log still has it: who reads the new epoch alone must learn of the deletion."""
    owner, newcomer = place("EE"), place("FR")
    came = replace(authority("Amet"), former=(NodeId("EE-2"),))
    for changes in ([came, authority("Teine", "2")], [Deleted(came.id), Deleted(AuthorityId("EE:2"))]):
        owner.directory.publish(EE, changes, owner.signer)
    compact(owner)
    newcomer.key = replace(newcomer.key, epoch=2)
    newcomer.follow(owner)
    assert newcomer.status().size == 2  # how it begins, and the one deletion that still matters
    rows = newcomer.directory.replica.connection().execute("SELECT id, node, data FROM claims").fetchall()
    assert rows == [("EE:1", "EE", b"")]
    compacted_again = replace(owner.key, epoch=2)
    owner.directory.host.compact(FIRST, owner.signer, host=EE, trusted_epoch=compacted_again.epoch)
    newcomer.follow(owner)
    assert newcomer.status().size == 2
    assert not newcomer.directory.evidence()


def test_who_lagged_behind_reads_the_old_epoch_to_its_end_and_then_the_new_one(place):
    owner, replica, newcomer = place("EE"), place("FR"), place("BG")
    owner.say("Amet")
    replica.follow(owner)
    owner.say("Teine", first=2)
    compact(owner)
    owner.say("Kolmas", first=3)
    for reader in (replica, newcomer):
        reader.follow(owner)
        assert reader.names() == {"EE:1": "Amet", "EE:2": "Teine", "EE:3": "Kolmas"}
        assert not reader.directory.evidence()


def test_an_epoch_nobody_announced_is_not_followed(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet")
    replica.follow(owner)
    compact(owner)
    note = owner.directory.heads()[str(SECOND)]
    with pytest.raises(EpochNotKnown):
        replica.see(SECOND, note)
    replica.key = replace(replica.key, epoch=2)  # the trust list names it: that is enough
    assert replica.see(SECOND, note)


def test_a_new_epoch_counts_whole_or_not_at_all(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet", "Teine")
    replica.follow(owner)
    replica.key = replace(replica.key, epoch=2)
    previous = owner.directory.heads()[str(FIRST)]
    opening = write_opening(Opening(previous, 2))
    entries, note = forge(owner, SECOND, [opening, b'{"op":"delete","kind":"authority","id":"EE:1"}'])
    with pytest.raises(BadPage):
        put_forged(replica, SECOND, entries, note)
    assert replica.names() == owner.names()
    assert replica.status().held_epoch == 1


def test_what_a_snapshot_changes_is_kept_as_evidence(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet", "Teine", "Kolmas")
    owner.directory.publish(EE, [Deleted(AuthorityId("EE:3"))], owner.signer)
    replica.follow(owner)
    bodies = [entry.body for entry in owner.directory.replica.entries(str(FIRST), 0, 3)]
    changed = bodies[0].replace(b"Amet", b"Valeamet")
    opening = write_opening(Opening(owner.directory.heads()[str(FIRST)], 2))
    replica.key = replace(replica.key, epoch=2)
    put_forged(replica, SECOND, *forge(owner, SECOND, [opening, changed, bodies[2]]))
    (found,) = replica.directory.evidence()
    assert found.kind == "snapshot-differs"
    assert all(part in found.more for part in ("authority EE:1", "authority EE:2", "authority EE:3"))
    assert '"counts": {"returned": 1, "changed": 1, "missing": 1}' in found.more
    assert replica.names() == {"EE:1": "Valeamet", "EE:3": "Kolmas"}  # the owner's word counts, and everybody sees it


def test_who_had_not_read_to_the_end_accuses_nobody(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet")
    replica.follow(owner)
    owner.say("Uus amet")
    compact(owner)
    replica.key = replace(replica.key, epoch=2)
    note = owner.directory.heads()[str(SECOND)]
    put_forged(replica, SECOND, owner.directory.replica.entries(str(SECOND), 0, 2), note)
    assert replica.names() == {"EE:1": "Uus amet"}
    assert not replica.directory.evidence()


@pytest.mark.parametrize("says", ["a size nobody signed", "another log", "an old note with another size"])
def test_what_an_opening_says_of_the_end_before_it_counts_only_if_it_is_signed(place, says):
    """Else an owner could claim that nobody had read to the end, and change what it likes unseen."""
    owner, replica = place("EE"), place("FR")
    owner.say("Amet", "Teine")
    replica.follow(owner)
    signed = owner.directory.heads()[str(FIRST)]
    _, other = forge(owner, SECOND, [b"{}"] * 9)
    previous = {
        "a size nobody signed": "imi-federation/EE/authorities\n999999\n\n",
        "another log": other,
        "an old note with another size": signed.replace("\n2\n", "\n999999\n"),
    }[says]
    body = owner.directory.replica.entries(str(FIRST), 0, 1)[0].body
    replica.key = replace(replica.key, epoch=2)
    put_forged(replica, SECOND, *forge(owner, SECOND, [write_opening(Opening(previous, 1)), body]))
    assert [each.kind for each in replica.directory.evidence()] == ["snapshot-differs"]


def test_after_a_change_of_the_logs_key_what_the_old_key_signed_excuses_nothing(place):
    owner, replica, heir = place("EE"), place("FR"), place("EU", signer=FileSigner(generate("log")))
    owner.say("Amet")
    replica.follow(owner)
    owner.say("Uus amet")  # the replica never read this
    opening = write_opening(Opening(owner.directory.heads()[str(FIRST)], 1))
    body = owner.directory.replica.entries(str(FIRST), 1, 2)[0].body
    replica.key = replace(heir.key, epoch=2)
    put_forged(replica, SECOND, *forge(heir, SECOND, [opening, body]))
    assert replica.names() == {"EE:1": "Uus amet"}
    assert [each.kind for each in replica.directory.evidence()] == ["snapshot-differs"]


def test_who_never_read_an_epoch_between_accuses_nobody(place):
    """The end of the epoch before the new one says nothing of how far we had read the one before that."""
    owner, late = place("EE"), place("FR")
    owner.say("Amet", "Teine", "Kolmas", "Neljas")
    late.follow(owner)
    owner.directory.publish(EE, [Deleted(AuthorityId(f"EE:{n}")) for n in (1, 2, 3)], owner.signer)
    compact(owner)
    owner.key = replace(owner.key, epoch=2)
    compact(owner)
    late.key = replace(late.key, epoch=3)
    late.follow(owner)
    assert late.names() == owner.names() == {"EE:4": "Neljas"}
    assert not late.directory.evidence()


def test_a_host_that_shows_an_older_epoch_rolled_back_and_a_peer_lags(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet")
    old = owner.directory.heads()[str(FIRST)]
    compact(owner)
    replica.follow(owner)
    assert replica.see(FIRST, old, source="BG") is None
    with pytest.raises(LogRolledBack):
        replica.see(FIRST, old, source="EE")
    assert replica.status().frozen == LogRolledBack.code


def test_nothing_follows_the_end_of_an_epoch(place):
    owner = place("EE")
    owner.say("Amet")
    owner.directory.host.close(FIRST, owner.signer, host=NodeId("EU"))
    with pytest.raises(LogClosed, match="EU"):
        owner.say("Teine", first=2)


def test_entries_behind_the_end_of_an_epoch_have_no_effect(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet")
    body = owner.directory.replica.entries(str(FIRST), 0, 1)[0].body
    bodies = [body, write_closing(Closing(2, NodeId("EU"))), body.replace(b"Amet", b"Hiline amet")]
    put_forged(replica, FIRST, *forge(owner, FIRST, bodies))
    assert replica.names() == {"EE:1": "Amet"}
    assert [seq for seq, _ in replica.directory.invalid(EE)] == [2]


def test_an_epoch_that_does_not_open_as_it_should_repeats_nothing_and_goes_on(place):
    owner, replica = place("EE"), place("FR")
    owner.say("Amet", "Teine")
    replica.follow(owner)
    body = owner.directory.replica.entries(str(FIRST), 0, 1)[0].body
    replica.key = replace(replica.key, epoch=2)
    put_forged(replica, SECOND, *forge(owner, SECOND, [b"{}", body]))
    assert replica.names() == {"EE:1": "Amet"}
    assert [seq for seq, _ in replica.directory.invalid(EE)] == [0]
    assert [each.kind for each in replica.directory.evidence()] == ["snapshot-differs"]


def test_the_next_epoch_waits_until_the_trust_list_names_this_one(place):
    owner = place("EE")
    owner.say("Amet")
    compact(owner)
    with pytest.raises(EpochNotPublished):
        compact(owner)
    owner.key = replace(owner.key, epoch=2)
    compact(owner)
    assert owner.status().held_epoch == 3
    assert not owner.directory.own.has_entries(str(FIRST))  # who lags by two epochs goes by the trust list
    assert owner.directory.own.has_entries(str(SECOND))


def test_a_log_is_handed_over_to_another_host(place):
    old, new, replica = place("EE"), place("EU"), place("FR")
    old.say("Amet", "Teine")
    for each in (new, replica):
        each.follow(old)
    new.directory.host.lies_here = lambda _log: True
    with pytest.raises(NotOurLog):  # the trust list has not said so
        new.directory.host.take_over(FIRST, old.signer, epoch=1)
    for each in (old, new, replica):
        each.key = replace(each.key, host=NodeId("EU"), epoch=2)
    old.directory.host.close(FIRST, old.signer, host=NodeId("EU"))
    new.follow(old)
    new.directory.host.take_over(FIRST, old.signer, epoch=2)
    new.say("Kolmas", first=3)
    for each in (replica, old):
        each.follow(new, source="EU")
        assert each.names() == {"EE:1": "Amet", "EE:2": "Teine", "EE:3": "Kolmas"}
        assert (each.status().host, each.status().held_epoch) == ("EU", 2)
        assert not each.directory.evidence()


def test_a_dead_hosts_log_goes_on_by_the_trust_list_alone_and_what_was_lost_is_named(place):
    dead, new, replica = place("EE"), place("EU"), place("FR")
    dead.say("Amet")
    new.follow(dead)
    dead.say("Teine", first=2)
    replica.follow(dead)  # it saw more than the new host
    for each in (new, replica):
        each.key = replace(each.key, host=NodeId("EU"), epoch=2)
    new.directory.host.take_over(FIRST, dead.signer, epoch=2)
    replica.follow(new, source="EU")
    assert replica.names() == {"EE:1": "Amet"}
    (found,) = replica.directory.evidence()
    assert "authority EE:2" in found.more


def test_a_crash_in_the_middle_of_a_switch_leaves_the_old_epoch(place, tmp_path):
    class Crash(Exception):
        pass

    owner, replica = place("EE"), place("FR")
    owner.say("Amet", "Teine")
    replica.follow(owner)
    owner.directory.publish(EE, [Deleted(AuthorityId("EE:2"))], owner.signer)
    compact(owner)
    lines = []

    def crash(line: str) -> None:
        lines.append(line)
        if line == "directory.db not committed" and replica.directory.replica.standing("EE/authorities").epoch == 2:
            raise Crash

    replica.directory.replica._crash_at = crash
    with pytest.raises(Crash):
        replica.follow(owner)
    replica.directory.replica._crash_at = lines.append
    assert replica.status().held_epoch == 1
    assert replica.names() == {"EE:1": "Amet"}
    replica.follow(owner)
    assert replica.status().held_epoch == 2


def test_two_openings_of_an_epoch_are_a_fork(place):
    owner, other, replica = place("EE"), place("EU"), place("FR")
    owner.say("Amet")
    for each in (other, replica):
        each.follow(owner)
        each.key = replace(each.key, epoch=2)
    compact(owner)
    replica.follow(owner)
    other.directory.host.take_over(FIRST, owner.signer, epoch=2)  # two hosts with one key
    with pytest.raises(LogForked):
        replica.follow(other, source="EU")
