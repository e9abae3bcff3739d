"""Taking a step: from what an official asks to a signed event, its parts, its audit row and what others are owed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from sqlalchemy.orm import Session

from node.casework import drafting, representing
from node.casework.arriving import keep_file
from node.casework.errors import (
    AuthorityMoving,
    AuthorityNotChosen,
    AuthoritySuspended,
    CaseBlocked,
    CaseErased,
    CaseOnItsWay,
    InvalidContent,
    InvalidControl,
    NoAccess,
    RecipientWithoutAccess,
    RecipientWithoutNode,
    RepeatedKeyDiffers,
    StaleForm,
    StepNotAllowed,
    TooMuchContent,
    UnknownCase,
    UnknownFile,
    UnknownLanguage,
    UnknownProcedure,
)
from node.casework.hosting import sign, signs_for
from node.casework.loading import Case, load, new_row, set_opening
from node.casework.settling import is_blocked, settle
from node.casework.tools import COORDINATOR, Tools
from node.casework.views import Content, Control, Official, Once
from node.catalogue.texts import LANGUAGES
from node.domain.events import RECEIVED, Event, Opening, Value, canonical
from node.domain.fold import View, refusal
from node.domain.forms import documents, validate_step
from node.domain.judging import unmet
from node.domain.procedures import Procedure
from node.domain.steps import Composed, Offer, compose, offered
from node.ids import AuthorityId, CaseId, CaseNumber
from node.local_store import audit, cases, files, moves
from node.local_store.cases import StoredEvent
from node.local_store.files import AttachmentRow, FileTooLarge, StoredFile

MAX_CONTENT_BYTES: Final = 1024 * 1024  # all forms of one act together
MAX_FILES_BYTES: Final = 40 * 1024 * 1024  # all files of one act together
MAX_FILES: Final = 40
READERS: Final = frozenset({"handler", "allocator", "referral-handler", "disseminator", "submitter", "supervisor"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What an official asks for."""

    official: Official
    step: str
    control: Control
    content: Content
    lang: str
    expected: str | None = None


def check_reader(official: Official) -> None:
    """Raises NoAccess for a user without a role that reads cases."""
    if not official.roles & READERS:
        raise NoAccess("this user has no role that reads cases")


def take_step(tools: Tools, session: Session, act: Act, number: CaseNumber, once: Once | None) -> CaseNumber:
    """A step in a case, or the first one from a draft."""
    check_reader(act.official)
    if done := _done_before(session, act.official, once):
        return done
    draft = representing.draft(tools, session, act.official, number, "")
    if draft is not None:
        drafting.check_expected(draft, act.expected)
        act = replace(act, official=act.official.acting_for(AuthorityId(draft.authority)))
        procedure = _procedure(tools, draft.procedure, draft.version)
        _open(tools, session, act, procedure, number)
        drafting.forget(session, act.official, number, "")
    else:
        act = _go_on(tools, session, act, number)
        drafting.forget(session, act.official, number, act.step)
    _remember(tools, session, act.official, once, number)
    return number


def open_case(tools: Tools, session: Session, act: Act, procedure: str, once: Once | None) -> CaseNumber:
    """A new case, with its first step."""
    check_reader(act.official)
    if done := _done_before(session, act.official, once):
        return done
    found = _procedure(tools, procedure, None)
    act = replace(act, official=opener(tools, act.official, found))
    number = cases.draw_number(session, tools.node, tools.clock.now().year)
    _open(tools, session, act, found, number)
    _remember(tools, session, act.official, once, number)
    return number


def check_active(tools: Tools, official: Official) -> None:
    """Raises AuthoritySuspended for an authority that opens no cases now."""
    if not tools.is_active(official.authority):
        raise AuthoritySuspended("this authority is suspended or has left: it finishes its cases, and opens none")


def openers(tools: Tools, official: Official, procedure: Procedure) -> Iterator[Official]:
    """The official for each authority of theirs for which they may open a case, the user's own first. Raises NoAccess."""
    for authority in representing.authorities(tools, official):
        chosen = official.acting_for(authority)
        if first_offers(tools, chosen, procedure):
            yield chosen


def opener(tools: Tools, official: Official, procedure: Procedure) -> Official:
    """The official for the authority that a new case is opened for: the chosen one, their own, or the only one.

    Raises:
        NoAccess, AuthorityNotChosen.
    """
    if official.via:
        representing.check(tools, official)
        return official
    found = list(islice(openers(tools, official, procedure), 2))
    if len(found) > 1 and found[0].authority != official.own:
        raise AuthorityNotChosen("this official acts for several authorities here: say for which one")
    return found[0] if found else official.acting_for(official.own)


def _check_actor(tools: Tools, session: Session, official: Official) -> None:
    """What this node may not sign, other nodes would hold for ever."""
    if going := moves.leaving(session).get(official.authority):
        raise AuthorityMoving("this authority is moving to another node", to=going.to)
    if not tools.is_ours(official.authority):
        raise NoAccess("the directory says that this authority is hosted by another node")


def first_offers(tools: Tools, official: Official, procedure: Procedure) -> tuple[Offer, ...]:
    """The steps with which this official may open a case."""
    access = tools.access(official.authority, procedure.id)
    if not access or not tools.is_active(official.authority):
        return ()
    offers = _offers(tools, procedure, None, official)
    wanted = procedure.participants
    return tuple(offer for offer in offers if offer.role not in wanted or wanted[offer.role] in access)


def offers_now(case: Case, official: Official) -> tuple[Offer, ...]:
    """The steps this official may take in a case."""
    view = case.view(official.authority)
    if not view.moves or is_blocked(case, case.tools.clock.now()):
        return ()
    return _offers(case.tools, case.procedure, view, official)


def _offers(tools: Tools, procedure: Procedure, view: View | None, official: Official) -> tuple[Offer, ...]:
    found = offered(
        procedure,
        view,
        official.authority,
        user_roles=official.roles,
        settings=tools.settings(official.authority, procedure.id),
        at=tools.clock.now(),
        calendars=tools.catalogue.calendars,
    )
    # A step that opens a child case is not offered before the child can be opened with it: its questions would be lost.
    return tuple(offer for offer in found if not offer.step.spawn)


def version_of(case: Case, official: Official) -> str:
    """What a form was read against: changes with every step, not with receipts."""
    view = case.view(official.authority)
    ids = sorted(event.id for event in view.counting() if event.step != RECEIVED)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def case_of(
    tools: Tools, session: Session, official: Official, number: CaseNumber, *, step: str = ""
) -> tuple[Case, Official]:
    """The case with this number, and the official for the one authority of theirs that is or was a party.

    Where they act for several parties and chose none: their own, or with `step` the first that may take it.

    Raises:
        UnknownCase, CaseErased, AuthorityMoving (to another node, and the case with it).
    """
    if (home := tools.home(official.authority)) not in (tools.node, None):
        raise AuthorityMoving("this authority has moved to another node", to=str(home))
    row = cases.find_by_number(session, number)
    case = load(tools, session, row) if row else None
    acting = representing.among(tools, official, case.parties()) if case else ()
    if row is None or case is None or not acting:
        raise UnknownCase("there is no case with this number here")
    if row.key is None:
        raise CaseErased("the content of this case was deleted at the end of its time")
    if step and len(acting) > 1:
        able = (one for one in acting if step in {offer.step.name for offer in offers_now(case, one)})
        return case, next(able, acting[0])
    return case, acting[0]


def _procedure(tools: Tools, name: str, version: int | None) -> Procedure:
    procedure = tools.catalogue.procedure(name, version)
    if procedure is None:
        raise UnknownProcedure("the catalogue has no such procedure, or not in this version")
    return procedure


def _open(tools: Tools, session: Session, act: Act, procedure: Procedure, number: CaseNumber) -> None:
    _check_actor(tools, session, act.official)
    if not tools.access(act.official.authority, procedure.id):
        raise NoAccess("this authority has no access to the procedure")
    check_active(tools, act.official)
    offer = _chosen(first_offers(tools, act.official, procedure), act.step)
    opening = Opening(procedure=procedure.id, version=procedure.version, digest=procedure.digest, number=number)
    start = View(case=CaseId(""), opening=None, state=procedure.start)
    composed = _compose(tools, act, procedure, offer, view=None, opening=opening)
    _judge(tools, procedure, start, composed.event)
    event = composed.event
    row = new_row(tools, session, event.case_id, at=tools.clock.now())
    set_opening(row, event, procedure)
    session.flush()
    _store(Case(tools, session, row, procedure, []), act, composed)


def _go_on(tools: Tools, session: Session, act: Act, number: CaseNumber) -> Act:
    """Take a step within a case; the act, for the authority that took it."""
    case, official = case_of(tools, session, act.official, number, step=act.step)
    act = replace(act, official=official)
    _check_actor(tools, session, official)
    if is_blocked(case, tools.clock.now()):
        raise CaseBlocked("the case is blocked: nothing can be done in it any more")
    if act.expected is not None and act.expected != version_of(case, act.official):
        raise StaleForm("the case changed since this form was opened")
    if not signs_for(case, act.official.authority):
        raise CaseOnItsWay("the authority came from another node, and this case has not come whole yet")
    view = case.view(act.official.authority)
    offer = _chosen(offers_now(case, act.official), act.step)
    composed = _compose(tools, act, case.procedure, offer, view=view, opening=None)
    _judge(tools, case.procedure, view, composed.event)
    _store(case, act, composed)
    return act


def _chosen(offers: tuple[Offer, ...], step: str) -> Offer:
    for offer in offers:
        if offer.step.name == step:
            return offer
    raise StepNotAllowed("this step is not possible now, or not for this authority and user", reason="not-offered")


def _compose(
    tools: Tools, act: Act, procedure: Procedure, offer: Offer, *, view: View | None, opening: Opening | None
) -> Composed:
    control = _control(tools, procedure, offer, act.control)
    _check_content(tools, procedure, offer, control, act)
    return compose(
        procedure,
        view,
        offer.step,
        author=act.official.authority,
        role=offer.role,
        control=control,
        content=act.content,
        at=tools.clock.now(),
        edition=tools.catalogue.edition,
        salt=lambda: os.urandom(16),
        opening=opening,
    )


def _control(tools: Tools, procedure: Procedure, offer: Offer, given: Control) -> dict[str, Value]:
    """The control data as an event carries it; every authority named has access to the procedure."""
    control: dict[str, Value] = {}
    declared = offer.step.control
    for name in given.keys() - declared.keys():
        raise InvalidControl("the step takes no such control value", control=name[:60])
    for name, spec in declared.items():
        value = given.get(name)
        if not value:
            if not spec.optional:
                raise InvalidControl(f"{name} is missing", control=name)
            continue
        control[name] = value if isinstance(value, str) else tuple(value)
        if spec.type in ("authority", "authorities"):
            _check_recipients(tools, procedure, offer, name, control[name])
    return control


def _check_recipients(tools: Tools, procedure: Procedure, offer: Offer, name: str, value: Value) -> None:
    wanted = procedure.recipient_role(offer.step.name, name)
    for authority in (value,) if isinstance(value, str) else value:
        access = tools.access(AuthorityId(authority), procedure.id)
        # A coordinator may stand in for an authority that has no users of its own.
        if not access or (wanted and not access & {wanted, COORDINATOR}):
            raise RecipientWithoutAccess(
                "an authority named here does not take part in this procedure", control=name, authority=authority[:60]
            )
        if not tools.is_active(AuthorityId(authority)):
            raise RecipientWithoutAccess(
                "an authority named here is suspended or has left", control=name, authority=authority[:60]
            )
        if tools.has_no_door(AuthorityId(authority)):
            raise RecipientWithoutNode(
                "the State of an authority named here has no node yet", control=name, authority=authority[:60]
            )


def _check_content(tools: Tools, procedure: Procedure, offer: Offer, control: Mapping[str, Value], act: Act) -> None:
    check_size(act.content)
    for lang in (act.lang, *languages(act.content)):
        if lang not in LANGUAGES:
            raise UnknownLanguage("not the code of an official language", lang=str(lang)[:8])
    faults = validate_step(procedure, offer.step, control, act.content, tools.catalogue.lists)
    if faults:
        raise InvalidContent("the content does not fit the forms", tuple((f.form, f.field, f.code) for f in faults))
    named = list(documents(act.content))
    if len(named) > MAX_FILES or sum(_size(document) for document in named) > MAX_FILES_BYTES:
        raise FileTooLarge("the files of one step are too many or too large together", limit=MAX_FILES_BYTES)


def check_size(content: Content) -> None:
    """Raises TooMuchContent, InvalidContent for what is no JSON value."""
    try:
        size = len(canonical(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidContent("the content is not made of JSON values", (("", "", "malformed"),)) from error
    if size > MAX_CONTENT_BYTES:
        raise TooMuchContent("the texts of one act are too long together", limit=MAX_CONTENT_BYTES)


def languages(content: object) -> Iterator[object]:
    """The language of every text and document in a content."""
    if isinstance(content, Mapping):
        if "lang" in content and ("text" in content or "sha256" in content):
            yield content["lang"]
        for value in content.values():
            yield from languages(value)


def _judge(tools: Tools, procedure: Procedure, past: View, event: Event) -> None:
    reason = refusal(procedure, past, event, tools.catalogue.calendars)
    if not reason:
        return
    if reason == "control":
        raise InvalidControl("a control value is malformed or not one of the choices")
    step = procedure.steps[event.step]
    for condition in unmet(procedure, past, event, step, tools.catalogue.calendars) if reason == "condition" else ():
        named = [word.rpartition(".")[2] for word in condition.words if word.rpartition(".")[2] in step.control]
        if named:
            raise InvalidControl(f"{named[0]} does not meet a condition of this step", control=named[0])
    raise StepNotAllowed("this step is not possible now", reason=reason)


def _store(case: Case, act: Act, composed: Composed) -> None:
    """The event with its parts and files, the audit row, and all that follows."""
    event, now = composed.event, case.tools.clock.now()
    bind_files(case, act.official, act.content)
    stored = StoredEvent(
        signed=sign(case, event),
        door="",
        sender="",
        login=act.official.login,
        only_to=frozenset(),
        arrived_at=now,
    )
    case.add(stored, user=act.official.user)
    for audience, part in composed.parts.items():
        case.keep_part(event.id, audience, part, at=now)
    subject = f"{event.step} {event.id}"
    audit.record(
        case.session, representing.audit_entry(case.tools, act.official, "step", subject=subject, case=case.id)
    )
    settle(case)


def bind_files(case: Case, official: Official, content: Content) -> None:
    """Make the files a content names files of the case. Raises UnknownFile."""
    for document in documents(content):
        sha256 = str(document["sha256"])
        found = files.in_case(case.session, case.id, sha256)
        if found is None:
            found = shelved(case.session, official, sha256)
            if found is None:
                raise UnknownFile("a document names a file that was not uploaded")
            _move(case, found)
        if found.size != _size(document):
            raise InvalidContent("a document's size is not that of its file", (("", "", "malformed"),))


def shelved(session: Session, official: Official, sha256: str) -> AttachmentRow | None:
    """A file that was uploaded for the authority acted for, or by the user's own."""
    found = (files.on_shelf(session, owner, sha256) for owner in dict.fromkeys((official.authority, official.own)))
    return next((row for row in found if row), None)


def _move(case: Case, found: AttachmentRow) -> None:
    key = case.tools.vault.unwrap(found.key, f"shelf:{found.owner}")
    stored = StoredFile(stored=found.stored, key=key, sha256=found.sha256, size=found.size)
    files.forget(case.session, found.stored)
    keep_file(case.tools, case.session, case.row, stored, at=found.created_at)


def _size(document: Mapping[str, object]) -> int:
    size = document.get("size")
    return size if isinstance(size, int) else 0


def _done_before(session: Session, official: Official, once: Once | None) -> CaseNumber | None:
    done = cases.outcome_of(session, official.user, once.key) if once else None
    if done is None or once is None:
        return None
    digest, outcome = done
    if digest != once.digest:
        raise RepeatedKeyDiffers("this Idempotency-Key was used for another request")
    return CaseNumber(outcome)


def _remember(tools: Tools, session: Session, official: Official, once: Once | None, number: CaseNumber) -> None:
    if once:
        now = tools.clock.now()
        cases.remember_outcome(session, official.user, once.key, digest=once.digest, outcome=number, at=now)
