"""What officials do with cases, and what happens when other nodes' steps arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator

from node.casework.views import (
    CaseList,
    CaseView,
    Content,
    Control,
    Draft,
    DraftContent,
    DraftItem,
    File,
    Official,
    Once,
    RawEvent,
    WorkList,
)
from node.domain.procedures import Procedure
from node.ids import CaseNumber


class Casework:
    """The acts. Each is one transaction: it is stored whole, with its audit row and what goes to other nodes, or not at all.

    Every act raises Refused subclasses of `node.casework.errors`; an official never learns of a case that is not its
    authority's (UnknownCase in both cases).
    """

    def procedures(self, official: Official) -> tuple[Procedure, ...]:
        """The procedures (newest versions) in which this official may open a case now."""
        raise NotImplementedError

    async def create_draft(self, official: Official, procedure: str, *, version: int | None = None) -> Draft:
        """An empty draft of a new case; its number is reserved for the case.

        Raises:
            UnknownProcedure, NoAccess.
        """
        raise NotImplementedError

    async def draft(self, official: Official, number: CaseNumber, step: str = "") -> Draft:
        """The draft of a new case (`step` empty), or of a step within a case. Raises UnknownCase."""
        raise NotImplementedError

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
            UnknownCase, StaleForm (`expected` is not the draft's version), TooMuchContent, UnknownLanguage.
        """
        raise NotImplementedError

    async def delete_draft(self, official: Official, number: CaseNumber, step: str = "") -> None:
        """Forget a draft; its number is not used again. Raises UnknownCase."""
        raise NotImplementedError

    async def drafts(self, official: Official) -> tuple[DraftItem, ...]:
        """The drafts of the official's authority, newest first."""
        raise NotImplementedError

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
            UnknownFile, UnknownLanguage, TooMuchContent, CaseBlocked, RepeatedKeyDiffers.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    async def case(self, official: Official, number: CaseNumber) -> CaseView:
        """A case as this official may see it; reading personal data is audited. Raises UnknownCase."""
        raise NotImplementedError

    async def work(self, official: Official) -> WorkList:
        """What waits for the official's authority, by urgency."""
        raise NotImplementedError

    async def cases(
        self, official: Official, *, kind: str = "", open_only: bool = False, after: str = "", limit: int = 50
    ) -> CaseList:
        """The authority's cases, last changed first; `after` is the cursor of the page before."""
        raise NotImplementedError

    async def events(self, official: Official, number: CaseNumber) -> tuple[RawEvent, ...]:
        """The signed events held of a case, in the order they arrived. Raises UnknownCase."""
        raise NotImplementedError

    async def attach(
        self, official: Official, *, name: str, media_type: str, lang: str, chunks: AsyncIterator[bytes]
    ) -> File:
        """Store a file for use in a document field of the authority's next steps.

        Raises:
            BadFileName, BadFileType, FileTooLarge, UnknownLanguage, NoAccess.
        """
        raise NotImplementedError

    async def fetch_file(
        self, official: Official, number: CaseNumber, sha256: str
    ) -> tuple[File, AsyncIterator[bytes]]:
        """A file the official may read, of a case or of a draft; audited. Raises UnknownCase, UnknownFile, FileNotHere."""
        raise NotImplementedError
