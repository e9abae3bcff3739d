"""Words as they sound, for those who write another script by ear.

Greek and Bulgarian are typed in Latin letters in many ways (`ypourgeio`, `upourgio`, `hrakleio`, `6umen`), and Latin
names in Cyrillic or Greek as they are spoken (`Бордо`, `Щутгарт`). Stored and typed word are reduced to the same few
sounds. Two kinds of sounds lie in the index: of Greek and Cyrillic words, sought by who types Latin letters; and of
Latin words, marked with `~`, sought by who types Greek or Cyrillic.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice, product
from typing import Final

from node.directory.folding import cyrillic, fold, greek, words

MARK: Final = "~"  # of what a Latin word sounds like

Pairs = tuple[tuple[str, str], ...]

_LETTER_PAIRS: Final = (("ου", "ou"), ("αυ", "av"), ("ευ", "ev"), ("ηυ", "iv"))
_SOUNDS: Final = (  # in this order; coarse on purpose: what some spelling mixes up is one sound
    ("ou", "u"), ("oy", "u"), ("y", "i"), ("j", "i"), ("au", "av"), ("eu", "ev"), ("ai", "e"), ("ei", "i"),
    ("oi", "i"), ("u", "i"), ("zh", "z"), ("sht", "st"), ("sh", "s"), ("x", "ks"), ("ch", "h"), ("kh", "h"),
    ("tz", "ts"), ("c", "k"), ("q", "k"), ("th", "t"), ("dh", "d"), ("gh", "g"), ("ph", "f"), ("mp", "b"),
    ("nt", "d"), ("nd", "d"), ("gk", "g"), ("nk", "g"), ("ng", "g"), ("f", "v"), ("b", "v"), ("w", "v"),
)  # fmt: skip
# What else a Latin letter stands for when Greek or Bulgarian is typed: by its looks, by ear, by its place on a keyboard.
_READINGS: Final = tuple(
    (re.compile(letter), meant)
    for letter, meant in (
        ("w", "o"), ("^x", "ch"), ("(?<!^)x", "ch"),
        ("c(?!h)", "ts"), ("j", "zh"), ("q", "ya"), ("(?<![tcksgpdz])h", "i"), ("(?<=[tksd])h", "i"), ("(?<=[ae])y", "v"),
        ("4", "ch"), ("6", "sh"), ("8", "th"), ("3", "x"), ("9", "th"),
    )
)  # fmt: skip
# How the letters of a language are spoken, as who writes Bulgarian or Greek hears them; the first row is for all others.
_SPOKEN: Final[Pairs] = (
    ("ce", "tse"), ("ci", "tsi"), ("ck", "k"), ("qu", "kv"), ("sch", "sh"), ("tion", "tsion"), ("th", "t"),
)  # fmt: skip
_HOOKED: Final = ("hr", "sl", "cs", "sk", "lt", "lv")
_SPOKEN_IN: Final[dict[str, Pairs]] = {
    "de": (("tsch", "ch"), ("sch", "sh"), ("z", "ts"), ("tts", "ts"), ("eu", "oy"), ("aeu", "oy"), ("ei", "ay"), ("ie", "i"),
           ("ss", "s"), ("v", "f"), ("ck", "k"), ("th", "t"), ("dt", "t"), ("tion", "tsion")),
    "fr": (("eaux", "o"), ("eau", "o"), ("aux", "o"), ("au", "o"), ("oeu", "yo"), ("ou", "u"), ("oi", "oa"), ("ch", "sh"), ("gn", "ny"),
           ("qu", "k"), ("ce", "se"), ("ci", "si"), ("cy", "si"), ("j", "zh"), ("ge", "zhe"), ("gi", "zhi"), ("ain", "en"), ("ein", "en"),
           ("tion", "sion"), ("ille", "iy"), ("th", "t"), ("h", "")),
    "it": (("zz", "z"), ("z", "ts"), ("sci", "shi"), ("sce", "she"), ("chi", "ki"), ("che", "ke"), ("ghi", "gi"), ("ghe", "ge"), ("gio", "dzho"), ("gia", "dzha"), ("giu", "dzhu"), ("cio", "cho"), ("cia", "cha"), ("ciu", "chu"), ("cc", "c"), ("gg", "g"), ("ci", "chi"), ("ce", "che"),
           ("gi", "dzhi"), ("ge", "dzhe"), ("gli", "lyi"), ("gn", "ny"), ("qu", "kv")),
    "hu": (("sz", "$"), ("cs", "ch"), ("zs", "zh"), ("gy", "d"), ("s", "sh"), ("$", "s"), ("c", "ts"), ("ly", "y")),
    "pl": (("sz", "sh"), ("cz", "ch"), ("rz", "zh"), ("ch", "h"), ("c", "ts"), ("tsh", "ch"), ("w", "v")),
    "ro": (("che", "ke"), ("chi", "ki"), ("ghe", "ge"), ("ghi", "gi"), ("ce", "che"), ("ci", "chi"), ("ge", "dzhe"), ("gi", "dzhi"), ("j", "zh")),
    **dict.fromkeys(_HOOKED, (("ch", "h"), ("c", "ts"), ("q", "ch"))),
    "es": (("ll", "y"), ("j", "h"), ("ce", "se"), ("ci", "si"), ("z", "s"), ("qu", "k")),
}  # fmt: skip
_MARKED_IN: Final[dict[str, dict[int, str]]] = {  # letters whose mark is heard, before fold drops it
    "de": str.maketrans({"ü": "yu", "ö": "yo", "ä": "e"}),
    "ro": str.maketrans({"ț": "ts", "ţ": "ts", "ș": "sh", "ş": "sh"}),
    "fr": str.maketrans({"ç": "s"}),
    **dict.fromkeys(
        ("hr", "sl", "cs", "sk", "lt", "lv"), str.maketrans({"č": "q", "ć": "q", "š": "sh", "ž": "zh", "đ": "dzh"})
    ),
}
_DOUBLED: Final = re.compile(r"(.)\1+")
_FOREIGN: Final = re.compile("[а-яѐ-џα-ω]+")
_LATIN_WORD: Final = re.compile("[a-z]+")
_HAS_GREEK: Final = re.compile("[α-ω]")
_SILENT: Final = re.compile("(?:(?<=e)rs?|es|[estxdz])$")  # at the end of a French word
_SOFT_S: Final = re.compile("(?<=[aeiou])s(?=[aeiou])")  # likewise between vowels
_MIN: Final = 2
_MIN_LATIN: Final = 4
_MAX_READINGS: Final = 8


def sounds(folded: Iterable[str]) -> list[str]:
    """How the Greek and Cyrillic ones of folded words sound."""
    foreign = _FOREIGN.findall(" ".join(word for word in folded if not word.isascii()))
    return list(dict.fromkeys(heard for word in foreign for heard in _foreign(word)))


def latin_sounds(text: str, lang: str) -> list[str]:
    """How the Latin words of a text in this language sound, marked; short ones are left out."""
    marked = text
    if lang in _MARKED_IN:
        marked = unicodedata.normalize("NFC", text).lower().translate(_MARKED_IN[lang])
    found = (heard for word in words(marked) if len(word) >= _MIN_LATIN for heard in _spoken(word, lang))
    return list(dict.fromkeys(MARK + heard for heard in found))


@lru_cache(maxsize=5_000)
def readings(word: str) -> tuple[str, ...]:
    """What to look for among the sounds, for a word as it was typed; nothing for what is too short to tell."""
    folded = fold(word)
    if _FOREIGN.fullmatch(folded):
        found = [MARK + heard for heard in _foreign(folded)]
        return tuple(heard for heard in found if len(heard) > _MIN)
    if not (folded.isascii() and any(c.isalpha() for c in folded)):
        return ()
    choices = [folded] if folded.isalpha() else []
    used = [(letter, meant) for letter, meant in _READINGS if letter.search(folded)]
    for chosen in islice(product((False, True), repeat=len(used)), 1, 4 * _MAX_READINGS):
        read = folded
        for (letter, meant), wanted in zip(used, chosen, strict=True):
            read = letter.sub(meant, read) if wanted else read
        if read.isalpha():
            choices.append(read)
    heard = dict.fromkeys(_reduced(read) for read in choices)
    return tuple(sound for sound in heard if len(sound) >= _MIN)[:_MAX_READINGS]


@lru_cache(maxsize=200_000)
def _foreign(word: str) -> tuple[str, ...]:
    if _HAS_GREEK.search(word):
        return (_reduced(greek(word, _LETTER_PAIRS)),)
    spelt = {cyrillic(word), cyrillic(word.replace("ъ", "u"))}  # Bulgarian ъ is typed a or u
    return tuple(sorted(_reduced(latin) for latin in spelt))


@lru_cache(maxsize=200_000)
def _spoken(folded: str, lang: str) -> tuple[str, ...]:
    if not _LATIN_WORD.fullmatch(folded):
        return ()
    said = folded
    for written, spoken in _SPOKEN_IN.get(lang, _SPOKEN):
        said = said.replace(written, spoken)
    found = {_reduced(said)}
    if lang == "fr":
        said = _SOFT_S.sub("z", said)
        found |= {_reduced(said), _reduced(_SILENT.sub("", said))}
    return tuple(sorted(found))


def _reduced(latin: str) -> str:
    for spelt, heard in _SOUNDS:
        latin = latin.replace(spelt, heard)
    return _DOUBLED.sub(r"\1", latin)
