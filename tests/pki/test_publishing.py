from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets

from pki.errors import BadTrustList
from pki.founding import Founding, NodePlan
from pki.trustlist.models import LogEntry, NodeEntry, crl_path, entry_path, index_path
from pki.trustlist.publisher import TRAINING, Publisher, UnknownState, load_state_key, make_state_key
from pki.trustlist.submission import Submission, sign_state


def metadata(publisher, name):
    return Metadata.from_bytes((publisher.repository / "metadata" / name).read_bytes())


def signed_again(office, submission, *, key=None, entries=None, files=None):
    """The same submission with another content or key, properly signed."""
    have = dict(submission.files) | (files or {})
    found = [NodeEntry.model_validate_json(have[p]) for p in have if p.endswith(".json") and "index" not in p]
    version = Metadata.from_bytes(submission.metadata).signed.version
    return sign_state(
        office.state, key or office.trust_key, found if entries is None else entries, have[crl_path(office.state)],
        version=version, at=datetime.now(UTC),
    )  # fmt: skip


def test_what_a_founding_makes(founding):
    publisher = founding.publisher
    assert sorted(publisher.states()) == ["DE", "EE", "EU", "MT"]
    assert [entry.node for entry in publisher.entries("DE")] == ["DE", "DE-BY"]
    (malta,) = publisher.entries("MT")
    assert malta.is_hosted
    assert malta.logs["authorities"].host == "EU"
    assert not malta.signing


def test_no_states_key_lies_on_a_node_or_at_the_publisher(founding):
    kept_apart = {p.read_bytes() for p in (founding.folder / "states").rglob("*.key")}
    elsewhere = [*(founding.folder / "nodes").rglob("*"), *(founding.folder / "publisher").rglob("*")]
    assert len(kept_apart) == 8
    assert not kept_apart & {p.read_bytes() for p in elsewhere if p.is_file()}


def test_a_founding_does_not_overwrite(founding):
    with pytest.raises(FileExistsError):
        founding.found([NodePlan(node="EE", federation="https://ee.example")])


def test_roles_and_thresholds(founding):
    root = metadata(founding.publisher, "1.root.json").signed
    assert isinstance(root, Root)
    assert (len(root.roles["root"].keyids), root.roles["root"].threshold) == (5, 3)
    assert (len(root.roles["targets"].keyids), root.roles["targets"].threshold) == (3, 2)
    targets = metadata(founding.publisher, "1.targets.json").signed
    assert isinstance(targets, Targets)
    roles = targets.delegations.roles
    assert {name: role.paths for name, role in roles.items()} == {
        f"state-{state}": [f"nodes/{state}/*"] for state in ("DE", "EE", "EU", "MT")
    }
    assert all(role.terminating and role.threshold == 1 for role in roles.values())
    assert not targets.targets


def test_a_submission_travels_as_a_file(founding):
    office = founding.office("EE")
    submission = office.sign()
    assert Submission.from_bytes(submission.to_bytes()) == submission
    founding.publisher.accept(Submission.from_bytes(submission.to_bytes()))


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xff"])
def test_bytes_that_are_no_submission(data):
    with pytest.raises(BadTrustList):
        Submission.from_bytes(data)


def test_a_malformed_role_is_refused(founding):
    for metadata_bytes in (b"", b"{}", founding.publisher.root_bytes()):
        with pytest.raises(BadTrustList):
            founding.publisher.accept(Submission(state="EE", metadata=metadata_bytes, files={}))


def test_another_states_key_signs_nothing_here(founding):
    germany, estonia = founding.office("DE"), founding.office("EE")
    submission = estonia.sign()
    false = signed_again(estonia, submission, key=germany.trust_key)
    with pytest.raises(BadTrustList, match="not signed with the delegated key of EE"):
        founding.publisher.accept(false)


def test_a_state_cannot_speak_for_anothers_nodes(founding):
    germany, estonia = founding.office("DE"), founding.office("EE")
    stolen = germany.entries()[0]
    with pytest.raises(BadTrustList, match="speaks of"):
        founding.publisher.accept(signed_again(estonia, estonia.sign(), entries=[stolen]))


def test_an_entry_cannot_name_anothers_certificates(founding):
    germany, estonia = founding.office("DE"), founding.office("EE")
    entry = estonia.entries()[0].model_copy(update={"signing": germany.entries()[0].signing})
    with pytest.raises(BadTrustList, match="sign certificate"):
        founding.publisher.accept(signed_again(estonia, estonia.sign(), entries=[entry]))


def test_two_nodes_of_one_state_cannot_share_a_certificate(founding):
    germany = founding.office("DE")
    first, second = germany.entries()
    false = second.model_copy(update={"signing": first.signing})
    with pytest.raises(BadTrustList, match="names DE"):
        founding.publisher.accept(signed_again(germany, germany.sign(), entries=[first, false]))


def test_a_revoked_certificate_cannot_be_published(founding):
    office = founding.office("EE")
    office.revoke("EE")
    with pytest.raises(BadTrustList, match="revoked"):
        founding.publisher.accept(office.sign())


def test_a_revocation_list_of_another_authority_is_refused(founding):
    estonia, germany = founding.office("EE"), founding.office("DE")
    false = {crl_path("EE"): germany.authority.crl_bytes()}
    with pytest.raises(BadTrustList, match="not signed by the authority"):
        founding.publisher.accept(signed_again(estonia, estonia.sign(), files=false))


def test_a_changed_file_is_refused(founding):
    submission = founding.office("EE").sign()
    path = entry_path("EE", "EE")
    entry = json.loads(submission.files[path]) | {"federation": "https://elsewhere.example"}
    changed = Submission(
        state="EE", metadata=submission.metadata, files=dict(submission.files) | {path: json.dumps(entry).encode()}
    )
    with pytest.raises(BadTrustList, match="not the file that was signed"):
        founding.publisher.accept(changed)


def test_a_file_more_or_less_is_refused(founding):
    submission = founding.office("EE").sign()
    for files in (dict(submission.files) | {"nodes/DE/DE.json": b"{}"}, dict(list(submission.files.items())[1:])):
        with pytest.raises(BadTrustList, match="do not match"):
            founding.publisher.accept(Submission(state="EE", metadata=submission.metadata, files=files))


def test_what_has_expired_is_refused(founding):
    old = founding.office("EE").sign(datetime.now(UTC) - timedelta(days=91))
    with pytest.raises(BadTrustList, match="expired"):
        founding.publisher.accept(old)


@pytest.mark.parametrize("index", [["DE"], ["DE", "DE-BY", "DE-HH"]])
def test_an_index_that_names_other_entries_is_refused(founding, index):
    office = founding.office("DE")
    submission = office.sign()
    path = index_path("DE")
    files = dict(submission.files) | {path: json.dumps({"format": 1, "state": "DE", "nodes": index}).encode()}
    role = Metadata.from_bytes(submission.metadata)
    role.signed.targets[path] = TargetFile.from_data(path, files[path], ["sha256"])
    role.sign(office.trust_key)
    with pytest.raises(BadTrustList, match="does not name the entries"):
        founding.publisher.accept(Submission(state="DE", metadata=role.to_bytes(), files=files))


def test_an_older_word_does_not_replace_a_newer_one(founding):
    office = founding.office("EE")
    first, second = office.sign(), office.sign()
    founding.publisher.accept(second)
    for old in (first, second):
        with pytest.raises(BadTrustList, match="already"):
            founding.publisher.accept(old)


def test_a_state_without_delegation_is_unknown(founding, tmp_path):
    made = Founding(tmp_path / "other")
    made.found([NodePlan(node="FR", federation="https://fr.example")])
    with pytest.raises(UnknownState):
        founding.publisher.accept(made.office("FR").sign())
    with pytest.raises(UnknownState):
        founding.publisher.publish("EE", made.office("FR").trust_key, [], founding.office("EE").authority.crl_bytes())


def test_refused_means_nothing_changed(founding):
    repository = founding.publisher.repository
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    office = founding.office("EE")
    office.revoke("EE")
    with pytest.raises(BadTrustList):
        founding.publisher.accept(office.sign())
    assert before == {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}


def test_a_root_is_renewed_by_old_and_new_keys(founding):
    publisher = founding.publisher
    old = metadata(publisher, "1.root.json")
    publisher.renew_root(["root-1", "root-2", "online"])
    new = metadata(publisher, "2.root.json")
    old.verify_delegate("root", new)
    new.verify_delegate("root", new)
    assert len(set(old.signed.roles["root"].keyids) & set(new.signed.roles["root"].keyids)) == 3
    with pytest.raises(UnsignedMetadataError):
        new.verify_delegate("timestamp", Metadata.from_bytes(old_timestamp(publisher)))
    new.verify_delegate("timestamp", metadata(publisher, "timestamp.json"))


def old_timestamp(publisher: Publisher) -> bytes:
    """A time stamp by the replaced online key."""
    stamp = metadata(publisher, "timestamp.json")
    stamp.sign(load_state_key(publisher.folder / "keys" / "online-until-1.key"))
    return stamp.to_bytes()


def test_a_state_that_left_stays_named_in_the_snapshot(founding):
    publisher = founding.publisher
    remaining = {state: key for state, key in publisher.states().items() if state != "MT"}
    publisher.set_states(remaining)
    newest = publisher._newest("snapshot", Snapshot)
    assert newest
    assert "state-MT.json" in newest.signed.meta


def test_renewing_stamps_the_time_anew(founding):
    before = metadata(founding.publisher, "timestamp.json").signed
    founding.publisher.renew()
    after = metadata(founding.publisher, "timestamp.json").signed
    assert after.version == before.version + 1
    assert after.snapshot_meta == before.snapshot_meta


def test_a_training_federation_says_so_in_its_root(tmp_path):
    key = make_state_key(tmp_path / "trust.key").public_key
    publisher = Publisher.ceremony(tmp_path / "publisher", {"EE": key}, training=True)
    publisher.renew_root()
    assert metadata(publisher, "2.root.json").signed.unrecognized_fields == {TRAINING: True}


def test_the_publishers_keys_can_have_a_passphrase(tmp_path):
    made = Founding(tmp_path / "federation", b"secret")
    made.found([NodePlan(node="EE", federation="https://ee.example")])
    assert all(b"ENCRYPTED" in path.read_bytes() for path in made.folder.rglob("*.key"))
    made.publish("EE")


@pytest.mark.parametrize(
    "wrong",
    [
        {"federation": "http://ee.example"},
        {"federation": "https://ee.example/"},
        {"federation": "https://ee.example/?x"},
        {"node": "ee"},
        {"node": "EE/../FR"},
        {"format": 2},
        {"logs": {"authorities": {"public_key": "short", "host": "EE"}}},
    ],
)
def test_entries_are_read_strictly(founding, wrong):
    entry = founding.office("EE").entries()[0]
    with pytest.raises(ValueError, match="validation error"):
        NodeEntry.model_validate(entry.model_dump() | wrong)


def test_a_later_version_may_say_more():
    entry = LogEntry.model_validate({"public_key": "A" * 43 + "=", "host": "EE", "later": 1})
    assert entry.host == "EE"
