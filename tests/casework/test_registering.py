"""Authorities come, work, are suspended and leave; their users with them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date

import pytest
from argon2 import PasswordHasher
from casework_federation import REQUEST, request_content, request_control
from sqlalchemy import select

from node.casework import Users
from node.casework.desk import operator
from node.casework.errors import (
    AlreadyDecided,
    AuthoritySuspended,
    InvalidProfile,
    LastAdministrator,
    LoginTaken,
    NotAdministrator,
    NotCoordinator,
    OpenCases,
    ReasonMissing,
    SessionExpired,
    SignInRefused,
    TooManyGuesses,
    UnknownInvitation,
    UnknownRegistration,
    UnknownRole,
    UnknownScope,
    UnknownUser,
    WeakPassword,
)
from node.casework.profiles import Profile, profile_of
from node.casework.registry import NewUser, Registry
from node.directory.model import Link
from node.directory.rules import NoRequestCoordinator
from node.errors import Unavailable
from node.ids import AuthorityId, NodeId
from node.local_store.audit import AuditRow
from node.local_store.cases import EventRow
from node.local_store.users import UserRow

PASSWORD = "a long password"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PQ = "professional-qualifications"
COORDINATOR = AuthorityId("EE:coordinator")
TARTU = Profile(
    names={"et": "Tartu Kutsekool"},
    informal={"en": "Tartu vocational school"},
    level="local",
    languages=("et", "en"),
    city="Tartu",
    email="info@example.ee",
)
FIRST = NewUser(login="Tiiu", name="Tiiu Example", password=PASSWORD, language="et")


class Office:
    """Estonia's registry, with a data administrator of the coordinator and the log's key at hand."""

    def __init__(self, world, node="EE", publish=True):
        self.world, self.node = world, world[node]
        signer = world.signing[NodeId("EU")].signer
        self.lets = True

        def write(change, by):
            if not self.lets:
                raise Unavailable("the log cannot be written now")
            self.node.directory.publish(NodeId(node), [change], signer, by=by)

        self.users = Users(self.node.database, world.clock, hasher=QUICK)
        self.registry = Registry(
            self.node.casework.tools,
            database=self.node.database,
            directory=self.node.directory,
            users=self.users,
            publish=write if publish else None,
        )
        self.data = self.official("EE:coordinator", "data-administrator", "local-administrator")

    def official(self, authority, *roles):
        return self.node.official(authority, roles=frozenset(roles))

    async def invite(self):
        made, code = await self.registry.invite(self.data, name="Tartu Kutsekool", scopes=[PQ], language="et")
        return made.id, code

    async def submitted(self, profile=TARTU, first=FIRST):
        number, code = await self.invite()
        await self.registry.submit(code, profile, asked={PQ: ["ca"]}, first=first)
        return number, code

    async def registered(self):
        """A validated authority and its first user."""
        number, _ = await self.submitted()
        done = await self.registry.validate(self.data, number, {PQ: ["ca"]})
        return done.authority, (await self.users.sign_in("tiiu", PASSWORD, source="x")).official

    def entry(self, authority):
        return self.node.directory.get(authority)


@pytest.fixture
def office(federation):
    return Office(federation("EE", "FR"))


async def test_an_authority_registers_with_an_invitation(office):
    number, code = await office.invite()
    shown = await office.registry.invitation(code, source="x")
    assert (shown.state, shown.name, shown.scopes, shown.coordinator) == (
        "invited",
        "Tartu Kutsekool",
        (PQ,),
        COORDINATOR,
    )
    before = office.node.directory.count()
    sent = await office.registry.submit(code, TARTU, asked={PQ: ["ca"]}, first=FIRST)
    assert (sent.state, sent.first_user) == ("submitted", "Tiiu Example")
    assert office.node.directory.count() == before
    with pytest.raises(SignInRefused):
        await office.users.sign_in("tiiu", PASSWORD, source="x")

    done = await office.registry.validate(office.data, number, {PQ: ["ca"]})
    entry = office.entry(done.authority)
    assert done.published
    assert entry.names == {"et": "Tartu Kutsekool"}
    assert entry.id.startswith("EE:")
    assert "tartu" not in entry.id
    assert entry.roles == {PQ: ("ca",)}
    assert {link.function for link in entry.coordinators} == {"validating", "access", "request"}
    assert (entry.status, entry.registered) == ("active", date(2026, 11, 24))
    by = office.node.directory.changed_by(entry.id)
    assert (by.authority, by.user) == (COORDINATOR, office.data.user)
    official = (await office.users.sign_in("tiiu", PASSWORD, source="x")).official
    assert official.authority == entry.id
    assert official.roles == set(office.registry.user_roles())
    assert (await office.registry.invitation(code, source="x")).state == "validated"


async def test_what_a_registration_stores_of_a_person_is_gone_once_it_is_decided(office):
    number, _ = await office.submitted()
    await office.registry.reject(office.data, number, "There is one already.")
    kept = office.node.database.run(
        lambda session: [tuple(row) for row in session.connection().exec_driver_sql("SELECT * FROM registrations")]
    )
    assert "Tiiu" not in str(kept)
    assert "argon2" not in str(kept)


async def test_a_rejected_registrant_reads_the_reason_at_the_same_link(office):
    number, code = await office.submitted()
    with pytest.raises(ReasonMissing):
        await office.registry.reject(office.data, number, "  ")
    await office.registry.reject(office.data, number, "There is one already.")
    shown = await office.registry.invitation(code, source="x")
    assert (shown.state, shown.reason) == ("rejected", "There is one already.")
    with pytest.raises(AlreadyDecided):
        await office.registry.validate(office.data, number, {PQ: ["ca"]})
    with pytest.raises(AlreadyDecided):
        await office.registry.submit(code, TARTU, asked={}, first=FIRST)


async def test_invitations_end(office):
    _, code = await office.invite()
    office.world.clock.advance(days=31)
    with pytest.raises(UnknownInvitation):
        await office.registry.submit(code, TARTU, asked={}, first=FIRST)
    number, code = await office.invite()
    await office.registry.withdraw_invitation(office.data, number)
    with pytest.raises(UnknownInvitation):
        await office.registry.invitation(code, source="x")
    with pytest.raises(AlreadyDecided):
        await office.registry.withdraw_invitation(office.data, number)


async def test_codes_are_stored_as_hashes_and_cannot_be_guessed_for_long(office):
    _, code = await office.invite()
    assert code.encode() not in office.node.bytes_on_disk()
    for _ in range(20):
        with pytest.raises(UnknownInvitation):
            await office.registry.invitation("guess", source="10.0.0.9")
    with pytest.raises(TooManyGuesses) as caught:
        await office.registry.invitation(code, source="10.0.0.9")
    assert caught.value.details["seconds"] > 0
    assert (await office.registry.invitation(code, source="10.0.0.8")).state == "invited"
    office.world.clock.advance(minutes=16)
    assert (await office.registry.invitation(code, source="10.0.0.9")).state == "invited"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"names": {"et": " "}}, ("names", "missing")),
        ({"names": {"xx": "Kool"}}, ("names", "language")),
        ({"names": {"et": "K" * 401}}, ("names", "too-long")),
        ({"level": "galactic"}, ("level", "choice")),
        ({"languages": ()}, ("languages", "missing")),
        ({"email": "nobody"}, ("email", "malformed")),
        ({"website": "javascript:alert(1)"}, ("website", "malformed")),
        ({"territory": ("FR10",)}, ("territory", "territory")),
        ({"parent": "EE:nowhere"}, ("parent", "unknown")),
        ({"parent": "FR:school"}, ("parent", "unknown")),
        ({"professions": ("wizard",)}, ("professions", "choice")),
        ({"city": ""}, ("city", "missing")),
        ({"competence": dict.fromkeys(("et", "en", "fr", "de", "el"), "ω" * 4000)}, ("competence", "too-long")),
    ],
)
async def test_a_profile_is_checked_whole(office, change, fault):
    _, code = await office.invite()
    with pytest.raises(InvalidProfile) as caught:
        await office.registry.submit(code, replace(TARTU, **change), asked={}, first=FIRST)
    assert fault in caught.value.faults
    assert (await office.registry.invitation(code, source="x")).state == "invited"


async def test_a_refused_first_user_changes_nothing(office):
    _, code = await office.invite()
    with pytest.raises(WeakPassword):
        await office.registry.submit(code, TARTU, asked={}, first=replace(FIRST, password="short"))
    await office.users.create_user(
        login="tiiu", name="T", password=PASSWORD, authority=COORDINATOR, roles=(), language="et"
    )
    with pytest.raises(LoginTaken):
        await office.registry.submit(code, TARTU, asked={}, first=FIRST)
    with pytest.raises(UnknownRole):
        await office.registry.submit(code, TARTU, asked={PQ: ["emperor"]}, first=replace(FIRST, login="other"))
    with pytest.raises(UnknownScope):
        await office.registry.submit(code, TARTU, asked={"magic": ["ca"]}, first=replace(FIRST, login="other"))


async def test_only_a_coordinators_data_administrator_invites_and_validates(office):
    number, _ = await office.submitted()
    for authority, roles, refusal in (
        ("EE:coordinator", ("handler",), NotAdministrator),
        ("EE:school", ("data-administrator",), NotCoordinator),
    ):
        official = office.official(authority, *roles)
        with pytest.raises(refusal):
            await office.registry.invite(official, name="X", scopes=[], language="et")
        with pytest.raises(refusal):
            await office.registry.validate(official, number, {})
    with pytest.raises(UnknownRegistration):
        await office.registry.validate(office.data, number + 1, {})


async def test_an_authority_that_is_there_already_is_suggested(office):
    await office.registered()
    alike = await office.registry.lookalikes(replace(TARTU, names={"et": "Kutsekool Tartu"}))
    assert [found.names["et"] for found in alike] == ["Tartu Kutsekool"]
    assert (
        await office.registry.lookalikes(replace(TARTU, names={"et": "Narva Haigla"}, informal={}, city="Narva")) == ()
    )


async def test_a_coordinator_registers_a_body_without_users_and_stands_for_it(office):
    made = await office.registry.register(office.data, TARTU, granted={PQ: ["ca"]})
    assert office.entry(made.id).represented_by == COORDINATOR
    other = await office.registry.register(office.data, TARTU, granted={}, first=FIRST)
    assert office.entry(other.id).represented_by == ""
    assert (await office.users.sign_in("tiiu", PASSWORD, source="x")).official.authority == other.id


async def test_a_change_waits_for_the_log_and_enters_it_once(office):
    office.lets = False
    number, _ = await office.submitted()
    done = await office.registry.validate(office.data, number, {PQ: ["ca"]})
    assert not done.published
    official = (await office.users.sign_in("tiiu", PASSWORD, source="x")).official
    await office.registry.edit(official, done.authority, replace(TARTU, city="Elva"))
    ours = await office.registry.ours(official)
    assert (ours.publishing, ours.authority.address["city"]) == (True, "Elva")
    assert done.authority in (await office.registry.coordination(office.data)).publishing
    office.lets = True
    await office.registry.publish_pending()
    size = office.node.directory.own.held("EE/authorities").size
    assert office.entry(done.authority).address["city"] == "Elva"
    assert not (await office.registry.ours(official)).publishing
    await office.registry.publish_pending()
    assert office.node.directory.own.held("EE/authorities").size == size


async def test_a_crash_between_log_and_database_writes_nothing_twice(office):
    authority, official = await office.registered()
    publish = office.registry._publish

    def crash_after(change, by):
        publish(change, by)
        raise RuntimeError("the process ends here")

    office.registry._publish = crash_after
    with pytest.raises(RuntimeError):
        await office.registry.edit(official, authority, replace(TARTU, city="Elva"))
    size = office.node.directory.own.held("EE/authorities").size
    restarted = Office(office.world)
    await restarted.registry.publish_pending()
    assert office.node.directory.own.held("EE/authorities").size == size
    assert not (await restarted.registry.ours(official)).publishing


async def test_access_is_asked_for_granted_in_part_refused_and_withdrawn(office):
    authority, official = await office.registered()
    asked = await office.registry.ask_access(official, "services", ["alert-authority", "alert-inbox"])
    with pytest.raises(AlreadyDecided):
        await office.registry.ask_access(official, "services", ["alert-authority"])
    assert [one.id for one in (await office.registry.coordination(office.data)).access] == [asked.id]
    with pytest.raises(UnknownRole):
        await office.registry.grant(office.data, asked.id, ["alert-coordinator"])
    await office.registry.grant(office.data, asked.id, ["alert-authority"])
    assert office.entry(authority).roles["services"] == ("alert-authority",)
    assert office.entry(authority).areas == (PQ, "services")
    again = await office.registry.ask_access(official, "services", ["alert-inbox"])
    await office.registry.refuse(office.data, again.id, "One inbox is enough.")
    with pytest.raises(AlreadyDecided):
        await office.registry.refuse(office.data, again.id, "Again.")
    await office.registry.withdraw_access(office.data, authority, "services", "Not competent.")
    assert "services" not in office.entry(authority).roles
    ours = await office.registry.ours(official)
    assert [one.act for one in ours.decisions][:3] == ["access-withdrawn", "access-refused", "access-granted"]
    assert ours.access[0].reason == "One inbox is enough."


async def test_access_stays_while_cases_are_open(office):
    authority, _ = await office.registered()
    await office.node.open(authority, REQUEST, "send", request_control(), request_content())
    with pytest.raises(OpenCases):
        await office.registry.withdraw_access(office.data, authority, PQ, "Not competent.")


async def test_every_authority_with_requests_keeps_a_request_coordinator(office):
    authority, official = await office.registered()
    links = office.entry(authority).coordinators
    without = [link for link in links if link.function != "request"]
    with pytest.raises(NoRequestCoordinator) as caught:
        await office.registry.set_coordinators(official, authority, without)
    assert caught.value.details["areas"] == PQ
    with pytest.raises(InvalidProfile):
        await office.registry.set_coordinators(
            official, authority, [*links, Link(coordinator=AuthorityId("EE:school"))]
        )
    with pytest.raises(NotCoordinator):
        await office.registry.set_coordinators(
            official, authority, [link for link in links if link.function == "request"]
        )
    by_area = [*without, Link(coordinator=COORDINATOR, function="request", area=PQ)]
    await office.registry.set_coordinators(official, authority, by_area)
    assert office.entry(authority).coordinators_for("request", PQ) == (COORDINATOR,)


async def test_an_authoritys_own_setting_decides_over_the_areas_and_the_states(federation):
    world = federation("FR")
    world.start("EE", national={"approve-requests": "yes"})
    office = Office(world)
    authority, official = await office.registered()
    procedure = office.world.catalogue.procedure(REQUEST)

    def first_steps():
        return {offer.step.name for offer in office.node.casework.first_offers(official, procedure)}

    assert "send" not in first_steps()
    await office.registry.set_settings(official, authority, PQ, {"approve-requests": "no"})
    assert "send" in first_steps()
    await office.registry.set_settings(
        official, authority, REQUEST, {"approve-requests": "yes", "reply-language": "en"}
    )
    assert "send" not in first_steps()
    await office.registry.set_settings(official, authority, REQUEST, {"approve-requests": ""})
    assert office.entry(authority).settings == {PQ: {"approve-requests": "no"}}
    for settings in ({"approve-requests": "maybe"}, {"colour": "yes"}):
        with pytest.raises(InvalidProfile):
            await office.registry.set_settings(official, authority, PQ, settings)


async def test_a_suspended_authority_finishes_and_opens_nothing(office):
    authority, official = await office.registered()
    number = await office.node.open(authority, REQUEST, "send", request_control(), request_content())
    with pytest.raises(ReasonMissing):
        await office.registry.suspend(office.data, authority, "")
    await office.registry.suspend(office.data, authority, "Nobody answers.")
    assert office.node.casework.procedures(official) == ()
    with pytest.raises(AuthoritySuspended):
        await office.node.open(authority, REQUEST, "send", request_control(), request_content())
    with pytest.raises(AuthoritySuspended):
        await office.node.casework.create_draft(official, REQUEST)
    await office.node.step(authority, number, "withdraw")
    assert (await office.registry.ours(office.data, authority)).decisions[0].reason == "Nobody answers."
    assert (await office.registry.tasks(official)).suspended
    await office.registry.lift(office.data, authority)
    assert await office.node.open(authority, REQUEST, "send", request_control(), request_content())


async def test_an_authority_leaves_and_its_people_are_forgotten_after_three_years(office):
    """Scenario A23 of the domain."""
    authority, official = await office.registered()
    session = await office.users.sign_in("tiiu", PASSWORD, source="x")
    number = await office.node.casework.open_case(
        official, REQUEST, "send", control=request_control(), content=request_content()
    )
    await office.registry.leave(official, authority, "Merged into another school.")
    entry = office.entry(authority)
    assert (entry.status, entry.represented_by) == ("left", COORDINATOR)
    assert entry.roles == {PQ: ("ca",)}  # so that its open cases can be finished for it
    with pytest.raises(SessionExpired):
        await office.users.session(session.secret)
    with pytest.raises(SignInRefused):
        await office.users.sign_in("tiiu", PASSWORD, source="x")

    await office.node.step("EE:coordinator", number, "withdraw")  # its coordinator's users finish the open case for it
    heir = office.official("EE:coordinator", "handler").acting_for(authority)
    with pytest.raises(AuthoritySuspended):
        await office.node.casework.open_case(
            heir, REQUEST, "send", control=request_control(), content=request_content()
        )

    office.world.clock.advance(days=3 * 365 - 1)
    await office.registry.sweep()
    assert _login_of(office, official.user) == ("tiiu", "Tiiu Example")
    office.world.clock.advance(days=3)
    await office.registry.sweep()
    assert _login_of(office, official.user) == (f"erased-user-{official.user}", "")

    def traces(session):
        trail = session.scalars(select(AuditRow.login).where(AuditRow.user == official.user)).all()
        return {*trail, *session.scalars(select(EventRow.login).where(EventRow.user == official.user)).all()}

    assert office.node.database.run(traces) == {f"erased-user-{official.user}"}


def _login_of(office, user):
    def read(session):
        row = session.get(UserRow, user)
        return row.login, row.name

    return office.node.database.run(read)


async def test_a_coordinator_with_authorities_cannot_leave(office):
    await office.registered()
    with pytest.raises(NotCoordinator):
        await office.registry.leave(office.data, COORDINATOR, "Enough.")


async def test_the_yearly_review(office):
    authority, official = await office.registered()
    assert not (await office.registry.tasks(official)).review_due
    office.world.clock.advance(days=366)
    assert (await office.registry.tasks(official)).review_due
    assert authority in (await office.registry.coordination(office.data)).stale
    await office.registry.review(official, authority)
    assert office.entry(authority).reviewed == date(2027, 11, 25)
    assert not (await office.registry.tasks(official)).review_due
    assert authority not in (await office.registry.coordination(office.data)).stale


async def test_a_local_administrator_keeps_the_data_and_a_handler_does_not(office):
    authority, official = await office.registered()
    handler = replace(official, roles=frozenset({"handler"}))
    for act in (
        office.registry.edit(handler, authority, TARTU),
        office.registry.review(handler, authority),
        office.registry.ask_access(handler, "services", ["alert-authority"]),
        office.registry.add_user(handler, login="x", name="X", roles=[], language="et"),
        office.registry.leave(handler, authority, "x"),
    ):
        with pytest.raises(NotAdministrator):
            await act
    stranger = office.official("EE:school", "local-administrator", "data-administrator")
    with pytest.raises(NotCoordinator):
        await office.registry.edit(stranger, authority, TARTU)
    await office.registry.edit(office.data, authority, replace(TARTU, names={"et": "Tartu Kool"}))
    assert profile_of(office.entry(authority)).names == {"et": "Tartu Kool"}


async def test_users_come_change_and_go(office):
    authority, official = await office.registered()
    added, code = await office.registry.add_user(
        official, login="Jaan", name="Jaan Example", roles=["handler"], language="et"
    )
    with pytest.raises(SignInRefused):
        await office.users.sign_in("jaan", PASSWORD, source="y")
    with pytest.raises(WeakPassword):
        await office.registry.set_password(code, "short", source="y")
    await office.registry.set_password(code, PASSWORD, source="y")
    with pytest.raises(UnknownInvitation):
        await office.registry.set_password(code, PASSWORD, source="y")
    office.world.clock.advance(minutes=20)
    signed = await office.users.sign_in("jaan", PASSWORD, source="y")
    assert signed.official.roles == {"handler"}
    await office.registry.change_user(official, added.id, name="Jaan E.", roles=["supervisor", "handler"])
    assert (await office.users.session(signed.secret)).official.roles == {"handler", "supervisor"}
    with pytest.raises(UnknownRole):
        await office.registry.change_user(official, added.id, name="J", roles=["system"])
    with pytest.raises(LoginTaken):
        await office.registry.add_user(official, login="JAAN", name="J", roles=[], language="et")

    _, code = await office.registry.reset_password(official, added.id)
    with pytest.raises(SessionExpired):
        await office.users.session(signed.secret)
    office.world.clock.advance(days=4)
    with pytest.raises(UnknownInvitation):
        await office.registry.set_password(code, PASSWORD, source="y")
    await office.registry.close_user(official, added.id)
    assert [one.login for one in await office.registry.colleagues(authority)] == ["tiiu"]


async def test_the_last_local_administrator_stays(office):
    authority, official = await office.registered()
    with pytest.raises(LastAdministrator):
        await office.registry.close_user(official, official.user)
    with pytest.raises(LastAdministrator):
        await office.registry.change_user(official, official.user, name="T", roles=["handler"])
    await office.registry.add_user(official, login="jaan", name="J", roles=["local-administrator"], language="et")
    await office.registry.change_user(official, official.user, name="T", roles=["handler"])
    assert len(await office.registry.colleagues(authority)) == 2


async def test_a_coordinator_resets_local_administrators_only(office):
    authority, official = await office.registered()
    handler, _ = await office.registry.add_user(official, login="jaan", name="J", roles=["handler"], language="et")
    with pytest.raises(UnknownUser):
        await office.registry.reset_password(office.data, handler.id)
    _, code = await office.registry.reset_password(office.data, official.user)
    await office.registry.set_password(code, "another long one", source="y")
    assert (await office.users.sign_in("tiiu", "another long one", source="y")).official.authority == authority
    stranger = office.official("EE:school", "local-administrator", "data-administrator")
    with pytest.raises(NotCoordinator):
        await office.registry.reset_password(stranger, official.user)


async def test_the_operator_acts_for_a_coordinator_without_being_a_user(office):
    made = await office.registry.register(operator(COORDINATOR), TARTU, granted={PQ: ["ca"]})
    by = office.node.directory.changed_by(made.id)
    assert (by.authority, by.user) == ("", None)


async def test_the_trail_tells_every_act_and_no_name(office):
    authority, _ = await office.registered()
    await office.registry.suspend(office.data, authority, "Nobody called Tiiu Example answers.")

    def trail(session):
        rows = session.scalars(select(AuditRow)).all()
        return [(row.act, row.subject, row.purpose) for row in rows]

    found = office.node.database.run(trail)
    acts = [act for act, _, _ in found]
    assert acts == ["invited", "registration-submitted", "user-created", "validated", "sign-in", "suspended"]
    assert "Tiiu" not in str(found)


async def test_nobody_decides_on_the_access_of_their_own_authority(office):
    """A coordinator of one area does not give itself another."""
    own = [Link(coordinator=COORDINATOR, function="access"), Link(coordinator=COORDINATOR, function="request")]
    office.node.directory.publish(
        NodeId("EE"),
        [replace(office.entry(COORDINATOR), coordinators=tuple(own))],
        office.world.signing[NodeId("EU")].signer,
    )
    with pytest.raises(NotCoordinator):
        await office.registry.suspend(office.data, COORDINATOR, "Myself.")
    with pytest.raises(NotCoordinator):
        await office.registry.ask_access(office.data, "professional-qualifications", ["ca"])


async def test_an_authority_does_not_choose_who_decides_on_it(office):
    authority, official = await office.registered()
    other = await office.registry.register(office.data, replace(TARTU, city="Elva"), granted={PQ: ["coordinator"]})
    links = office.entry(authority).coordinators
    more = [*links, Link(coordinator=other.id, function="request"), Link(coordinator=other.id, function="alert")]
    await office.registry.set_coordinators(official, authority, more)
    for chosen in (
        [*more, Link(coordinator=other.id, function="access")],
        [*more, Link(coordinator=other.id, function="access", area=PQ)],
        [link for link in more if link.function != "access"],
    ):
        with pytest.raises(NotCoordinator):
            await office.registry.set_coordinators(official, authority, chosen)
    await office.registry.set_coordinators(
        office.data, authority, [*more, Link(coordinator=other.id, function="access", area=PQ)]
    )


async def test_who_decides_by_its_requests_alone_is_not_changed_by_the_authority_either(office):
    """An imported authority names its request coordinator only, who then validates it and decides on its access."""
    authority, official = await office.registered()
    other = await office.registry.register(office.data, replace(TARTU, city="Elva"), granted={PQ: ["coordinator"]})
    await office.registry.set_coordinators(office.data, authority, [Link(coordinator=COORDINATOR)])
    with pytest.raises(NotCoordinator):
        await office.registry.set_coordinators(official, authority, [Link(coordinator=other.id)])
    await office.registry.set_coordinators(office.data, authority, [Link(coordinator=other.id)])


async def test_a_coordinator_for_the_access_to_one_area_sees_whom_it_decides_on(office):
    authority, _ = await office.registered()
    other = await office.registry.register(office.data, replace(TARTU, city="Elva"), granted={PQ: ["coordinator"]})
    links = [*office.entry(authority).coordinators, Link(coordinator=other.id, function="access", area=PQ)]
    await office.registry.set_coordinators(office.data, authority, links)
    theirs = office.official(other.id, "data-administrator")
    assert (await office.registry.theirs(theirs, authority)).authority.id == authority
    await office.registry.withdraw_access(theirs, authority, PQ, "Not competent.")
    with pytest.raises(NotCoordinator):
        await office.registry.suspend(theirs, authority, "Not mine.")


async def test_access_that_is_withdrawn_takes_the_area_with_it(office):
    authority, official = await office.registered()
    asked = await office.registry.ask_access(official, "services/alert", ["alert-authority"])
    await office.registry.grant(office.data, asked.id, ["alert-authority"])
    asked = await office.registry.ask_access(official, "services", ["alert-inbox"])
    await office.registry.grant(office.data, asked.id, ["alert-inbox"])
    await office.registry.withdraw_access(office.data, authority, "services/alert", "Not competent.")
    assert office.entry(authority).areas == (PQ, "services")
    await office.registry.withdraw_access(office.data, authority, "services", "Not competent.")
    assert office.entry(authority).areas == (PQ,)


async def test_cases_of_an_authority_that_left_go_to_a_coordinator_whose_users_can_finish_them(office):
    """A coordinator on another node signs nothing for it; one that is not active has nobody who would."""
    authority, official = await office.registered()
    entry = office.entry(authority)
    signer = office.world.signing[NodeId("EU")].signer

    def link(name, function="validating"):
        office.node.directory.publish(
            NodeId("EE"),
            [replace(entry, coordinators=(Link(coordinator=AuthorityId(name), function=function),))],
            signer,
        )

    link("EE:gone")
    with pytest.raises(NotCoordinator):
        await office.registry.leave(official, authority, "Merged.")
    link("DE:alerts")
    with pytest.raises(NotCoordinator):
        await office.registry.leave(official, authority, "Merged.")


async def test_who_finished_the_cases_of_others_hands_them_on_when_it_leaves(office):
    _, _ = await office.registered()
    second = await office.registry.register(office.data, replace(TARTU, city="Elva"), granted={PQ: ["coordinator"]})
    body = await office.registry.register(
        office.official(second.id, "data-administrator"), replace(TARTU, city="Otepää"), granted={PQ: ["ca"]}
    )
    await office.registry.leave(office.official(second.id, "data-administrator"), body.id, "Merged.")
    assert office.entry(body.id).represented_by == second.id
    await office.registry.leave(office.data, second.id, "Merged.")
    assert office.entry(body.id).represented_by == COORDINATOR


async def test_registrations_that_wait_for_a_coordinator_which_leaves_wait_for_the_next(office):
    second = await office.registry.register(office.data, replace(TARTU, city="Elva"), granted={PQ: ["coordinator"]})
    theirs = office.official(second.id, "data-administrator")
    made, code = await office.registry.invite(theirs, name="Tartu Kutsekool", scopes=[PQ], language="et")
    await office.registry.leave(office.data, second.id, "Merged.")
    assert (await office.registry.invitation(code, source="x")).coordinator == COORDINATOR
    await office.registry.submit(code, TARTU, asked={PQ: ["ca"]}, first=FIRST)
    await office.registry.validate(office.data, made.id, {PQ: ["ca"]})


async def test_a_coordinator_linked_to_itself_can_leave(office):
    second = await office.registry.register(office.data, replace(TARTU, city="Elva"), granted={PQ: ["coordinator"]})
    links = [*second.coordinators, Link(coordinator=second.id, function="request")]
    await office.registry.set_coordinators(office.data, second.id, links)
    await office.registry.leave(office.data, second.id, "Merged.")
    assert office.entry(second.id).status == "left"


async def test_what_a_profile_no_longer_says_is_gone(office):
    authority, official = await office.registered()
    await office.registry.edit(official, authority, replace(TARTU, street="Vana 1", postal_code="50001"))
    await office.registry.edit(official, authority, TARTU)
    assert office.entry(authority).address == {"city": "Tartu"}


async def test_an_invitation_does_not_tell_which_logins_are_taken(office):
    """Whoever probes for a login that is free has used the invitation: nothing after that check can fail."""
    _, code = await office.invite()
    with pytest.raises(UnknownScope):
        await office.registry.submit(
            code, TARTU, asked={"no-such-area": ["ca"]}, first=replace(FIRST, login="never seen")
        )
    await office.users.create_user(
        login="taken", name="T", password=PASSWORD, authority=COORDINATOR, roles=[], language="et"
    )
    with pytest.raises(UnknownScope):
        await office.registry.submit(code, TARTU, asked={"no-such-area": ["ca"]}, first=replace(FIRST, login="taken"))


async def test_a_registration_that_nobody_decides_is_forgotten(office):
    number, code = await office.submitted()
    office.world.clock.advance(days=179)
    await office.registry.sweep()
    assert (await office.registry.registration(office.data, number)).state == "submitted"
    office.world.clock.advance(days=2)
    await office.registry.sweep()
    with pytest.raises(UnknownInvitation):
        await office.registry.invitation(code, source="x")


async def test_two_coordinators_decide_at_once_and_one_is_heard(office):
    number, _ = await office.submitted()
    done = await asyncio.gather(
        office.registry.validate(office.data, number, {PQ: ["ca"]}),
        office.registry.validate(office.data, number, {PQ: ["ca"]}),
        office.registry.reject(office.data, number, "No."),
        return_exceptions=True,
    )
    assert sum(isinstance(one, AlreadyDecided) for one in done) == 2
