"""Who is competent for this? The nearest authority, else the coordinator, and why."""

from __future__ import annotations

import pytest

from node.directory import Authority, Directory
from node.directory.competence import Need, Reason
from node.directory.model import OPERATOR
from node.ids import AuthorityId, NodeId, State

DE = NodeId("DE")
PQ = "professional-qualifications"


def body(number: str, *territory: str, roles=("ca",), professions=("doctor",), **more) -> Authority:
    return Authority(
        id=AuthorityId(f"DE:{number}"), node=DE, names={"de": f"Amt {number}"}, name_lang="de", territory=territory,
        areas=(PQ,), professions=professions, roles={PQ: roles}, **more,
    )  # fmt: skip


@pytest.fixture
def germany(tmp_path):
    directory = Directory(tmp_path)
    bodies = [
        body("munich", "DE212", address={"city": "München", "postal_code": "80331"}),
        body("upper-bavaria", "DE21", professions=("doctor", "nurse")),
        body("bavaria", "DE2", professions=("pharmacist",)),
        body("nationwide", professions=("architect",), address={"city": "Berlin", "nuts": "DE300"}),
        body("hamburg", "DE600", professions=("midwife",), address={"city": "Hamburg"}),
        body(
            "town-hall",
            level="local",
            professions=("dentist",),
            roles=(),
            address={"city": "Augsburg", "nuts": "DE271"},
        ),
        body("coordinator-bavaria", "DE2", roles=("coordinator",), professions=()),
        body("coordinator", roles=("coordinator",), professions=()),
    ]
    directory.replica.apply([(one, OPERATOR) for one in bodies], DE)
    yield directory
    directory.close()


def ask(directory: Directory, **more):
    found = directory.competent(Need(**{"area": PQ, "state": State("DE"), **more}))
    return [authority.id.removeprefix("DE:") for authority in found.authorities], found.reason, found.region


@pytest.mark.parametrize(
    ("need", "who", "reason"),
    [
        ({"profession": "doctor", "region": "DE212"}, ["munich"], Reason.REGION),
        ({"profession": "doctor", "region": "DE21H"}, ["upper-bavaria"], Reason.REGION),
        ({"profession": "nurse", "region": "DE212"}, ["upper-bavaria"], Reason.REGION),
        ({"profession": "pharmacist", "region": "DE212"}, ["bavaria"], Reason.REGION),
        ({"profession": "doctor", "region": "DE2"}, ["munich", "upper-bavaria"], Reason.PARTS),
        ({"profession": "architect", "region": "DE212"}, ["nationwide"], Reason.NATIONWIDE),
        ({"profession": "architect", "region": "DE3"}, ["nationwide"], Reason.NATIONWIDE),  # it only has its seat there
        ({"profession": "architect"}, ["nationwide"], Reason.NATIONWIDE),
        ({"profession": "doctor"}, ["munich", "upper-bavaria"], Reason.REGIONAL),
        ({"profession": "midwife", "region": "DE212"}, ["coordinator-bavaria"], Reason.COORDINATOR),
        ({"profession": "doctor", "region": "DE600"}, ["coordinator"], Reason.COORDINATOR),
        ({"profession": "electrician"}, ["coordinator"], Reason.COORDINATOR),
        ({"area": "services", "activity": "construction"}, [], Reason.NOBODY),
    ],
)
def test_the_nearest_authority_else_the_coordinator(germany, need, who, reason):
    found, why, _ = ask(germany, **need)
    assert (sorted(found), why) == (who, reason)


@pytest.mark.parametrize(
    ("place", "region"),
    [
        ("München", "DE212"),
        ("muenchen", "DE212"),
        ("80331", "DE212"),
        ("DE212", "DE212"),
        ("de2", "DE2"),
        ("Augsburg", "DE271"),
        ("Oberbayern", "DE21"),
        ("bayern", "DE2"),
    ],
)
def test_a_place_is_known_by_its_code_or_by_the_bodies_that_sit_there(germany, place, region):
    assert ask(germany, profession="doctor", place=place)[2] == region


@pytest.mark.parametrize("place", ["Nirgendwo", "DE999", "!", "FR101"])
def test_an_unknown_place_is_said_to_be_unknown(germany, place):
    found = germany.competent(Need(area=PQ, state=State("DE"), profession="architect", place=place))
    assert not found.is_place_known
    assert found.reason is Reason.NATIONWIDE


def test_the_state_itself_is_no_region(germany):
    assert ask(germany, profession="architect", region="DE") == (["nationwide"], Reason.NATIONWIDE, "")
