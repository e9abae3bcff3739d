"""Texts people read, by key: the interface's, which ship with the code, and the catalogue's, which ship with an edition.

Both are gettext `.po` files whose msgid is a key (`work.title`) and whose values have named placeholders (`{name}`). A
language that lacks a text shows the English one; `Text.lang` says which it is, so that pages can mark it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.messages.catalog import Catalog
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po

ENGLISH: Final = "en"
NAMES: Final[Mapping[str, str]] = {
    "bg": "български", "cs": "čeština", "da": "dansk", "de": "Deutsch", "el": "ελληνικά", "en": "English",
    "es": "español", "et": "eesti", "fi": "suomi", "fr": "français", "ga": "Gaeilge", "hr": "hrvatski",
    "hu": "magyar", "it": "italiano", "lt": "lietuvių", "lv": "latviešu", "mt": "Malti", "nl": "Nederlands",
    "pl": "polski", "pt": "português", "ro": "română", "sk": "slovenčina", "sl": "slovenščina", "sv": "svenska",
}  # fmt: skip
INTERFACE: Final = Path(__file__).parent / "pages" / "locale"


@dataclass(frozen=True, slots=True)
class Text:
    """A text and the language it is in."""

    text: str
    lang: str


class Texts:
    """All texts of this node, read a language at a time when first asked for."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._read: dict[str, Mapping[str, tuple[str, ...]]] = {}

    @classmethod
    def load(cls, edition: Path) -> Texts:
        """The interface's texts and those of an edition's folder."""
        texts = cls((INTERFACE, edition / "locale"))
        texts.keys(ENGLISH)
        return texts

    def t(self, lang: str, key: str, /, **values: object) -> str:
        """The text of a key, filled in; the key itself where no language has it."""
        return self.find(lang, key, **values).text

    def find(self, lang: str, key: str, /, **values: object) -> Text:
        """The text of a key with its language; `count` chooses among plural forms."""
        for language in (lang, ENGLISH):
            forms = self._of(language).get(key)
            if forms:
                chosen = forms[_plural(language, values) if len(forms) > 1 else 0]
                return Text(_filled(chosen, values), language)
        return Text(key, ENGLISH)

    def has(self, lang: str, key: str) -> bool:
        """Whether this very language has the text."""
        return key in self._of(lang)

    def keys(self, lang: str) -> frozenset[str]:
        """The keys a language has."""
        return frozenset(self._of(lang))

    def missing(self, lang: str) -> list[str]:
        """The keys that English has and this language lacks."""
        return sorted(self.keys(ENGLISH) - self.keys(lang))

    def _of(self, lang: str) -> Mapping[str, tuple[str, ...]]:
        if lang not in self._read:
            with self._lock:
                self._read[lang] = {} if lang not in NAMES else self._load(lang)
        return self._read[lang]

    def _load(self, lang: str) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for folder in self._folders:
            for path in sorted((folder / lang).glob("*.po")):
                with path.open("rb") as file:
                    found |= _entries(read_po(file, locale=lang))
        return found


def day(at: date, lang: str) -> str:
    """A day with its weekday: Fri 27 Nov 2026, in the reader's own order."""
    return format_date(at, _skeleton(lang), locale=_locale(lang))


def instant(at: datetime, lang: str) -> str:
    """An instant to the minute, with its weekday, 24 hours."""
    return f"{day(at.date(), lang)} {format_datetime(at, 'HH:mm', locale=_locale(lang))}"


def _skeleton(lang: str) -> str:
    return str(_locale(lang).datetime_skeletons.get("yMMMEd", "EEE d MMM y"))


def _locale(lang: str) -> Locale:
    return Locale.parse("en_IE" if lang == ENGLISH else lang)


def _entries(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for message in catalog:
        key = message.id[0] if isinstance(message.id, tuple | list) else message.id
        forms = message.string if isinstance(message.string, tuple | list) else (message.string,)
        if key and all(forms) and not message.fuzzy:
            found[str(key)] = tuple(str(form) for form in forms)
    return found


def _plural(lang: str, values: Mapping[str, object]) -> int:
    count = values.get("count")
    rule = get_plural(lang).plural_expr
    return int(_evaluate(str(rule), count)) if isinstance(count, int) else 0


def _evaluate(expression: str, count: int) -> int:
    from gettext import c2py  # late: the standard library reads plural rules itself

    return int(c2py(expression)(count))


def _filled(text: str, values: Mapping[str, object]) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text
