"""Attachments: encrypted files under generated names, each with its own key, which a case's key (or the shelf's) wraps.

A stored file is chunks of 64 KiB, each sealed by AES-256-GCM: nonce and associated data are the chunk's number and
whether it is the last, so that chunks cannot be cut off, repeated or reordered. Names given by users are never used.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import ForeignKey, Index, LargeBinary, bindparam, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from node.errors import Refused
from node.ids import AuthorityId, CaseId
from node.local_store.tables import Base
from node.local_store.vault import DoesNotOpen, new_key

MAX_FILE_BYTES: Final = 20 * 1024 * 1024
CHUNK: Final = 64 * 1024
_TAG: Final = 16


class FileTooLarge(Refused):
    """A file is larger than the limit."""

    code = "refused.file-too-large"


class AttachmentRow(Base):
    """A stored file: on an authority's shelf until a step names it, then of a case. Its bytes lie in `stored`."""

    __tablename__ = "attachments"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    stored: Mapped[str] = mapped_column(unique=True)
    owner: Mapped[str] = mapped_column(default="")  # authority whose shelf it lies on; empty once of a case
    case_id: Mapped[str | None] = mapped_column(ForeignKey("cases.case_id"))
    sha256: Mapped[str]
    size: Mapped[int]
    key: Mapped[bytes] = mapped_column(LargeBinary)  # sealed by the case's key, or wrapped by the vault
    created_at: Mapped[datetime]
    dropped: Mapped[bool] = mapped_column(default=False)  # nobody here may read it any more

    __table_args__ = (
        Index("ix_attachments_case", "case_id", "sha256"),
        Index("ix_attachments_shelf", "owner", "sha256"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """What a file store needs to know to give a file back."""

    stored: str  # generated name
    key: bytes
    sha256: str
    size: int


class FileStore:
    """A folder of encrypted files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def write(self, chunks: AsyncIterator[bytes], *, limit: int = MAX_FILE_BYTES) -> StoredFile:
        """Store what comes, durable when this returns.

        Raises:
            FileTooLarge: more than `limit` bytes; nothing is kept.
        """
        writing = await asyncio.to_thread(_Writing, self._folder)
        try:
            async for chunk in chunks:
                if writing.size + len(chunk) > limit:
                    raise FileTooLarge(f"a file may have {limit} bytes", limit=limit)
                await asyncio.to_thread(writing.add, chunk)
            return await asyncio.to_thread(writing.finish)
        finally:
            writing.abandon()

    def write_bytes(self, data: bytes) -> StoredFile:
        """Like `write`, for bytes at hand."""
        return self.write_chunks((data,))

    def write_chunks(self, chunks: Iterable[bytes]) -> StoredFile:
        """Like `write`, for what is read on this thread; without a limit of its own."""
        writing = _Writing(self._folder)
        try:
            for chunk in chunks:
                writing.add(chunk)
            return writing.finish()
        finally:
            writing.abandon()

    def read(self, stored: str, key: bytes) -> Iterator[bytes]:
        """The file's bytes in chunks.

        Raises:
            FileNotFoundError, DoesNotOpen: it is gone, or was changed.
        """
        cipher = AESGCM(key)
        with self._path(stored).open("rb") as file:
            number, sealed = 0, file.read(CHUNK + _TAG)
            while True:
                following = file.read(CHUNK + _TAG)
                nonce = _nonce(number, last=not following)
                try:
                    yield cipher.decrypt(nonce, sealed, nonce)
                except InvalidTag as error:
                    raise DoesNotOpen("a stored file does not open: it was changed on disk") from error
                if not following:
                    return
                number, sealed = number + 1, following

    def read_bytes(self, stored: str, key: bytes) -> bytes:
        return b"".join(self.read(stored, key))

    def delete(self, stored: str) -> None:
        """Remove a file; nothing happens if it is gone."""
        self._path(stored).unlink(missing_ok=True)

    def names(self) -> frozenset[str]:
        """The generated names of all files here."""
        return frozenset(path.name for path in self._folder.iterdir() if not path.name.endswith(".new"))

    def age(self, stored: str, *, now: float) -> float:
        """Seconds since a file was written; 0 if it is gone."""
        try:
            return now - self._path(stored).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _path(self, stored: str) -> Path:
        if not stored.isalnum():  # generated here: 32 hexadecimal digits
            raise ValueError("not a generated name")
        return self._folder / stored


class _Writing:
    """One file being sealed, chunk by chunk, under a name that ends in `.new` until it is whole."""

    def __init__(self, folder: Path) -> None:
        self.size = 0
        self._name = secrets.token_hex(16)
        self._folder = folder
        self._draft = folder / f"{self._name}.new"
        handle = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(handle, "wb")
        self._key = new_key()
        self._cipher = AESGCM(self._key)
        self._digest = hashlib.sha256()
        self._waiting = bytearray()
        self._number = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)
        self._waiting += data
        while len(self._waiting) > CHUNK:
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]

    def finish(self) -> StoredFile:
        self._seal(bytes(self._waiting), last=True)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._draft.rename(self._folder / self._name)
        _sync_folder(self._folder)
        return StoredFile(stored=self._name, key=self._key, sha256=self._digest.hexdigest(), size=self.size)

    def abandon(self) -> None:
        """Remove what was not finished."""
        self._file.close()
        self._draft.unlink(missing_ok=True)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        nonce = _nonce(self._number, last=last)
        self._file.write(self._cipher.encrypt(nonce, chunk, nonce))
        self._number += 1


def _nonce(number: int, *, last: bool) -> bytes:
    # The key is this file's alone, so a counter never repeats a nonce.
    return number.to_bytes(8, "big") + (b"last" if last else b"more")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def on_shelf(session: Session, owner: AuthorityId, sha256: str) -> AttachmentRow | None:
    query = select(AttachmentRow).where(AttachmentRow.owner == owner, AttachmentRow.sha256 == sha256)
    return session.scalars(query.order_by(AttachmentRow.id.desc()).limit(1)).first()


def in_case(session: Session, case: CaseId, sha256: str) -> AttachmentRow | None:
    """A file of a case whose bytes are here and may be read."""
    query = select(AttachmentRow).where(AttachmentRow.case_id == case, AttachmentRow.sha256 == sha256)
    return session.scalars(query.where(AttachmentRow.dropped.is_(False)).limit(1)).first()


def digests_in_case(session: Session, case: CaseId) -> frozenset[str]:
    return frozenset(session.connection().execute(_DIGESTS, {"case": case}).scalars())


_attachment = AttachmentRow.__table__.c
_DIGESTS: Final = select(_attachment.sha256).where(
    _attachment.case_id == bindparam("case"), _attachment.dropped.is_(False)
)


def add(session: Session, file: StoredFile, *, key: bytes, owner: str, case: CaseId | None, at: datetime) -> None:
    """Remember a stored file; `key` is its key, sealed."""
    session.add(
        AttachmentRow(
            stored=file.stored, owner=owner, case_id=case, sha256=file.sha256, size=file.size, key=key, created_at=at
        )
    )
    session.flush()


def drop(session: Session, case: CaseId, sha256: str) -> None:
    """Close a file to all readers; its bytes go once no message needs them."""
    session.execute(
        update(AttachmentRow).where(AttachmentRow.case_id == case, AttachmentRow.sha256 == sha256).values(dropped=True)
    )


def drop_all(session: Session, case: CaseId) -> None:
    session.execute(update(AttachmentRow).where(AttachmentRow.case_id == case).values(dropped=True))


def dropped(session: Session) -> tuple[AttachmentRow, ...]:
    return tuple(session.scalars(select(AttachmentRow).where(AttachmentRow.dropped.is_(True))))


def old_on_shelf(session: Session, before: datetime) -> tuple[AttachmentRow, ...]:
    """Files that no step named since they were uploaded."""
    return tuple(
        session.scalars(select(AttachmentRow).where(AttachmentRow.owner != "", AttachmentRow.created_at < before))
    )


def forget(session: Session, stored: str) -> None:
    session.execute(delete(AttachmentRow).where(AttachmentRow.stored == stored))


def known_names(session: Session) -> frozenset[str]:
    return frozenset(session.scalars(select(AttachmentRow.stored)))
