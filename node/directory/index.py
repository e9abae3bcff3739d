"""Finding things by words and codes: what is looked for in which order, whichever engine holds the index.

A document is a thing to be found (an authority, a register), as folded words in five fields. An engine stores documents
and answers one question: the first so many documents, in their standing order, that an expression of words holds for.
It stops when it has them, so a search costs much the same among 15,000 documents and among a million. Ranking is a
matter of what is asked first: whole words of a name, then beginnings and sounds, then competence, then territory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import chain, combinations
from math import comb
from typing import Final, NamedTuple, Protocol

from node.directory.folding import has_spaced_abbreviation, spellings
from node.directory.hearing import MARK, latin_sounds, sounds

NAMES: Final = "names"
COMPETENCE: Final = "competence"
PLACE: Final = "place"
SOUND: Final = "sound"
CODES: Final = "codes"
FIELDS: Final = (NAMES, COMPETENCE, PLACE, SOUND, CODES)
MAX_WORDS: Final = 12  # of a query; the others are not looked at
MAX_CHOICES: Final = 70  # ways to leave words out that are tried in one question
ORDERS: Final = 128  # standings of a document

_EXACT_AMONG: Final = 40  # so many that have all words in their names are compared with the very text
_WHOLE_SOUND: Final = 2  # so short a sound is none that words begin with
_LONG_NAME: Final = ORDERS // 2 - 1
_NO_NAME: Final = " "  # before each further spelling: their line is no name
_PIECES: Final = 1 << 16  # that are remembered as they were read
_CODE: Final = re.compile(r"[\w./:-]{1,160}")


class Match(IntEnum):
    """How well something fits what was typed, best first."""

    EXACT = 0  # one of its names is what was typed
    NAME = 1  # its names have all the words
    BEGINNING = 2  # its names have words that begin like them, or sound so
    COMPETENCE = 3  # with what it is competent for
    TERRITORY = 4  # with its place
    MOST = 5  # not all words, but more than any other
    FILTERS = 6  # nothing was typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A thing to be found: folded words in each field, separated by spaces; each name is a line of `names`.

    `order`: its standing among documents that match alike, from 0 for the first to ORDERS - 1.
    """

    kind: str
    id: str
    order: int
    names: str
    competence: str
    place: str
    sound: str
    codes: str


@dataclass(frozen=True, slots=True)
class Word:
    """Holds where one of the fields has the word, or one that begins so."""

    text: str
    fields: tuple[str, ...]
    beginning: bool = False


@dataclass(frozen=True, slots=True)
class All:
    """Holds where all parts do."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Holds where at least one part does."""

    parts: tuple[Expression, ...]


Expression = Word | All | Some


class Row(NamedTuple):
    """A document that an engine found; `is_exact`: a line of its names is the text it was to compare them with."""

    id: str
    is_exact: bool


class Index(Protocol):
    """An engine that holds documents. One conformance test says what it must do: tests/directory/test_search_engines.py."""

    def put(self, documents: Sequence[Document]) -> None:
        """Store documents; one of the same kind and id is replaced. The last of two alike counts."""
        ...

    def remove(self, kind: str, ids: Sequence[str]) -> None:
        """Forget documents; those that are not there do no harm."""
        ...

    def first(self, wanted: Expression, *, limit: int | None, name: str = "") -> list[Row]:
        """The first documents that an expression holds for, by order, then as they were stored.

        Args:
            limit: None for all of them.
            name: a line to compare names with; empty: none is exact.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One typed word: its spellings, what it sounds like, and the codes it names."""

    spelt: tuple[str, ...]
    heard: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for among documents of one kind."""

    kind: str
    asked: tuple[Asked, ...] = ()
    name: str = ""  # all that was typed, folded, one space between words
    filters: tuple[Expression, ...] = ()
    limit: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found, best first. `partial`: none has all words; these have most of them."""

    rows: tuple[tuple[str, Match], ...] = ()
    has_more: bool = False
    partial: bool = False


def find(index: Index, query: Query) -> Found:
    """The documents that fit a query, best first, at most its limit."""
    filters = (code("kind", query.kind), *query.filters)
    if not query.asked:
        rows = index.first(All(filters), limit=query.limit + 1)
        return _found([(row.id, Match.FILTERS) for row in rows], query.limit)
    ranked: dict[str, Match] = {}
    for match in (Match.NAME, Match.BEGINNING, Match.COMPETENCE, Match.TERRITORY):
        wanted = All((*filters, *(_holds(asked, match) for asked in query.asked)))
        whole = match is Match.NAME
        limit = query.limit + 1 + (_EXACT_AMONG if whole else len(ranked))
        rows = index.first(wanted, limit=limit, name=query.name if whole else "")
        for row in sorted(rows, key=lambda row: not row.is_exact):
            ranked.setdefault(row.id, Match.EXACT if row.is_exact else match)
        if len(ranked) > query.limit:
            break
    if ranked or len(query.asked) == 1:
        return _found(list(ranked.items()), query.limit)
    return _with_most(index, query, filters)


def _with_most(index: Index, query: Query, filters: tuple[Expression, ...]) -> Found:
    """Those that have most of the words, however many that are; words that nothing has are left out first."""
    each = [_holds(asked, Match.TERRITORY) for asked in query.asked]
    known = [word for word in each if index.first(All((*filters, word)), limit=1)]
    for size in range(min(len(known), len(each) - 1), 0, -1):
        if comb(len(known), size) > MAX_CHOICES:
            continue
        some = Some(tuple(All(chosen) for chosen in combinations(known, size)))
        if rows := index.first(All((*filters, some)), limit=query.limit + 1):
            found = _found([(row.id, Match.MOST) for row in rows], query.limit)
            return Found(rows=found.rows, has_more=found.has_more, partial=True)
    return Found()


def _found(ranked: Sequence[tuple[str, Match]], limit: int) -> Found:
    return Found(rows=tuple(ranked[:limit]), has_more=len(ranked) > limit)


def _holds(asked: Asked, match: Match) -> Expression:
    """Where a typed word is found, so far down the ranking."""
    if match is Match.NAME:
        return _some(Word(spelt, (NAMES,)) for spelt in asked.spelt)
    fields: tuple[str, ...] = (NAMES,)
    heard: tuple[str, ...] = (SOUND,)
    if match >= Match.COMPETENCE:
        fields = (*fields, COMPETENCE)
    if match >= Match.TERRITORY:
        fields, heard = (*fields, PLACE), (SOUND, PLACE)
    return _some(
        (
            *(Word(spelt, fields, beginning=True) for spelt in asked.spelt),
            *(Word(sound, heard, beginning=len(sound.lstrip(MARK)) > _WHOLE_SOUND) for sound in asked.heard),
            *(code(*named.split(":", 1)) for named in asked.codes if match >= Match.COMPETENCE),
        )
    )


def _some(parts: Iterable[Expression]) -> Expression:
    found = tuple(parts)
    return found[0] if len(found) == 1 else Some(found)


def code(kind: str, value: str) -> Word:
    """Holds for documents with a code; what cannot be a code holds for none."""
    return Word(_token(kind, value) or "kind:", (CODES,))


def code_word(kind: str, value: str) -> str:
    """A code as a word of the index: no word of a language has a colon."""
    return f"{kind}:{value.lower()}"


def document(
    kind: str,
    name: str,
    *,
    names: Sequence[tuple[str, str]],
    more_names: Iterable[str] = (),
    competence: Iterable[str] = (),
    places: Iterable[str] = (),
    codes: Iterable[tuple[str, str]] = (),
    is_preferred: bool = False,
) -> Document:
    """What the index holds of a thing.

    Args:
        name: its id, unique within its kind.
        names: official names, each with its language; the first one's length tells the standing.
        more_names: what else it is called, in any language.
        places: names of its town and region.
        codes: (kind, code) pairs; the document's own kind is added.
        is_preferred: stands before others that match alike.
    """
    called = [_pieces(text) for text in dict.fromkeys((*[text for text, _ in names], *more_names))]
    read = {piece: _READ[piece] for pieces in called for piece in pieces}
    lines = ["".join([read[piece].own for piece in pieces])[:-1] for pieces in called]
    further = dict.fromkeys([way for piece in read.values() if piece.others for way in piece.others])
    heard = dict.fromkeys([sound for piece in read.values() if piece.sounds for sound in piece.sounds])
    for text, lang in names:
        heard.update(dict.fromkeys(chain.from_iterable([_spoken(piece, lang) for piece in _pieces(text)])))
    lang = names[0][1] if names else ""
    there = [_place(piece, lang) for place in places for piece in _pieces(place)]
    competent = [_READ[piece] for text in competence for piece in _pieces(text)]
    tokens = dict.fromkeys([_token("kind", kind), *[_token(*pair) for pair in codes]])
    length = min(lines[0].count(" ") + 1 if lines and lines[0] else 0, _LONG_NAME)
    return Document(
        kind=kind,
        id=name,
        order=length + (0 if is_preferred else ORDERS // 2),
        names="\n".join((*dict.fromkeys(lines), _NO_NAME.join(("", *further)))),
        competence=" ".join(dict.fromkeys([word for read in competent for word in (*read.own.split(), *read.others)])),
        place=" ".join(dict.fromkeys(chain.from_iterable(there))),
        sound=" ".join(heard),
        codes=" ".join(filter(None, tokens)),
    )


class _Read(NamedTuple):
    """What a piece of text is found by: its words, folded, a space behind each; other ways to write them; their sounds."""

    own: str
    others: tuple[str, ...]
    sounds: tuple[str, ...]


class _ReadPieces(dict[str, _Read]):
    """Pieces as they were read; all are forgotten when there are too many. A third of the cost of an lru_cache."""

    def __missing__(self, piece: str) -> _Read:
        own, others = spellings(piece)
        if len(self) >= _PIECES:
            self.clear()
        self[piece] = read = _Read("".join([f"{word} " for word in own]), tuple(others), tuple(sounds(own)))
        return read


_READ: Final = _ReadPieces()


def _pieces(text: str) -> list[str]:
    """A text as what lies between spaces: its words are read piece by piece, and most pieces were read before."""
    return [text] if ". " in text and has_spaced_abbreviation(text) else text.split()


@lru_cache(maxsize=_PIECES)
def _spoken(piece: str, lang: str) -> tuple[str, ...]:
    return tuple(latin_sounds(piece, lang))


@lru_cache(maxsize=_PIECES)
def _place(piece: str, lang: str) -> tuple[str, ...]:
    """By which words a piece of a place's name is found, and by which sounds where names are in this language."""
    own, others = spellings(piece)
    there = (*own, *others)
    return (*there, *sounds(own), *latin_sounds(" ".join(there), lang))


@lru_cache(maxsize=_PIECES)
def _token(kind: str, value: str) -> str:
    """A code as a word of the index; empty for what cannot be one."""
    written = code_word(kind, value)
    return written if _CODE.fullmatch(written) else ""
