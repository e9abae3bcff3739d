"""Content too large for memory: read and written in pieces of at most 1 MiB.

Where files come from is the caller's business: a `Spool` gives a fresh, empty, unnamed one. What lies in a spool file
is plain; it is gone with the process.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

CHUNK = 1024 * 1024
BIG = 1024 * 1024  # what is larger goes through a file

Spool = Callable[[], BinaryIO]


class Source(Protocol):
    """Bytes that can be read several times, in pieces."""

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """All of it, from the start."""
        ...


Content = bytes | Source


@dataclass(frozen=True, slots=True, eq=False)
class Spooled:
    """The whole content of a spool file, which is closed with it. Reading does not move the file's position."""

    file: BinaryIO
    size: int

    def __del__(self) -> None:
        self.file.close()

    def chunks(self) -> Iterator[bytes]:
        position = 0
        while position < self.size:
            piece = os.pread(self.file.fileno(), min(CHUNK, self.size - position), position)
            if not piece:
                raise OSError("a spool file is shorter than it was")
            position += len(piece)
            yield piece


def spooled(pieces: Iterable[bytes], spool: Spool) -> Spooled:
    """`pieces` in a spool file."""
    found, size = spool(), 0
    try:
        for piece in pieces:
            found.write(piece)
            size += len(piece)
        found.flush()
    except BaseException:
        found.close()
        raise
    return Spooled(found, size)


def chunks_of(content: Content) -> Iterator[bytes]:
    """`content` in pieces."""
    if isinstance(content, bytes):
        yield content
    else:
        yield from content.chunks()


def size_of(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.size


def whole(content: Content) -> bytes:
    """All of `content` in memory: only for what is known to be small."""
    return content if isinstance(content, bytes) else b"".join(content.chunks())


def pieces_of(view: memoryview) -> Iterator[memoryview]:
    """A long view in pieces; a mapped file's pages are given back while it is read."""
    for position in range(0, len(view), CHUNK):
        yield view[position : position + CHUNK]
        if isinstance(view.obj, mmap.mmap):
            view.obj.madvise(mmap.MADV_DONTNEED)
