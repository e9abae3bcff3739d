"""Messages too large for a database row, as files: exactly the bytes that went or came over the wire.

What was encrypted for its recipient stays so: nothing is opened here. A file is durable before the row that names it is
committed; one that no row names is what a crash left behind, and is swept.
"""

from __future__ import annotations

import mmap
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Final, cast

_DRAFT: Final = ".new"
_LEFT_BEHIND_SECONDS: Final = 24 * 3600.0


class Draft:
    """A file that is being written; it is kept by `keep` and by nothing else."""

    def __init__(self, folder: Path) -> None:
        self.name = secrets.token_hex(16)
        self._folder = folder
        self._path = folder / f"{self.name}{_DRAFT}"
        self.file: BinaryIO = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")

    def map(self) -> mmap.mmap:
        """What was written, to be read."""
        self.file.flush()
        return mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)

    def keep(self) -> str:
        """Make it durable; its name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self._path.rename(self._folder / self.name)
        _sync(self._folder)
        return self.name

    def discard(self) -> None:
        """Remove it, unless it was kept; nothing happens the second time."""
        self.file.close()
        self._path.unlink(missing_ok=True)


class Bodies:
    """The folder of such files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def draft(self) -> Draft:
        """A new file."""
        return Draft(self._folder)

    def spool(self) -> BinaryIO:
        """A file without a name, for what is under way; it is gone with the process."""
        return cast("BinaryIO", tempfile.TemporaryFile(dir=self._folder))

    def write(self, write_to: Callable[[BinaryIO], None]) -> str:
        """The name of a new file, durable, with what `write_to` writes."""
        draft = self.draft()
        try:
            write_to(draft.file)
            return draft.keep()
        finally:
            draft.discard()

    def open(self, name: str) -> BinaryIO:
        """A file's bytes. Raises FileNotFoundError."""
        return self._path(name).open("rb")

    def size(self, name: str) -> int:
        """A file's size in bytes. Raises FileNotFoundError."""
        return self._path(name).stat().st_size

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens if it is gone."""
        self._path(name).unlink(missing_ok=True)

    def sweep(self, named: Iterable[str]) -> int:
        """Remove what no row names, a day after it was written; how many files that were."""
        known, count = set(named), 0
        for path in self._folder.iterdir():
            if path.name not in known and time.time() - path.stat().st_mtime > _LEFT_BEHIND_SECONDS:
                path.unlink(missing_ok=True)
                count += 1
        return count

    def _path(self, name: str) -> Path:
        if not name.isalnum():  # made here: 32 hexadecimal digits
            raise ValueError("not the name of a file here")
        return self._folder / name


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
