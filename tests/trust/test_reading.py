"""The trust list as a node reads it: what it accepts, what it refuses, and how it goes on without it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from tuf.api.metadata import Metadata

from node.federation.peers import STALE_FOR
from node.federation.trust import NoTrustList, TrustListUnavailable, TrustReader, from_folder, serve
from pki.founding import Founding, NodePlan
from pki.state import StateOffice
from pki.trustlist.models import entry_path, index_path
from pki.trustlist.publisher import Publisher

MEMBERS = {"EE", "FR", "DE", "DE-BY", "EU", "MT"}


def test_the_list_says_who_is_a_node(federation):
    trust = federation.reader.refresh()
    assert set(trust.nodes) == MEMBERS
    bavaria = trust.nodes["DE-BY"]
    assert (bavaria.state, bavaria.url) == ("DE", "https://127.0.0.1:9003")
    assert len(bavaria.signing) == len(bavaria.encryption) == 1
    assert bavaria.state_ca == trust.nodes["DE"].state_ca != trust.nodes["EE"].state_ca
    assert bavaria.crl is not None
    assert bavaria.logs["authorities"].host == "DE-BY"
    assert not trust.training


def test_a_hosted_state_has_logs_and_no_door(federation):
    malta = federation.reader.refresh().nodes["MT"]
    assert malta.url is None
    assert malta.signing == malta.encryption == ()
    assert malta.logs["authorities"].host == "EU"


def test_a_change_is_seen_at_the_next_reading(federation):
    before = federation.reader.refresh()
    federation.founding.remove("DE-BY")
    after = federation.reader.refresh()
    assert set(before.nodes) - set(after.nodes) == {"DE-BY"}
    assert after.versions["state-DE"] == before.versions["state-DE"] + 1
    assert after.versions["state-EE"] == before.versions["state-EE"]


def test_a_state_without_delegation_is_gone(federation):
    federation.reader.refresh()
    publisher = federation.founding.publisher
    publisher.set_states({state: key for state, key in publisher.states().items() if state != "DE"})
    assert set(federation.reader.refresh().nodes) == MEMBERS - {"DE", "DE-BY"}


# What is refused as a whole: the list in force stays.


def refused(federation, reason):
    with capture_logs() as logs, pytest.raises(TrustListUnavailable, match=reason) as caught:
        federation.reader.refresh()
    assert caught.value.code == "unavailable.trust-list"
    kept = federation.reader.kept()
    return kept, [line["event"] for line in logs]


@pytest.mark.parametrize("old", ["timestamp", "snapshot"])
def test_a_list_that_is_rolled_back_is_refused(federation, old):
    federation.reader.refresh()
    stamp = federation.metadata("timestamp.json")
    federation.founding.remove("DE-BY")
    federation.reader.refresh()
    if old == "snapshot":  # a newer time stamp on an older snapshot, by the publisher's own key
        forged = Metadata.from_bytes(stamp)
        forged.signed.version += 10
        forged.sign(federation.founding.publisher._signer("online"))
        stamp = forged.to_bytes()
    federation.wire.change["metadata/timestamp.json"] = stamp
    kept, events = refused(federation, "must be >=")
    assert "DE-BY" not in kept.nodes
    assert events == ["trust list refused"]


@pytest.mark.parametrize(("days", "role"), [(3, "timestamp"), (400, "root")])
def test_an_expired_list_is_refused(federation, tmp_path, days, role):
    past = datetime.now(UTC) - timedelta(days=days)
    office = federation.founding.office("EE")
    publisher = Publisher.ceremony(tmp_path / "old", {"EE": office.trust_key.public_key}, now=lambda: past)
    TrustReader.start_from(tmp_path / "old-reader", publisher.root_bytes())
    with pytest.raises(TrustListUnavailable, match=rf"{role}\.json is expired"):
        TrustReader(tmp_path / "old-reader", from_folder(publisher.repository)).refresh()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "state-DE"])
def test_metadata_with_one_changed_byte_is_refused(federation, role):
    path = "metadata/timestamp.json" if role == "timestamp" else federation.newest(role)
    data = (federation.repository / path).read_bytes()
    federation.wire.change[path] = data.replace(b'"expires":"20', b'"expires":"21')
    assert federation.wire.change[path] != data
    kept, events = refused(federation, "refused")
    assert kept is None
    assert events == ["trust list refused"]


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "state-DE"])
@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 10_000, b"\x00\xff"])
def test_metadata_that_is_nonsense_is_refused(federation, role, data):
    path = "metadata/timestamp.json" if role == "timestamp" else federation.newest(role)
    federation.wire.change[path] = data
    assert refused(federation, "refused")[0] is None


def test_a_changed_entry_is_refused(federation):
    target = next(path for path in (federation.repository / "targets/nodes/DE").iterdir() if "DE-BY" in path.name)
    changed = json.loads(target.read_bytes()) | {"federation": "https://elsewhere.example"}
    federation.wire.change[f"targets/nodes/DE/{target.name}"] = json.dumps(changed).encode()
    assert refused(federation, "refused")[0] is None


def test_an_endless_file_is_refused(federation):
    federation.wire.change["metadata/timestamp.json"] = b" " * 1_000_000
    assert refused(federation, "refused")[0] is None


def test_another_federations_list_is_refused(federation, tmp_path):
    made = Founding(tmp_path / "false")
    made.found([NodePlan(node="EE", federation="https://ee.example")])
    federation.wire.source = made.publisher.repository
    assert refused(federation, "refused")[0] is None


def test_a_root_that_the_old_keys_did_not_sign_is_refused(federation, tmp_path):
    made = Founding(tmp_path / "false")
    made.found([NodePlan(node="EE", federation="https://ee.example")])
    made.publisher.renew_root()
    federation.wire.change["metadata/2.root.json"] = made.publisher.root_bytes()
    assert refused(federation, "refused")[0] is None


@pytest.mark.parametrize(("role", "need"), [("root", 3), ("targets", 2)])
def test_one_signature_less_than_the_threshold_is_refused(federation, role, need):
    if role == "root":
        federation.founding.publisher.renew_root()
        path = "metadata/2.root.json"
    else:
        path = federation.newest("targets")
    metadata = Metadata.from_bytes((federation.repository / path).read_bytes())
    assert len(metadata.signatures) == need
    metadata.signatures.popitem()
    (federation.repository / path).write_bytes(metadata.to_bytes())
    federation.founding.publisher.snapshot()  # so that no digest is wrong, only a signature lacking
    assert refused(federation, "refused")[0] is None


def test_a_renewed_root_with_new_keys_is_followed(federation):
    federation.reader.refresh()
    federation.founding.publisher.renew_root(["root-1", "root-4", "targets-2", "online"])
    federation.founding.publisher.renew_root(["root-2", "root-3"])
    federation.founding.remove("DE-BY")
    trust = federation.reader.refresh()
    assert trust.versions["root"] == 3
    assert "DE-BY" not in trust.nodes


# What harms one State only.


def test_a_state_cannot_write_for_another(federation):
    stolen = federation.files("EE") | federation.files("DE")
    before = federation.reader.refresh().nodes
    federation.forge("EE", stolen)  # signed by Estonia: Germany's entries, in Estonia's role
    assert federation.reader.refresh().nodes["DE"] == before["DE"]


def test_a_state_signed_with_anothers_key_is_left_out(federation):
    federation.reader.refresh()
    federation.forge("DE", federation.files("DE"), signed_by="EE")
    with capture_logs() as logs:
        trust = federation.reader.refresh()
    assert set(trust.nodes) == MEMBERS - {"DE", "DE-BY"}
    assert [(line["event"], line["state"]) for line in logs] == [("state left out of the trust list", "DE")]


@pytest.mark.parametrize("change", [b"", b"{}", b"[1]", b'{"format": 1, "state": "EE", "nodes": ["EE"]}'])
def test_a_state_that_publishes_nonsense_harms_itself(federation, change):
    federation.forge("DE", federation.files("DE") | {index_path("DE"): change})
    assert set(federation.reader.refresh().nodes) == MEMBERS - {"DE", "DE-BY"}


def test_a_state_with_more_nodes_than_anybody_has_harms_itself(federation):
    """Each listed node costs every reader a file, certificates to verify, and logs to follow."""
    data = json.dumps({"format": 1, "state": "DE", "nodes": ["DE"] * 101}).encode()
    federation.forge("DE", federation.files("DE") | {index_path("DE"): data})
    assert set(federation.reader.refresh().nodes) == MEMBERS - {"DE", "DE-BY"}


def test_a_node_with_more_logs_than_anybody_has_harms_its_state(federation):
    files = federation.files("DE")
    entry = json.loads(files[entry_path("DE", "DE")])
    (some, *_) = entry["logs"].values()
    entry["logs"] = {f"collection-{'abcdefghi'[n]}": some for n in range(9)}
    federation.forge("DE", files | {entry_path("DE", "DE"): json.dumps(entry).encode()})
    assert set(federation.reader.refresh().nodes) == MEMBERS - {"DE", "DE-BY"}


def test_an_entry_that_speaks_of_another_node_harms_its_state(federation):
    files = federation.files("DE")
    federation.forge("DE", files | {entry_path("DE", "DE"): files[entry_path("DE", "DE-BY")]})
    assert set(federation.reader.refresh().nodes) == MEMBERS - {"DE", "DE-BY"}


def test_a_certificate_of_another_authority_is_left_out(federation):
    files = federation.files("EE")
    entry = json.loads(files[entry_path("EE", "EE")])
    theirs = json.loads(federation.files("FR")[entry_path("FR", "FR")])
    false = entry | {"signing": [*theirs["signing"], *entry["signing"]], "encryption": theirs["encryption"]}
    federation.forge("EE", files | {entry_path("EE", "EE"): json.dumps(false).encode()})
    with capture_logs() as logs:
        estonia = federation.reader.refresh().nodes["EE"]
    assert len(estonia.signing) == 1
    assert estonia.encryption == ()
    assert [line["event"] for line in logs] == ["certificate left out of the trust list"] * 2


def test_a_revoked_signing_certificate_verifies_old_events_only(federation):
    office = federation.founding.office("EE")
    (signing,) = federation.reader.refresh().nodes["EE"].signing
    office.authority.revoke(signing.serial_number)
    federation.forge("EE", federation.files("EE"))
    estonia = federation.reader.refresh().nodes["EE"]
    assert estonia.signing == ()
    assert estonia.retired == (signing,)


def test_a_state_that_let_its_part_expire_counts_two_weeks_more(federation):
    federation.reader.refresh()
    end = datetime.now(UTC) - timedelta(seconds=5)
    part = json.loads((federation.trust / "current.json").read_bytes())
    part["states"]["DE"]["valid_until"] = end.isoformat()
    (federation.trust / "current.json").write_text(json.dumps(part))
    federation.forge("DE", federation.files("DE"), expires=end)
    with capture_logs() as logs:
        assert set(federation.reader.refresh().nodes) == MEMBERS
    assert logs[-1]["event"] == "state's part of the trust list has expired"
    federation.offset = STALE_FOR + timedelta(days=1)
    assert set(federation.reader.refresh().nodes) == MEMBERS - {"DE", "DE-BY"}


def test_an_expired_state_is_not_accepted_anew(federation):
    federation.forge("DE", federation.files("DE"), expires=datetime.now(UTC) - timedelta(seconds=5))
    assert set(federation.reader.refresh().nodes) == MEMBERS - {"DE", "DE-BY"}


def test_an_expired_revocation_list_is_an_alarm(federation):
    federation.reader.refresh()
    federation.offset = timedelta(days=31)
    with capture_logs() as logs:
        kept = federation.reader.kept()
    assert set(kept.nodes) == MEMBERS
    assert {line["event"] for line in logs} == {"revocation list has expired"}
    assert {line["state"] for line in logs} == {"EE", "FR", "DE", "EU", "MT"}


# Without the publisher.


def test_a_node_starts_with_the_last_reading_while_the_publisher_is_away(federation):
    trust = federation.reader.refresh()
    federation.wire.cut = True
    again = TrustReader(federation.trust, federation.wire)
    with pytest.raises(TrustListUnavailable):
        again.refresh()
    assert again.kept() == trust


def test_fresh_then_stale_then_stopped(federation):
    trust = federation.reader.refresh()
    assert trust.valid_until < datetime.now(UTC) + timedelta(days=3)
    moments = {
        timedelta(): "fresh",
        timedelta(days=3): "stale",
        timedelta(days=15): "stale",
        timedelta(days=17): "stopped",
    }
    assert {at: trust.freshness(datetime.now(UTC) + at) for at in moments} == moments


def test_a_publisher_that_is_back_makes_it_fresh_again(federation):
    federation.reader.refresh()
    federation.wire.cut = True
    with pytest.raises(TrustListUnavailable):
        federation.reader.refresh()
    federation.wire.cut = False
    federation.founding.publisher.renew()
    assert federation.reader.refresh().freshness(datetime.now(UTC)) == "fresh"


def test_a_reading_that_breaks_off_changes_nothing(federation):
    before = federation.reader.refresh()
    federation.founding.remove("DE-BY")
    index = next(p for p in federation.repository.joinpath("targets/nodes/DE").iterdir() if _is_new(federation, p))
    federation.wire.change[f"targets/nodes/DE/{index.name}"] = None
    with pytest.raises(TrustListUnavailable):
        federation.reader.refresh()
    assert federation.reader.kept() == before
    federation.wire.change.clear()
    assert "DE-BY" not in federation.reader.refresh().nodes


def _is_new(federation, path):
    return not (federation.trust / "repository/targets/nodes/DE" / path.name).exists()


@pytest.mark.parametrize("damage", [b"", b"{}", b"\x00" * 100])
def test_a_damaged_memory_is_read_anew(federation, damage):
    trust = federation.reader.refresh()
    (federation.trust / "current.json").write_bytes(damage)
    assert federation.reader.kept() is None
    assert federation.reader.refresh().nodes.keys() == trust.nodes.keys()


def test_without_a_root_nothing_begins(tmp_path, federation):
    with pytest.raises(NoTrustList) as caught:
        TrustReader(tmp_path / "empty", federation.wire).refresh()
    assert "init" in str(caught.value)


# Mirrors.


def test_a_mirror_serves_what_it_read_byte_for_byte(federation, tmp_path):
    trust = federation.reader.refresh()
    mirror = federation.reader.repository
    TrustReader.start_from(tmp_path / "second", federation.founding.publisher.root_bytes())
    second = TrustReader(tmp_path / "second", from_folder(mirror), now=lambda: trust.read_at)
    assert second.refresh() == trust
    for path in (path for path in mirror.rglob("*") if path.is_file()):
        name = path.relative_to(mirror).as_posix()
        assert path.read_bytes() == serve(federation.repository, name) == serve(mirror, name)


def test_a_mirror_is_whole_again_after_a_reading_that_broke_off(federation, tmp_path):
    federation.reader.refresh()
    federation.founding.remove("DE-BY")
    federation.founding.publish("EE")
    path = federation.newest("state-EE")
    federation.wire.change[path] = None
    with pytest.raises(TrustListUnavailable):
        federation.reader.refresh()
    federation.wire.change.clear()
    again = TrustReader(federation.trust, federation.wire)
    trust = again.refresh()
    TrustReader.start_from(tmp_path / "second", federation.founding.publisher.root_bytes())
    assert TrustReader(tmp_path / "second", from_folder(again.repository)).refresh().versions == trust.versions


def test_a_mirror_forgets_what_nobody_reads_any_more(federation):
    federation.reader.refresh()
    mirror = federation.reader.repository
    for _ in range(5):
        federation.founding.publish("EE")
        federation.reader.refresh()
    assert len(list(mirror.glob("metadata/*.state-EE.json"))) <= 2
    assert len(list(mirror.glob("metadata/*.snapshot.json"))) <= 2
    assert len(list(mirror.glob("metadata/*.root.json"))) == 1


@pytest.mark.parametrize(
    "path",
    [
        "metadata/../keys/root-1.key", "../keys/online.key", "keys/online.key", "metadata/", "metadata", "", "/etc/passwd",
        "targets/nodes", "metadata/timestamp.json.new", "metadata/timestamp.json\x00", "targets/%2e%2e/keys/online.key",
        "metadata//timestamp.json/..", "metadata/none.json",
    ],
)  # fmt: skip
def test_nothing_else_is_served(federation, path):
    assert serve(federation.repository, path) is None


def test_nothing_beside_the_repository_is_served_whatever_its_name(federation):
    (federation.repository / "beside.json").write_bytes(b"{}")
    (federation.repository.parent / "beside.json").write_bytes(b"{}")
    for path in ("metadata/../beside.json", "targets/../../beside.json", "beside.json", "metadata/./../beside.json"):
        assert serve(federation.repository, path) is None


def test_a_mirrors_time_stamp_is_written_last(federation):
    """Who reads from a mirror that is being written finds all that the time stamp leads to."""
    federation.reader.refresh()
    federation.founding.publish("EE")
    federation.reader.refresh()
    written = {path: path.stat().st_mtime_ns for path in federation.reader.repository.rglob("*") if path.is_file()}
    assert max(written, key=lambda path: written[path]).name == "timestamp.json"


def test_a_training_federation_is_told(tmp_path):
    made = Founding(tmp_path / "f")
    office = StateOffice.create(tmp_path / "EE", "EE")
    publisher = Publisher.ceremony(made.folder / "publisher", {"EE": office.trust_key.public_key}, training=True)
    publisher.accept(office.sign())
    TrustReader.start_from(tmp_path / "trust", publisher.root_bytes())
    assert TrustReader(tmp_path / "trust", from_folder(publisher.repository)).refresh().training
