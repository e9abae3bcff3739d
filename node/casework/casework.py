"""What officials do with cases, and what happens when other nodes' steps arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from itertools import islice

import structlog
from sqlalchemy.orm import Session

from node.casework import acting, arriving, drafting, filing, handing, listing, representing, showing
from node.casework.acting import Act
from node.casework.drafting import Place
from node.casework.errors import FileNotHere, NoAccess, StepNotAllowed, UnknownCase, UnknownProcedure
from node.casework.tools import Directory, Tools
from node.casework.views import (
    CaseList,
    CaseView,
    Content,
    Control,
    Draft,
    DraftContent,
    DraftItem,
    File,
    Offer,
    Official,
    Once,
    RawEvent,
    WorkList,
)
from node.catalogue import Catalogue
from node.clock import Clock
from node.domain.procedures import Procedure
from node.federation import as4
from node.federation.peers import Peers
from node.federation.receiver import Inbound
from node.ids import AuthorityId, CaseId, CaseNumber, MessageId, NodeId
from node.local_store import audit, cases, drafts, files
from node.local_store.audit import AuditEntry
from node.local_store.database import Database
from node.local_store.drafts import DraftRow
from node.local_store.files import FileStore
from node.local_store.vault import Vault
from pki.node_keys import fingerprint
from pki.signer import Signer

log = structlog.get_logger()


class Casework:
    """The acts. Each is one transaction: it is stored whole, with its audit row and what goes to other nodes, or not at all.

    Every act raises Refused subclasses of `node.casework.errors`; an official never learns of a case that is not its
    authority's (UnknownCase in both cases).
    """

    def __init__(
        self,
        *,
        node: NodeId,
        database: Database,
        catalogue: Catalogue,
        directory: Directory,
        peers: Peers,
        clock: Clock,
        signer: Signer,
        files: FileStore,
        vault: Vault,
        new_message_id: Callable[[], MessageId],
        national: Mapping[str, str] | None = None,
    ) -> None:
        """Args.

        signer: this node's signing key with its certificate, as the trust list has it.
        national: the State's own settings: `approve-requests`, `approve-replies` … -> yes or no.
        """
        assert signer.certificate is not None
        self.database = database
        self.tools = Tools(
            node=node,
            catalogue=catalogue,
            directory=directory,
            peers=peers,
            clock=clock,
            signer=signer,
            certificate=fingerprint(signer.certificate),
            files=files,
            vault=vault,
            new_message_id=new_message_id,
            national=dict(national or {}),
        )

    # What officials do.

    def procedures(self, official: Official) -> tuple[Procedure, ...]:
        """The procedures (newest versions) in which this official may open a case now."""
        return tuple(p for p in self.tools.catalogue.current() if any(acting.openers(self.tools, official, p)))

    def authorities(self, official: Official) -> tuple[AuthorityId, ...]:
        """Those the official acts for: the user's own, then the bodies it represents. Raises NoAccess."""
        return representing.authorities(self.tools, official)

    def openers(self, official: Official, procedure: Procedure, *, most: int | None = None) -> tuple[Official, ...]:
        """The official for each authority of theirs for which a case may be opened, the user's own first.

        Args:
            most: look no further when so many are found.

        Raises:
            NoAccess: an authority was chosen that the official does not act for.
        """
        return tuple(islice(acting.openers(self.tools, official, procedure), most))

    def first_offers(self, official: Official, procedure: Procedure) -> tuple[Offer, ...]:
        """The steps with which a case may be opened for `official.authority` in a procedure, with their forms."""
        return tuple(
            showing.offer_view(procedure, offer, showing.first_questions(procedure), has_draft=False)
            for offer in acting.first_offers(self.tools, official, procedure)
        )

    async def create_draft(self, official: Official, procedure: str, *, version: int | None = None) -> Draft:
        """An empty draft of a new case; its number is reserved for the case.

        Raises:
            UnknownProcedure, NoAccess, AuthorityNotChosen.
        """
        return await self.database.transact(self._create_draft, official, procedure, version)

    async def draft(self, official: Official, number: CaseNumber, step: str = "") -> Draft:
        """The draft of a new case (`step` empty), or of a step within a case. Raises UnknownCase."""
        return await self.database.transact(self._read_draft, official, number, step)

    async def save_draft(
        self,
        official: Official,
        number: CaseNumber,
        content: DraftContent,
        *,
        step: str = "",
        expected: str | None = None,
    ) -> Draft:
        """Keep what was typed, unchecked but for size. For a step within a case the first save makes the draft.

        Raises:
            UnknownCase, StepNotAllowed, StaleForm (`expected` is not the draft's version), TooMuchContent,
            UnknownLanguage.
        """
        return await self.database.transact(self._save_draft, official, number, content, step=step, expected=expected)

    async def delete_draft(self, official: Official, number: CaseNumber, step: str = "") -> None:
        """Forget a draft; its number is not used again. Raises UnknownCase."""
        await self.database.transact(self._delete_draft, official, number, step)

    async def drafts(self, official: Official) -> tuple[DraftItem, ...]:
        """The drafts of all authorities the official acts for, newest first."""
        acting.check_reader(official)
        return await self.database.read(self._drafts, official)

    async def take_step(
        self,
        official: Official,
        number: CaseNumber,
        step: str,
        *,
        control: Control,
        content: Content,
        lang: str = "en",
        expected: str | None = None,
        once: Once | None = None,
    ) -> CaseNumber:
        """Take a step in a case, or the first one from a draft of a new case (the draft is gone then).

        Files are named by document values in `content`; they were stored with `attach` or stand in the case already.

        Args:
            expected: `version` of the view (or draft) that the official acted on.
            once: makes repeating safe.

        Raises:
            UnknownCase, StepNotAllowed, StaleForm, InvalidControl, InvalidContent, RecipientWithoutAccess, NoAccess,
            UnknownFile, FileTooLarge, UnknownLanguage, TooMuchContent, CaseBlocked, CaseErased, RepeatedKeyDiffers.
        """
        act = Act(official=official, step=step, control=control, content=content, lang=lang, expected=expected)
        taken = await self.database.transact(self._take_step, act, number, once)
        log.info("step taken", number=number, step=step, authority=official.authority)
        return taken

    async def open_case(
        self,
        official: Official,
        procedure: str,
        step: str,
        *,
        control: Control,
        content: Content,
        lang: str = "en",
        once: Once | None = None,
    ) -> CaseNumber:
        """Open a case with its first step at once, without a draft. Raises as create_draft and take_step."""
        act = Act(official=official, step=step, control=control, content=content, lang=lang)
        number = await self.database.transact(self._open_case, act, procedure, once)
        log.info("step taken", number=number, step=step, authority=official.authority)
        return number

    async def case(self, official: Official, number: CaseNumber) -> CaseView:
        """A case as this official may see it; reading personal data is audited. Raises UnknownCase, CaseErased."""
        return await self.database.transact(self._case, official, number)

    async def standing(self, official: Official, number: CaseNumber) -> tuple[str, str]:
        """State and version of a case, nothing of its content. Raises UnknownCase."""
        return await self.database.read(self._standing, official, number)

    async def work(self, official: Official) -> WorkList:
        """What waits for the official's authority, by urgency. Raises NoAccess."""
        return await self.database.read(self._work, official)

    async def cases(
        self, official: Official, *, kind: str = "", open_only: bool = False, after: str = "", limit: int = 50
    ) -> CaseList:
        """The authority's cases, last changed first; `after` is the cursor of the page before. Raises NoAccess."""
        return await self.database.read(self._cases, official, kind=kind, open_only=open_only, after=after, limit=limit)

    async def events(self, official: Official, number: CaseNumber) -> tuple[RawEvent, ...]:
        """The signed events of a case, in the order they came.

        Receipts and what other authorities keep to themselves are left out. Raises UnknownCase.
        """
        return await self.database.read(self._events, official, number)

    async def attach(
        self, official: Official, *, name: str, media_type: str, lang: str, chunks: AsyncIterator[bytes]
    ) -> File:
        """Store a file for use in a document field of the authority's next steps.

        Raises:
            BadFileName, BadFileType, FileTooLarge, UnknownLanguage, NoAccess.
        """
        acting.check_reader(official)
        name, media_type = filing.check_name(name), filing.check_type(media_type)
        filing.check_language(lang)
        stored = await self.tools.files.write(chunks)
        await self.database.transact(self._shelve, official, stored)
        return File(
            sha256=stored.sha256,
            size=stored.size,
            name=name,
            type=media_type,
            lang=lang,
            form="",
            field="",
            by=None,
            event=None,
            at=self.tools.clock.now(),
            here=True,
        )

    async def fetch_file(
        self, official: Official, number: CaseNumber, sha256: str
    ) -> tuple[File, AsyncIterator[bytes]]:
        """A file the official may read, of a case or of a draft; audited.

        Raises:
            UnknownCase, UnknownFile, FileNotHere.
        """
        file, stored, key = await self.database.transact(self._find_file, official, number, sha256)
        chunks = self.tools.files.read(stored, key)
        try:
            first = await asyncio.to_thread(next, chunks, b"")
        except FileNotFoundError:
            raise FileNotHere("the file's bytes are missing on this node") from None
        return file, _on_thread(first, chunks)

    # What the federation and the jobs call.

    def deliver(self, session: Session, inbound: Inbound) -> None:
        """Take in a message, in the transaction that stores it; for the Receiver. Never raises for its content."""
        arriving.deliver(self.tools, session, inbound)

    def open_file(self, session: Session, reference: str) -> as4.Content:
        """Content and files of a message, when it is built; for the Sender."""
        return filing.open_reference(self.tools, session, reference)

    def use(self, catalogue: Catalogue) -> None:
        """Work with another edition from the next act on; call `retry_held` after it."""
        self.tools.catalogue = catalogue

    async def retry_held(self) -> int:
        """Fold what was held, after the directory, the trust list or the catalogue changed; how many cases moved on."""
        return await self.database.transact(self._retry_held)

    async def begin_move(self, authority: AuthorityId, to: NodeId, *, leave_drafts: bool = False) -> int:
        """Stop signing for an authority of ours and hand its cases to another node of the State; how many there are.

        Does not tell the directory. May be repeated: what was done stays, what is missing is done.

        Raises:
            AuthorityMoving: it cannot move there, or has drafts that would be left.
        """
        found = await self.database.transact(self._begin_move, authority, to, leave_drafts=leave_drafts)
        for case in found:
            await self.database.transact(self._look_at, case)
        log.info("authority leaves", authority=authority, to=to, cases=len(found))
        return len(found)

    async def accept_move(self, authority: AuthorityId, *, number: int, expected: int) -> int:
        """Take over an authority that comes to this node, its `number`th move, with its cases; how many came.

        Does not tell the directory. May be repeated. Raises NotYetArrived.
        """
        return await self.database.transact(self._accept_move, authority, number, expected)

    async def follow_moves(self) -> int:
        """Bring the cases here up to date with the moves the directory tells of; how many authorities had moved.

        Each case is a transaction of its own; what a crash leaves undone is done the next time.
        """
        behind = await self.database.read(self._behind)
        for authority, count in behind.items():
            for case in await self.database.read(self._touched, authority):
                await self.database.transact(self._look_at, case)
            await self.database.transact(self._caught_up, authority, count)
        return len(behind)

    async def sweep(self) -> None:
        """Retention: erase cases whose time is over, and files and contents that nobody needs."""
        gone = await self.database.transact(self._sweep)
        for stored in gone:
            await asyncio.to_thread(self.tools.files.delete, stored)

    # The units of work.

    def _begin_move(
        self, session: Session, authority: AuthorityId, to: NodeId, *, leave_drafts: bool
    ) -> tuple[CaseId, ...]:
        return handing.begin(self.tools, session, authority, to, leave_drafts=leave_drafts)

    def _accept_move(self, session: Session, authority: AuthorityId, number: int, expected: int) -> int:
        return handing.accept(self.tools, session, authority, number=number, expected=expected)

    def _behind(self, session: Session) -> Mapping[AuthorityId, int]:
        return handing.behind(self.tools, session)

    def _touched(self, session: Session, authority: AuthorityId) -> tuple[CaseId, ...]:
        return handing.touched(self.tools, session, authority)

    def _caught_up(self, session: Session, authority: AuthorityId, count: int) -> None:
        handing.caught_up(self.tools, session, authority, count)

    def _look_at(self, session: Session, case: CaseId) -> None:
        handing.look_at(self.tools, session, case)

    def _create_draft(self, session: Session, official: Official, name: str, version: int | None) -> Draft:
        acting.check_reader(official)
        procedure = self.tools.catalogue.procedure(name, version)
        if procedure is None:
            raise UnknownProcedure("the catalogue has no such procedure, or not in this version")
        official = acting.opener(self.tools, official, procedure)
        acting.check_active(self.tools, official)
        if not acting.first_offers(self.tools, official, procedure):
            raise NoAccess("this authority or user may not open a case in this procedure")
        number = cases.draw_number(session, self.tools.node, self.tools.clock.now().year)
        place = Place(number=number, step="", procedure=procedure.id, version=procedure.version)
        content = DraftContent(lang=official.language)
        row = drafting.create(self.tools, session, official, place, content)
        return self._draft_view(session, official, row)

    def _read_draft(self, session: Session, official: Official, number: CaseNumber, step: str) -> Draft:
        acting.check_reader(official)
        row, official = representing.for_draft(self.tools, session, official, number, step)
        self._audit(session, official, "draft-read", f"{number} {step}".strip())
        return self._draft_view(session, official, row)

    def _drafts(self, session: Session, official: Official) -> tuple[DraftItem, ...]:
        rows = drafts.of_authorities(session, representing.authorities(self.tools, official))
        return tuple(drafting.item(self.tools, row) for row in rows)

    def _save_draft(
        self,
        session: Session,
        official: Official,
        number: CaseNumber,
        content: DraftContent,
        *,
        step: str,
        expected: str | None,
    ) -> Draft:
        acting.check_reader(official)
        filing.check_language(content.lang)
        acting.check_size({"control": dict(content.control)})
        acting.check_size(content.content)
        row = representing.draft(self.tools, session, official, number, step)
        if row is None:
            row = self._new_step_draft(session, official, number, step, content)
            return self._draft_view(session, official.acting_for(AuthorityId(row.authority)), row)
        official = official.acting_for(AuthorityId(row.authority))
        drafting.check_expected(row, expected)
        drafting.save(self.tools, session, official, row, content)
        return self._draft_view(session, official, row)

    def _new_step_draft(
        self, session: Session, official: Official, number: CaseNumber, step: str, content: DraftContent
    ) -> DraftRow:
        if not step:
            raise UnknownCase("there is no such draft")
        case, official = acting.case_of(self.tools, session, official, number, step=step)
        if step not in {offer.step.name for offer in acting.offers_now(case, official)}:
            raise StepNotAllowed(
                "this step is not possible now, or not for this authority and user", reason="not-offered"
            )
        place = Place(number=number, step=step, procedure=case.procedure.id, version=case.procedure.version)
        return drafting.create(self.tools, session, official, place, content)

    def _delete_draft(self, session: Session, official: Official, number: CaseNumber, step: str) -> None:
        acting.check_reader(official)
        drafting.delete(self.tools, session, official, number, step)

    def _draft_view(self, session: Session, official: Official, row: DraftRow) -> Draft:
        content = drafting.open_content(self.tools, row)
        procedure = self.tools.catalogue.procedure(row.procedure, row.version)
        opens = not row.step
        return Draft(
            number=CaseNumber(row.number),
            authority=official.authority,
            procedure=row.procedure,
            step=row.step,
            opens=opens,
            control=content.control,
            content=content.content,
            lang=content.lang,
            files=filing.draft_files(self.tools, session, official, row),
            version=drafting.version_of(row),
            updated_at=row.updated_at,
            updated_by=row.login,
            offers=self.first_offers(official, procedure) if procedure and opens else (),
        )

    def _take_step(self, session: Session, act: Act, number: CaseNumber, once: Once | None) -> CaseNumber:
        return acting.take_step(self.tools, session, act, number, once)

    def _open_case(self, session: Session, act: Act, procedure: str, once: Once | None) -> CaseNumber:
        return acting.open_case(self.tools, session, act, procedure, once)

    def _case(self, session: Session, official: Official, number: CaseNumber) -> CaseView:
        acting.check_reader(official)
        case, official = acting.case_of(self.tools, session, official, number)
        shown = showing.show(case, official)
        if shown.personal:
            subject = " ".join(shown.personal)
            audit.record(session, representing.audit_entry(self.tools, official, "read", subject=subject, case=case.id))
        return shown.view

    def _standing(self, session: Session, official: Official, number: CaseNumber) -> tuple[str, str]:
        acting.check_reader(official)
        case, official = acting.case_of(self.tools, session, official, number)
        return case.view().state, acting.version_of(case, official)

    def _work(self, session: Session, official: Official) -> WorkList:
        return listing.work(self.tools, session, official)

    def _cases(
        self, session: Session, official: Official, *, kind: str, open_only: bool, after: str, limit: int
    ) -> CaseList:
        return listing.page(self.tools, session, official, kind=kind, open_only=open_only, after=after, limit=limit)

    def _events(self, session: Session, official: Official, number: CaseNumber) -> tuple[RawEvent, ...]:
        acting.check_reader(official)
        case, official = acting.case_of(self.tools, session, official, number)
        return tuple(
            RawEvent(
                event=stored.signed.event.id,
                data=stored.signed.event_bytes,
                signature=stored.signed.signature,
                certificate=stored.signed.certificate,
            )
            for stored in case.stored
            if not stored.door
            and stored.signed.event.scope != "receipt"
            and (stored.signed.event.scope != "authority" or stored.signed.event.author == official.authority)
        )

    def _shelve(self, session: Session, official: Official, stored: files.StoredFile) -> None:
        filing.shelve(self.tools, session, official, stored)

    def _find_file(
        self, session: Session, official: Official, number: CaseNumber, sha256: str
    ) -> tuple[File, str, bytes]:
        acting.check_reader(official)
        return filing.find_for(self.tools, session, official, number, sha256)

    def _retry_held(self, session: Session) -> int:
        return arriving.retry_held(self.tools, session)

    def _sweep(self, session: Session) -> list[str]:
        arriving.retry_held(self.tools, session)
        drafts.forget_blocked(session, self.tools.clock.now())
        for case in cases.cases_to_delete(session, self.tools.clock.now()):
            cases.erase_case(session, case)
            files.drop_all(session, case)
            audit.record(session, AuditEntry(at=self.tools.clock.now(), act="erased", case=case))
            log.info("case erased", case_id=case)
        return filing.sweep(self.tools, session)

    def _audit(self, session: Session, official: Official, act: str, subject: str) -> None:
        audit.record(session, representing.audit_entry(self.tools, official, act, subject=subject))


async def _on_thread(first: bytes, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks of a file, each read and opened on a thread."""
    chunk = first
    while chunk:
        yield chunk
        chunk = await asyncio.to_thread(next, chunks, b"")
