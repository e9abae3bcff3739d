"""The catalogues of texts: seven languages whole, the same keys and placeholders in each, nothing unused."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po

from node.catalogue import Catalogue
from node.catalogue.texts import LANGUAGES

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "config" / "locale", ROOT / "node" / "pages" / "locale")
COMPLETE = ("en", "fr", "de", "et", "ro", "el", "bg")
FILES = tuple(sorted(path for folder in FOLDERS for path in (folder / "en").glob("*.po")))
NAMES = tuple(str(path.relative_to(ROOT)) for path in FILES)
SCRIPTS = ("LATIN", "GREEK", "CYRILLIC")

every_file = pytest.mark.parametrize("english", FILES, ids=NAMES)
every_language = pytest.mark.parametrize("language", COMPLETE)


def in_language(english: Path, language: str) -> Path:
    return english.parents[1] / language / english.name


@cache
def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.name, abort_invalid=True)


def messages(path: Path) -> dict[str, Message]:
    return {key_of(message): message for message in read(path) if message.id}


def key_of(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def forms(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string)


def placeholders(text: str) -> Counter[str]:
    return Counter(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def texts(path: Path) -> list[tuple[str, str]]:
    return [(key, form) for key, message in messages(path).items() for form in forms(message)]


def test_there_are_catalogues_to_check():
    assert {path.name for path in FILES} >= {"common.po", "professional-qualifications.po", "services.po"}


@every_language
def test_no_catalogue_is_too_many(language):
    for folder in FOLDERS:
        english = {path.name for path in (folder / "en").glob("*.po")}
        assert {path.name for path in (folder / language).glob("*.po")} == english


@every_file
@every_language
def test_the_header_says_language_charset_and_plurals(english, language):
    catalogue = read(in_language(english, language))
    headers = dict(catalogue.mime_headers)
    declared = re.fullmatch(r"nplurals=(\d+); plural=.+;", headers["Plural-Forms"])
    assert headers["Language"] == language
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert declared is not None
    assert int(declared[1]) == get_plural(language).num_plurals


@every_file
@every_language
def test_keys_are_those_of_english_in_the_same_order(english, language):
    assert list(messages(in_language(english, language))) == list(messages(english))


@every_language
def test_no_key_stands_twice(language):
    for folder in FOLDERS:
        pattern = re.compile(r'^msgid "(.+)"$', re.MULTILINE)
        found = [key for path in (folder / language).glob("*.po") for key in pattern.findall(path.read_text())]
        assert [key for key, times in Counter(found).items() if times > 1] == []


@every_file
@every_language
def test_every_text_is_there_with_all_its_plural_forms(english, language):
    for key, message in messages(in_language(english, language)).items():
        plural = isinstance(messages(english)[key].id, tuple)
        assert isinstance(message.id, tuple) is plural, key
        assert len(forms(message)) == (get_plural(language).num_plurals if plural else 1), key
        assert all(form.strip() for form in forms(message)), key
        assert not message.fuzzy, key
    assert not read(in_language(english, language)).obsolete


@every_file
@every_language
def test_placeholders_are_those_of_english(english, language):
    for key, message in messages(in_language(english, language)).items():
        wanted = placeholders(forms(messages(english)[key])[-1])
        if isinstance(message.id, str):
            assert placeholders(message.string) == wanted, key
            continue
        assert placeholders(forms(message)[-1]) == wanted, key
        assert all(placeholders(form) <= wanted for form in forms(message)), key  # "one day" may leave the number out


@every_file
@every_language
def test_markup_and_white_space_are_kept(english, language):
    for key, message in messages(in_language(english, language)).items():
        source = forms(messages(english)[key])[-1]
        for form in forms(message):
            assert form == form.strip(), key
            assert "  " not in form, key
            assert form.count("\n") == source.count("\n"), key
            assert "<" not in form, f"{key}: markup belongs to templates"


@every_file
@pytest.mark.parametrize("language", [code for code in COMPLETE if code != "en"])
def test_no_sentence_is_left_in_english(english, language):
    left = [
        key
        for key, message in messages(in_language(english, language)).items()
        if message.string == messages(english)[key].string and len(re.findall(r"[A-Za-z]{2,}", str(message.string))) > 2
    ]
    assert left == []


@every_file
@every_language
def test_no_word_mixes_alphabets(english, language):
    """A Latin a in a Cyrillic word looks right, but is not found by a search nor read well aloud."""
    for key, text in texts(in_language(english, language)):
        for word in re.findall(r"[^\W\d_]+", re.sub(r"\{[^}]*\}", " ", text)):
            scripts = {unicodedata.name(letter).split()[0] for letter in word}
            assert len(scripts & set(SCRIPTS)) == 1, f"{key}: {word}"


@every_file
def test_romanian_is_written_with_commas_not_cedillas(english):
    assert not re.search("[şţŞŢ]", in_language(english, "ro").read_text())


@every_language
def test_no_text_of_a_procedure_is_missing(language):
    assert Catalogue.load(ROOT / "config").missing_texts(language) == ()


def test_no_text_of_the_definitions_is_unused():
    catalogue = Catalogue.load(ROOT / "config")
    used = {key for procedure in catalogue.procedures.values() for key in catalogue.text_keys(procedure)}
    used |= {f"list.{name}.{code}" for name, codes in catalogue.lists.items() for code in codes}
    held = {key for path in (FOLDERS[0] / "en").glob("*.po") for key in messages(path)}
    assert sorted(key for key in held if key.removesuffix(".help") not in used) == []


@every_language
def test_every_code_of_every_list_has_a_text(language):
    catalogue = Catalogue.load(ROOT / "config")
    held = {key for path in (FOLDERS[0] / language).glob("*.po") for key in messages(path)}
    wanted = {f"list.{name}.{code}" for name, codes in catalogue.lists.items() for code in codes}
    assert wanted - held == set()


def test_what_the_other_languages_lack_is_listed():
    """Prints, does not fail: seventeen languages are offered, and fall back to English until they have texts."""
    wanted = {path: set(messages(path)) for path in FILES}
    for language in sorted(set(LANGUAGES) - set(COMPLETE)):
        for path, keys in wanted.items():
            theirs = in_language(path, language)
            held = {key for key, text in texts(theirs) if text} if theirs.exists() else set()
            print(f"{language}: {len(keys - held)} of {len(keys)} texts missing in {path.relative_to(ROOT)}")
