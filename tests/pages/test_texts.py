from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from node.texts import NAMES, Text, Texts, day, instant

HEAD = 'msgid ""\nmsgstr ""\n"Language: {lang}\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'


@pytest.fixture
def two(tmp_path: Path) -> Texts:
    """Two folders: English and Slovenian, which has four plural forms."""
    written = {
        "a/en/one.po": 'msgid "hello"\nmsgstr "Hello {name}"\n\nmsgid "n"\nmsgid_plural "n"\nmsgstr[0] "{count} day"\nmsgstr[1] "{count} days"\n',
        "b/en/two.po": 'msgid "only.english"\nmsgstr "Only here"\n',
        "a/sl/one.po": 'msgid "n"\nmsgid_plural "n"\nmsgstr[0] "{count} dan"\nmsgstr[1] "{count} dneva"\nmsgstr[2] "{count} dnevi"\n'
        'msgstr[3] "{count} dni"\n\nmsgid "hello"\nmsgstr "Zdravo {name}"\n\n#, fuzzy\nmsgid "only.english"\nmsgstr "ugibanje"\n',
    }
    for name, text in written.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD.format(lang=path.parent.name) + text, encoding="utf-8")
    return Texts((tmp_path / "a", tmp_path / "b"))


def test_there_are_24_languages() -> None:
    assert len(NAMES) == 24


def test_placeholders_are_filled_by_name(two: Texts) -> None:
    assert two.t("sl", "hello", name="{count}", count="x") in {"Zdravo {count}", "Zdravo x"}
    assert two.t("en", "hello", name="Ann") == "Hello Ann"


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 dan"), (2, "2 dneva"), (3, "3 dnevi"), (5, "5 dni"), (101, "101 dan")]
)
def test_plurals_follow_the_languages_own_rule(two: Texts, count: int, text: str) -> None:
    assert two.t("sl", "n", count=count) == text


def test_what_a_language_lacks_or_only_guesses_is_english_and_says_so(two: Texts) -> None:
    assert two.find("sl", "only.english") == Text("Only here", "en")
    assert two.missing("sl") == ["only.english"]
    assert two.find("xx", "hello", name="A") == Text("Hello A", "en")


def test_a_key_without_a_text_is_shown_as_it_is(two: Texts) -> None:
    assert two.t("en", "no.such") == "no.such"


@pytest.mark.parametrize("lang", NAMES)
def test_days_name_their_weekday_in_every_language(lang: str) -> None:
    shown, other = day(date(2026, 11, 27), lang), day(date(2026, 11, 28), lang)
    assert "27" in shown
    assert "2026" in shown
    assert shown.replace("27", "") != other.replace("28", "")


def test_english_days_and_instants_read_as_officials_write_them() -> None:
    assert day(date(2026, 11, 27), "en").replace(",", "") == "Fri 27 Nov 2026"
    assert instant(datetime(2026, 11, 27, 16, 30, tzinfo=UTC), "en").endswith("16:30")
