"""The index in PostgreSQL: a tsvector of our own folded words with a GIN index.

No dictionary of the server's has a say: words come folded, and a field is a weight (A names, B competence, C place,
D sounds and codes; codes begin with a colon). The index is one function of its own: the node's records and logs lie in
SQLite today. Needs `pip install imi-node[postgresql]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from psycopg import Connection

from node.directory.index import CODES, COMPETENCE, NAMES, ORDERS, PLACE, SOUND, All, Document, Expression, Row, Word

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS documents (
  number bigint PRIMARY KEY, kind text NOT NULL, id text NOT NULL, names text NOT NULL, words tsvector NOT NULL,
  UNIQUE (kind, id));
CREATE INDEX IF NOT EXISTS documents_words ON documents USING gin (words);
"""
_WEIGHTS: Final = {NAMES: "A", COMPETENCE: "B", PLACE: "C", SOUND: "D", CODES: "D"}
_WIDTH: Final = 1 << 40  # documents of one order
_LONGEST: Final = 500  # characters of a word; PostgreSQL takes 2046 bytes
_LOCK: Final = 0x1311  # of the writers of this index, among the database's advisory locks


class PostgresIndex:
    """Documents in a PostgreSQL database; writes join the transaction of the connection given, one writer at a time."""

    def __init__(self, connection: Callable[[], Connection[Any]]) -> None:
        self._connection = connection

    def put(self, documents: Sequence[Document]) -> None:
        """Store documents; one of the same kind and id is replaced. The last of two alike counts."""
        newest = {(document.kind, document.id): document for document in documents}
        connection = self._connection()
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        self._drop(connection, list(newest))
        last: dict[int, int] = {}
        copy = "COPY documents (number, kind, id, names, words) FROM STDIN"
        rows = []
        for document in newest.values():
            if document.order not in last:
                last[document.order] = self._last(connection, document.order)
            last[document.order] += 1
            names = f"\n{document.names}\n"
            rows.append((last[document.order], document.kind, document.id, names, _vector(document)))
        with connection.cursor() as cursor, cursor.copy(copy) as target:
            for row in rows:
                target.write_row(row)

    def remove(self, kind: str, ids: Sequence[str]) -> None:
        """Forget documents; those that are not there do no harm."""
        self._drop(self._connection(), [(kind, name) for name in ids])

    def first(self, wanted: Expression, *, limit: int | None, name: str = "") -> list[Row]:
        """The first documents that an expression holds for, by order, then as they were stored."""
        rows = self._connection().execute(
            "SELECT id, %s <> '' AND position(%s in names) > 0 FROM documents WHERE words @@ %s::tsquery"
            " ORDER BY number LIMIT %s",
            (name, f"\n{name}\n", _query(wanted), limit),
        )
        return [Row(*row) for row in rows]

    def _drop(self, connection: Connection[Any], keys: Sequence[tuple[str, str]]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany("DELETE FROM documents WHERE kind = %s AND id = %s", keys)

    def _last(self, connection: Connection[Any], order: int) -> int:
        first = min(order, ORDERS - 1) * _WIDTH
        query = "SELECT max(number) FROM documents WHERE number >= %s AND number < %s"
        row = connection.execute(query, (first, first + _WIDTH)).fetchone()
        return int(row[0]) if row and row[0] is not None else first


def _vector(document: Document) -> str:
    """A tsvector as text; words hold letters, digits and our own signs only, so quotes hold them."""
    found: dict[str, dict[str, None]] = {}
    for field, weight in _WEIGHTS.items():
        for word in getattr(document, field).split():
            if len(word) <= _LONGEST:
                found.setdefault(_lexeme(word, field), {})[weight] = None
    marked = (
        (word, ",".join(f"{n}{weight}" for n, weight in enumerate(weights, 1))) for word, weights in found.items()
    )
    return " ".join(f"'{word}':{places}" for word, places in marked)


def _query(wanted: Expression) -> str:
    """An expression as a tsquery."""
    if isinstance(wanted, Word):
        word = _lexeme(wanted.text, wanted.fields[0])
        weights = "".join(dict.fromkeys(_WEIGHTS[field] for field in wanted.fields))
        return f"'{word}':{'*' if wanted.beginning else ''}{weights}"
    joint = " & " if isinstance(wanted, All) else " | "
    return "(" + joint.join(_query(part) for part in wanted.parts) + ")"


def _lexeme(word: str, field: str) -> str:
    return f":{word}" if field == CODES else word
