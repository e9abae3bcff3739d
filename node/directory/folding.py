"""Text as it is searched: lower case, without accents, Greek and Cyrillic also in Latin letters.

The same function runs over what is indexed and what is typed, so that `Πελοπόννησος`, `peloponnisos` and
`ПЛОВДИВ`, `plovdiv` meet. Sources: Bulgarian Transliteration Act (2009); ELOT 743, and the phonetic way Greeks type.
"""

from __future__ import annotations

import re
import unicodedata
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
    if not folded.isascii():
        if _HAS_CYRILLIC.search(folded):
            found.append(folded.translate(_CYRILLIC))
        if _HAS_GREEK.search(folded):
            found += [_greek(folded, _ELOT_PAIRS), _greek(folded, _SOUND_PAIRS)]
    return " ".join(dict.fromkeys(found))


def words(text: str, *, limit: int = 12) -> list[str]:
    """The folded words of what somebody typed, at most `limit` of them."""
    return _WORDS.findall(fold(text[:400]))[:limit]


def _greek(folded: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for greek, latin in pairs:
        folded = folded.replace(greek, latin)
    return folded.translate(_GREEK)
