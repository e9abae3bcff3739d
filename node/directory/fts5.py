"""The index in SQLite: one FTS5 table over folded words, whose row numbers are the standing order.

FTS5 walks through its rows by number and stops at the limit; numbers hold the order in their upper bits. The folding is
ours, so its tokenizer only splits at spaces. Beginnings of up to six letters have indexes of their own: without one,
FTS5 would gather every word that begins so before it finds the first row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from node.directory.index import ORDERS, All, Document, Expression, Row, Word

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS documents (
  number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, UNIQUE (kind, id));
CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5 (
  names, competence, place, sound, codes,
  tokenize = "ascii tokenchars '-./:_~'", prefix = '1 2 3 4 5 6', detail = column, columnsize = 0);
INSERT INTO search (search, rank) VALUES ('hashsize', 16777216);
"""
_WIDTH: Final = 1 << 40  # documents of one order


class Fts5Index:
    """Documents in a SQLite file; writes join the transaction of the thread's connection."""

    def __init__(self, connection: Callable[[], sqlite3.Connection]) -> None:
        self._connection = connection

    def put(self, documents: Sequence[Document]) -> None:
        """Store documents; one of the same kind and id is replaced. The last of two alike counts."""
        newest = {(document.kind, document.id): document for document in documents}
        connection = self._connection()
        self._drop(connection, list(newest))
        last: dict[int, int] = {}
        numbered = []
        for document in newest.values():
            if document.order not in last:
                last[document.order] = self._last(connection, document.order)
            last[document.order] += 1
            numbered.append((last[document.order], document))
        numbered.sort(key=lambda pair: pair[0])  # FTS5 flushes what it gathered when a number is smaller than the last
        connection.executemany("INSERT INTO documents VALUES (?, ?, ?)", ((n, d.kind, d.id) for n, d in numbered))
        connection.executemany(
            "INSERT INTO search (rowid, names, competence, place, sound, codes) VALUES (?, ?, ?, ?, ?, ?)",
            ((n, d.names, d.competence, d.place, d.sound, d.codes) for n, d in numbered),
        )

    def remove(self, kind: str, ids: Sequence[str]) -> None:
        """Forget documents; those that are not there do no harm."""
        self._drop(self._connection(), [(kind, name) for name in ids])

    def first(self, wanted: Expression, *, limit: int | None, name: str = "") -> list[Row]:
        """The first documents that an expression holds for, by order, then as they were stored."""
        exact = "instr(char(10) || s.names || char(10), ?) > 0" if name else "0"
        rows = self._connection().execute(
            f"SELECT d.id, {exact} FROM search s JOIN documents d ON d.number = s.rowid"  # noqa: S608  # our own words
            " WHERE search MATCH ? ORDER BY s.rowid LIMIT ?",
            (*([f"\n{name}\n"] if name else []), _query(wanted), -1 if limit is None else limit),
        )
        return [Row(found, bool(is_exact)) for found, is_exact in rows]

    def _drop(self, connection: sqlite3.Connection, keys: Sequence[tuple[str, str]]) -> None:
        query = (
            "SELECT number FROM json_each(?) AS gone CROSS JOIN documents"
            " ON documents.kind = json_extract(gone.value, '$[0]') AND documents.id = json_extract(gone.value, '$[1]')"
            " ORDER BY number"
        )
        gone = connection.execute(query, (json.dumps(keys),)).fetchall()
        connection.executemany("DELETE FROM search WHERE rowid = ?", gone)
        connection.executemany("DELETE FROM documents WHERE number = ?", gone)

    def _last(self, connection: sqlite3.Connection, order: int) -> int:
        first = min(order, ORDERS - 1) * _WIDTH
        query = "SELECT max(number) FROM documents WHERE number >= ? AND number < ?"
        return int(connection.execute(query, (first, first + _WIDTH)).fetchone()[0] or first)


def _query(wanted: Expression) -> str:
    """An expression in FTS5's language; words hold letters, digits and our own signs only, so quotes hold them."""
    if isinstance(wanted, Word):
        return f'{{{" ".join(wanted.fields)}}} : "{wanted.text}"{"*" if wanted.beginning else ""}'
    joint = " AND " if isinstance(wanted, All) else " OR "
    return "(" + joint.join(_query(part) for part in wanted.parts) + ")"
