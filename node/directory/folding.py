"""Text as it is searched: lower case, without accents, Greek and Cyrillic also in Latin letters.

The same function runs over what is indexed and what is typed, so that `Πελοπόννησος`, `peloponnisos` and
`ПЛОВДИВ`, `plovdiv` meet. Who types Greek or Bulgarian in Latin letters spells by ear; `sounds` and `sound` reduce the
stored word and the typed one to the same few sounds. Sources: Bulgarian Transliteration Act (2009); ELOT 743, and the phonetic way Greeks type.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_LATIN: Final = str.maketrans(
    {
        "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ø": "o", "æ": "ae", "œ": "oe", "ħ": "h", "ı": "i",
        "ŋ": "n", "ŧ": "t", "ĸ": "k",
    }
)  # fmt: skip
_CYRILLIC: Final = str.maketrans(
    {
        "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ж": "zh", "з": "z", "и": "i", "й": "y", "к": "k",
        "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f", "х": "h",
        "ц": "ts", "ч": "ch", "ш": "sh", "щ": "sht", "ъ": "a", "ь": "y", "ю": "yu", "я": "ya", "ё": "e", "э": "e",
        "ы": "y", "і": "i", "ї": "i", "є": "e", "ђ": "d", "ј": "j", "љ": "lj", "њ": "nj", "ћ": "c", "џ": "dz",
    }
)  # fmt: skip
_GREEK: Final = str.maketrans(
    {
        "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i", "κ": "k", "λ": "l",
        "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s", "ς": "s", "τ": "t", "υ": "y", "φ": "f",
        "χ": "ch", "ψ": "ps", "ω": "o",
    }
)  # fmt: skip
_ELOT_PAIRS: Final = (
    ("ου", "ou"), ("γγ", "ng"), ("γξ", "nx"), ("γχ", "nch"), ("αυ", "av"), ("ευ", "ev"), ("ηυ", "iv"),
)  # fmt: skip
_SOUND_PAIRS: Final = (
    ("ου", "ou"), ("αι", "e"), ("ει", "i"), ("οι", "i"), ("υι", "i"), ("αυ", "af"), ("ευ", "ef"), ("γγ", "g"),
    ("γκ", "g"), ("μπ", "b"), ("ντ", "d"), ("υ", "i"), ("χ", "h"), ("ξ", "ks"),
)  # fmt: skip
_GREEK_LETTER_PAIRS: Final = (("ου", "ou"), ("αυ", "av"), ("ευ", "ev"), ("ηυ", "iv"))
_SOUNDS: Final = (  # in this order; coarse on purpose: what some spelling mixes up is one sound
    ("ou", "u"), ("oy", "u"), ("y", "i"), ("j", "i"), ("au", "av"), ("eu", "ev"), ("ai", "e"), ("ei", "i"),
    ("oi", "i"), ("u", "i"), ("zh", "z"), ("sht", "st"), ("sh", "s"), ("x", "ks"), ("ch", "h"), ("kh", "h"),
    ("tz", "ts"), ("c", "k"), ("q", "k"), ("th", "t"), ("dh", "d"), ("gh", "g"), ("ph", "f"), ("mp", "b"),
    ("nt", "d"), ("nd", "d"), ("gk", "g"), ("nk", "g"), ("ng", "g"), ("f", "v"), ("b", "v"), ("w", "v"),
)  # fmt: skip
_TWO_LETTERS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_HAS_TWO_LETTERS: Final = re.compile("[äöüåø]")
_DOUBLED: Final = re.compile(r"(.)\1+")
_FOREIGN: Final = re.compile("[а-яѐ-џα-ω]+")
_MIN_SOUND: Final = 3
_SHORT_I: Final = "\ue000"
_HAS_CYRILLIC: Final = re.compile("[а-яѐ-џ]")
_HAS_GREEK: Final = re.compile("[α-ω]")
_WORDS: Final = re.compile(r"\w+")


def fold(text: str) -> str:
    """Lower case, accents dropped, letters of one alphabet only where another would hide them (ß, ł, æ)."""
    if text.isascii():
        return text.lower()
    marked = text.casefold().replace("й", _SHORT_I)  # й is no и with an accent: it keeps its own sound
    bare = "".join(c for c in unicodedata.normalize("NFKD", marked) if not unicodedata.combining(c))
    return bare.translate(_LATIN).replace("ς", "σ").replace(_SHORT_I, "й")


def spellings(text: str) -> str:
    """The folded text, followed by its spellings in Latin letters where it is Greek or Cyrillic."""
    folded = fold(text)
    found = [folded]
    if not text.isascii():  # München is also Muenchen
        small = unicodedata.normalize("NFC", text).lower()
        found += [fold(w.translate(_TWO_LETTERS)) for w in _WORDS.findall(small) if _HAS_TWO_LETTERS.search(w)]
    if not folded.isascii():
        if _HAS_CYRILLIC.search(folded):
            found.append(folded.translate(_CYRILLIC))
        if _HAS_GREEK.search(folded):
            found += [_greek(folded, _ELOT_PAIRS), _greek(folded, _SOUND_PAIRS)]
    return " ".join(dict.fromkeys(found))


def sounds(text: str) -> str:
    """The Greek and Cyrillic words of a text, reduced to how they sound."""
    if text.isascii():
        return ""
    return " ".join(dict.fromkeys(found for word in _FOREIGN.findall(fold(text)) for found in _sounds_of(word)))


def sound(word: str) -> str:
    """A folded word in Latin letters, reduced as `sounds` does; empty for others, and for what is too short to tell."""
    if not (word.isascii() and word.isalpha()):
        return ""
    reduced = _reduced(word)
    return reduced if len(reduced) >= _MIN_SOUND else ""


@lru_cache(maxsize=20_000)
def _sounds_of(word: str) -> tuple[str, ...]:
    if _HAS_GREEK.search(word):
        return (_reduced(_greek(word, _GREEK_LETTER_PAIRS)),)
    spelt = {word.translate(_CYRILLIC), word.replace("ъ", "u").translate(_CYRILLIC)}  # Bulgarian ъ is typed a or u
    return tuple(sorted(_reduced(latin) for latin in spelt))


def _reduced(latin: str) -> str:
    for spelt, heard in _SOUNDS:
        latin = latin.replace(spelt, heard)
    return _DOUBLED.sub(r"\1", latin)


def words(text: str, *, limit: int = 12) -> list[str]:
    """The folded words of what somebody typed, at most `limit` of them."""
    return _WORDS.findall(fold(text[:400]))[:limit]


def _greek(folded: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for greek, latin in pairs:
        folded = folded.replace(greek, latin)
    return folded.translate(_GREEK)
