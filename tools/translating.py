r"""Texts of the catalogue and of the interface in other languages: what is missing, and taking translations in.

Usage:
    python tools/translating.py todo et [TOPIC ...]     what Estonian lacks: key, English text, remark, tab-separated
    python tools/translating.py take et FILE            takes lines `key<TAB>text` (plural forms tab-separated) and
                                                        writes the .po files, in the order and with the remarks of English
    python tools/translating.py terms et                texts that do not use the words of config/locale/et/terms.toml

A topic is a file's name without `.po`. A line break within a text is written `\n`. A text that exists is replaced. Files
are marked as drafts in their header until someone who speaks the language has read them.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.plurals import get_plural
from babel.messages.pofile import escape, read_po

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = (ROOT / "config" / "locale", ROOT / "node" / "pages" / "locale")
REVIEW: Final = "draft"


def topics(only: list[str]) -> Iterator[Path]:
    """The English files, all or those of some topics."""
    for folder in FOLDERS:
        yield from (path for path in sorted((folder / "en").glob("*.po")) if not only or path.stem in only)


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.name, abort_invalid=True)


def key_of(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def forms_of(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string)


def held(path: Path) -> dict[str, tuple[str, ...]]:
    """Key -> forms of the texts a file has."""
    if not path.exists():
        return {}
    return {key_of(m): forms_of(m) for m in read(path) if m.id and all(forms_of(m))}


def theirs(english: Path, language: str) -> Path:
    return english.parents[1] / language / english.name


def todo(language: str, only: list[str]) -> None:
    """Print what a language lacks."""
    for english in topics(only):
        have = held(theirs(english, language))
        lacking = [m for m in read(english) if m.id and key_of(m) not in have]
        if lacking:
            print(f"# {english.stem}: {len(lacking)}")
        for message in lacking:
            plural = f"[{get_plural(language).num_plurals} forms] " if isinstance(message.id, tuple) else ""
            text = " | ".join(forms_of(message)).replace("\n", "\\n")
            print("\t".join((key_of(message), plural + text, " ".join(message.auto_comments))).rstrip())


def take(language: str, file: Path) -> None:
    """Write the .po files of a language anew with the texts of a file.

    Raises:
        SystemExit: a line is not `key<TAB>text`, or its key is none of ours.
    """
    taken: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        key, *forms = line.split("\t")
        if not line.strip() or line.startswith("#"):
            continue
        if not forms:
            sys.exit(f"{file}:{number}: not a key, a tab and a text: {line[:60]}")
        taken[key.strip()] = tuple(form.strip().replace("\\n", "\n") for form in forms)
    for english in topics([]):
        messages = [m for m in read(english) if m.id]
        ours = taken.keys() & {key_of(m) for m in messages}
        path = theirs(english, language)
        if ours or path.exists():
            path.parent.mkdir(exist_ok=True)
            texts = held(path) | {key: taken.pop(key) for key in ours}
            path.write_text(written(messages, texts, language), encoding="utf-8")
    if taken:
        sys.exit(f"no such text in English: {', '.join(sorted(taken)[:10])}")


def written(messages: list[Message], texts: Mapping[str, tuple[str, ...]], language: str) -> str:
    """A .po file of the texts there are, in the order of English."""
    plural = get_plural(language)
    header = {
        "Project-Id-Version": "imi-node",
        "Language": language,
        "Language-Team": Locale.parse(language).english_name,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": str(plural.plural_forms),
        "X-Review": REVIEW,
    }
    blocks = ["\n".join(('msgid ""', 'msgstr ""', *(escape(f"{name}: {value}\n") for name, value in header.items())))]
    blocks += [block(message, texts[key_of(message)]) for message in messages if key_of(message) in texts]
    return "\n\n".join(blocks) + "\n"


def block(message: Message, forms: tuple[str, ...]) -> str:
    lines = [f"#. {remark}" for remark in message.auto_comments]
    lines.append(f"msgid {escape(key_of(message))}")
    if isinstance(message.id, tuple):
        lines.append(f"msgid_plural {escape(message.id[1])}")
        lines += [f"msgstr[{number}] {escape(form)}" for number, form in enumerate(forms)]
    else:
        lines.append(f"msgstr {escape(forms[0])}")
    return "\n".join(lines)


def against_terms(language: str) -> list[str]:
    """Texts whose English has a term of the language's termbase, and which use none of its words: one line each."""
    path = FOLDERS[0] / language / "terms.toml"
    terms = tomllib.loads(path.read_text(encoding="utf-8"))
    found = []
    for english in topics([]):
        texts = held(theirs(english, language))
        for message in read(english):
            key = key_of(message) if message.id else ""
            source, target = (" ".join(forms).casefold() for forms in (forms_of(message), texts.get(key, ())))
            for term, words in terms.items():
                if target and uses(source, term) and not any(word.casefold() in target for word in words):
                    found.append(f"{key}: {term}: {' '.join(texts[key])}")
    return found


def uses(text: str, term: str) -> bool:
    """Whether an English text has a term, in the singular or the plural."""
    plural = re.escape(term[:-1]) + "ies" if term.endswith("y") else re.escape(term) + "e?s"
    return bool(re.search(rf"\b(?:{re.escape(term)}|{plural})\b", text))


def main(arguments: list[str]) -> None:
    match arguments:
        case ["todo", language, *only]:
            todo(language, only)
        case ["take", language, file]:
            take(language, Path(file))
        case ["terms", language]:
            print("\n".join(against_terms(language)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
