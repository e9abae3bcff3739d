"""An edition is loaded whole or refused whole, and says what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from node.catalogue import Catalogue, MalformedCatalogue
from node.catalogue.texts import LANGUAGES, texts_of
from node.domain.files import ProcedureFile

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config"
NOW = ("en", "fr", "de", "et", "ro", "el", "bg")
KINDS = ("workflows", "procedures", "questions", "forms", "lists", "calendars")


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped definitions, to be spoilt."""
    for kind in KINDS:
        shutil.copytree(SHIPPED / kind, tmp_path / kind)
    return tmp_path


def manifest(folder: Path, edition: int = 41) -> None:
    files = {
        path.relative_to(folder).as_posix(): f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for kind in KINDS
        for path in (folder / kind).rglob("*.toml")
    }
    (folder / "manifest.json").write_text(json.dumps({"edition": edition, "files": files}))


def faults_of(folder: Path) -> list[str]:
    with pytest.raises(MalformedCatalogue) as refused:
        Catalogue.load(folder)
    assert refused.value.code == "setup.malformed-catalogue"
    assert all(str(fault) in str(refused.value) for fault in refused.value.faults)
    return [str(fault) for fault in refused.value.faults]


def test_the_shipped_catalogue_has_its_two_procedures():
    catalogue = Catalogue.load(SHIPPED)
    assert catalogue.edition == 0
    assert [p.id for p in catalogue.current()] == ["professional-qualifications/information-request", "services/alert"]
    for procedure in catalogue.current():
        assert catalogue.by_digest(procedure.digest) is procedure
        assert catalogue.procedure(procedure.id) is catalogue.procedure(procedure.id, 1) is procedure
    assert catalogue.procedure("services/alert", 9) is None
    assert catalogue.procedure("services/nothing") is None
    assert catalogue.by_digest("00") is None
    assert {"secondary-school-teacher", "doctor", "nurse"} <= set(catalogue.lists["profession"])
    assert {"construction", "scaffolding"} <= set(catalogue.lists["activity"])


def test_two_loads_give_the_same_digests(folder):
    assert [p.digest for p in Catalogue.load(folder).current()] == [p.digest for p in Catalogue.load(SHIPPED).current()]


def test_a_manifest_names_the_edition_and_guards_every_file(folder):
    manifest(folder)
    assert Catalogue.load(folder).edition == 41
    lists = folder / "lists" / "damage.toml"
    lists.write_text(lists.read_text() + "\n")
    (folder / "lists" / "more.toml").write_text('codes = ["a"]\n')
    (folder / "lists" / "severity.toml").unlink()
    named = [fault for fault in faults_of(folder) if "manifest" in fault]
    assert [fault.split(":")[0] for fault in named] == ["lists/damage.toml", "lists/more.toml", "lists/severity.toml"]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"edition": -1, "files": {}}', '{"edition": 1}', '{"edition": 1, "files": {"a": "b"}}']
)
def test_a_manifest_that_is_none_is_refused(folder, text):
    (folder / "manifest.json").write_text(text)
    assert any(fault.startswith("manifest.json:1: file: not a manifest") for fault in faults_of(folder))


def test_files_that_cannot_be_definitions_are_named(folder):
    (folder / "lists" / "bytes.toml").write_bytes(b'codes = [\n"\xff"]\n')
    (folder / "lists" / "big.toml").write_bytes(b"#" * (1024 * 1024 + 1))
    (folder / "lists" / "broken.toml").write_text('codes = ["a"\n')
    (folder / "lists" / "notes.txt").write_text("hello")
    named = "\n".join(faults_of(folder))
    assert "lists/bytes.toml:2: file: not UTF-8" in named
    assert "lists/big.toml:1: file: larger than 1 MiB" in named
    assert "lists/broken.toml:" in named
    assert "lists/notes.txt:1: file: no definition" in named


def test_a_faulty_procedure_file_is_named_with_line_and_reason(folder):
    path = folder / "workflows" / "alert.toml"
    path.write_text(path.read_text().replace('to = "closed"', 'to = "shut"', 1))
    line = path.read_text().splitlines().index('to = "shut"') + 1
    assert any(
        f"workflows/alert.toml:{line}: step.close.to: unknown state shut" in fault for fault in faults_of(folder)
    )


def test_an_empty_folder_is_no_catalogue(tmp_path):
    assert faults_of(tmp_path) == ["procedures:1: file: no procedure here: not a catalogue's folder"]


def test_a_procedure_that_says_it_is_complete_needs_24_languages(folder):
    path = folder / "procedures" / "services" / "alert.toml"
    path.write_text(path.read_text().replace('texts = "draft"', 'texts = "complete"'))
    named = faults_of(folder)
    assert len(named) == 24
    assert "texts missing in mt" in "\n".join(named)
    assert (
        f"services/alert.toml:{path.read_text().splitlines().index(next(x for x in path.read_text().splitlines() if x.startswith('texts'))) + 1}:"
        in named[0]
    )


def test_texts_are_read_by_key(folder):
    locale = folder / "locale" / "et"
    locale.mkdir(parents=True)
    (locale / "services.po").write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
        'msgid "procedure.services/alert.title"\nmsgstr "Hoiatus"\n\n'
        'msgid "workflow.alert.state.closed"\nmsgstr ""\n'
    )
    assert texts_of(folder, "et") == {"procedure.services/alert.title": "Hoiatus"}
    missing = Catalogue.load(folder).missing_texts("et")
    assert "procedure.services/alert.title" not in missing
    assert "workflow.alert.state.closed" in missing


def test_keys_cover_what_a_page_shows():
    catalogue = Catalogue.load(SHIPPED)
    request, alert = catalogue.current()
    assert catalogue.text_keys(request) >= {
        "area.professional-qualifications",
        "procedure.professional-qualifications/information-request.title",
        "workflow.request.state.accepted",
        "workflow.request.step.answer-part",
        "workflow.request.role.responding",
        "workflow.request.deadline.agreed",
        "workflow.request.control.wanted",
        "workflow.request.choice.urgent",
        "form.person.surname",
        "form.message.text",
        "question.professional-qualifications.Q3a",
        "list.profession.secondary-school-teacher",
        "list.diploma-fault.issuer",
    }
    assert catalogue.text_keys(alert) >= {
        "workflow.alert.flag.agreed",
        "workflow.alert.audience.summary",
        "list.activity.scaffolding",
    }


def test_what_languages_lack_is_listed(capsys):
    """A report for translators; the seven languages of now lack nothing."""
    catalogue = Catalogue.load(SHIPPED)
    with capsys.disabled():
        lacking = {language: len(catalogue.missing_texts(language)) for language in LANGUAGES}
        print("\ncatalogue texts lacking: " + ", ".join(f"{lang} {count}" for lang, count in lacking.items()))
    assert {language: lacking[language] for language in NOW} == dict.fromkeys(NOW, 0)
    assert len(LANGUAGES) == 24


def test_every_key_of_a_procedure_file_is_in_the_reference():
    text = (ROOT / "docs" / "reference" / "procedures.md").read_text()
    for name, field in ProcedureFile.model_fields.items():
        assert f"`{field.alias or name}`" in text, name
