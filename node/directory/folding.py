"""Text as it is searched: lower case, without accents, Greek and Cyrillic also in Latin letters.

The same functions run over what is indexed and what is typed, so that `Πελοπόννησος`, `peloponnisos` and `ПЛОВДИВ`,
`plovdiv` meet. Where one word can be written in several ways (Muenchen, ḃaile, О.У.), each way is a word of the index
and a way to read what was typed. Sources: Bulgarian Transliteration Act (2009); ELOT 743, and the phonetic way Greeks type.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

MAX_TYPED: Final = 400  # characters of a query that are read

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
_SPOKEN_PAIRS: Final = (
    ("ου", "ou"), ("αι", "e"), ("ει", "i"), ("οι", "i"), ("υι", "i"), ("αυ", "af"), ("ευ", "ef"), ("γγ", "g"),
    ("γκ", "g"), ("μπ", "b"), ("ντ", "d"), ("υ", "i"), ("χ", "h"), ("ξ", "ks"),
)  # fmt: skip
_TWO_LETTERS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "đ": "dj"})
_HAS_TWO_LETTERS: Final = re.compile("[äöüåøđ]")
# Irish in the old type: a dot over a consonant is an h behind it today (but a Maltese ċ or ġ is a letter of its own)
_DOTTED: Final = str.maketrans({dotted: f"{plain}h" for dotted, plain in zip("ḃċḋḟġṁṗṡṫ", "bcdfgmpst", strict=True)})
_HAS_DOTTED: Final = re.compile("[ḃċḋḟġṁṗṡṫ]")
# Irish puts a letter before a capital (na hÉireann, an tÚdarás, i mBaile): the word without it is meant
_MUTATED: Final = re.compile(r"(?:bh|[bdghmnt])(?=[A-ZÁÉÍÓÚ])")
_ABBREVIATION: Final = re.compile(
    r"(?<![\w.])(?:[^\W\d_]{1,3}(?:\.[^\W\d_]{1,3})+\.?|[^\W\d_]\.(?: [^\W\d_]\.)+)(?!\w)"
)
_SPACED: Final = re.compile(r"[^\W\d_]\. [^\W\d_]\.")
_SHORT_I: Final = "\ue000"
_HAS_CYRILLIC: Final = re.compile("[а-яѐ-џ]")
_HAS_GREEK: Final = re.compile("[α-ω]")
_WORDS: Final = re.compile(r"[^\W_]+")

# Letters that look the same; a word that mixes scripts is read in the script of its other letters.
_LOOKS_LATIN: Final = "ABCEHIJKMOPSTXYaceijkopsxy"
_LOOKS_CYRILLIC: Final = "АВСЕНІЈКМОРЅТХУасеіјкорѕху"
_LOOKS_LATIN_TO_GREEK: Final = "ABEHIKMNOPTXYZaikopuvx"
_LOOKS_GREEK: Final = "ΑΒΕΗΙΚΜΝΟΡΤΧΥΖαικορυνχ"
_TO_CYRILLIC: Final = str.maketrans(_LOOKS_LATIN, _LOOKS_CYRILLIC)
_TO_GREEK: Final = str.maketrans(_LOOKS_LATIN_TO_GREEK, _LOOKS_GREEK)
_TO_LATIN: Final = str.maketrans(_LOOKS_CYRILLIC + _LOOKS_GREEK, _LOOKS_LATIN + _LOOKS_LATIN_TO_GREEK)
_LATIN_LETTER: Final = re.compile("[A-Za-z]")
_OTHER_LETTER: Final = re.compile("[Ͱ-Ͽἀ-῿Ѐ-ӿ]")


def fold(text: str) -> str:
    """Lower case, accents dropped, letters of one alphabet only where another would hide them (ß, ł, æ)."""
    if text.isascii():
        return text.lower()
    marked = text.casefold().replace("й", _SHORT_I)  # й is no и with an accent: it keeps its own sound
    bare = "".join(c for c in unicodedata.normalize("NFKD", marked) if not unicodedata.combining(c))
    return bare.translate(_LATIN).replace("ς", "σ").replace(_SHORT_I, "й")


def words(text: str) -> list[str]:
    """The folded words of a text in their order; a dotted abbreviation (О.У., Sp.j.) is one word."""
    return [ways(word)[0] for word in _split(_without_abbreviations(text))]


def spellings(text: str) -> tuple[list[str], list[str]]:
    """The words by which a text can be found: its own in their order, and the other ways to write them."""
    own = _split(_without_abbreviations(text))
    found = dict.fromkeys(own)
    if "." in text:
        found |= dict.fromkeys(_split(text))
    folded = [ways(word)[0] for word in own]
    others = dict.fromkeys(way for word in found for way in ways(word))
    return folded, [way for way in others if way not in folded]


@lru_cache(maxsize=200_000)
def ways(word: str) -> tuple[str, ...]:
    """The ways to write one word, folded; the first is its own."""
    folded = fold(word)
    found = [folded]
    if not word.isascii():  # München is also Muenchen
        small = unicodedata.normalize("NFC", word).lower()
        if _HAS_TWO_LETTERS.search(small):
            found.append(fold(small.translate(_TWO_LETTERS)))
        if _HAS_DOTTED.search(small):
            found.append(fold(small.translate(_DOTTED)))
    if mutated := _MUTATED.match(word):
        found.append(fold(word[mutated.end() :]))
    if not folded.isascii():
        if _HAS_CYRILLIC.search(folded):
            found.append(folded.translate(_CYRILLIC))
        if _HAS_GREEK.search(folded):
            found += [greek(folded, _ELOT_PAIRS), greek(folded, _SPOKEN_PAIRS)]
    return tuple(dict.fromkeys(part for way in found for part in _WORDS.findall(way))) or ("",)


def has_spaced_abbreviation(text: str) -> bool:
    """Whether an abbreviation may have spaces in it (a. s.): such a text cannot be read in pieces."""
    return bool(_SPACED.search(text))


def typed(text: str, *, limit: int) -> list[str]:
    """The words of what somebody typed, as written; dotted abbreviations are one word."""
    return _split(_without_abbreviations(text[:MAX_TYPED]))[:limit]


def cyrillic(folded: str) -> str:
    """A folded word, its Cyrillic letters in Latin ones (Bulgarian Transliteration Act)."""
    return folded.translate(_CYRILLIC)


def greek(folded: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """A folded word, its Greek letters in Latin ones; `pairs` go first."""
    for pair, latin in pairs:
        folded = folded.replace(pair, latin)
    return folded.translate(_GREEK)


def _split(text: str) -> list[str]:
    found = _WORDS.findall(unicodedata.normalize("NFC", text))
    if text.isascii() or not (_LATIN_LETTER.search(text) and _OTHER_LETTER.search(text)):
        return found
    return [_in_one_script(word) for word in found]


def _without_abbreviations(text: str) -> str:
    return _ABBREVIATION.sub(_without_dots, text) if "." in text else text


def _without_dots(found: re.Match[str]) -> str:
    return found[0].replace(".", "").replace(" ", "") + (" " if found[0].endswith(" ") else "")


@lru_cache(maxsize=2_000)
def _in_one_script(word: str) -> str:
    """A word whose letters are of two scripts (ПЛОBДИB with Latin B), in the one that all of them fit."""
    if not (_LATIN_LETTER.search(word) and _OTHER_LETTER.search(word)):
        return word
    others = [word.translate(_TO_CYRILLIC), word.translate(_TO_GREEK)]
    for whole in (*others, word.translate(_TO_LATIN)):
        scripts = {_script(letter) for letter in whole if letter.isalpha()}
        if len(scripts) == 1:
            return whole
    return word


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
