"""Settings: a working default, a unit and a sentence each; a bad one stops the start and is named."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from node.settings import BadSettings, Settings, load, shipped

ROOT = Path(__file__).resolve().parents[2]


def _keys(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= _keys(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


def _flat(raw: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in raw.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return out


def test_the_example_shows_every_setting_with_its_default():
    text = shipped("node.example.toml").read_text(encoding="utf-8")
    shown = _flat(tomllib.loads(text))
    for key, field in _keys(Settings).items():
        assert field.description, key
        if field.default is None:
            assert f"# {key.split('.')[-1]} = " in text, key
        elif field.default is not PydanticUndefined:
            assert shown.pop(key) == field.default, key
    assert set(shown) == {"node", "data"}


def test_the_reference_has_a_heading_for_every_setting():
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    for key, field in _keys(Settings).items():
        assert f"### `{key}`\n" in page, key
        assert field.description in page, key


def test_an_unknown_key_stops_the_start_and_is_named(tmp_path):
    file = tmp_path / "node.toml"
    file.write_text('node = "EE"\ndata = "data"\nfederaton = 1\n')
    with pytest.raises(BadSettings, match="federaton"):
        load(file)


@pytest.mark.parametrize("line", ["[federation]\nport = 70000", 'log_level = "loud"', "[pace]\ngossip_seconds = 0"])
def test_a_value_out_of_range_stops_the_start(tmp_path, line):
    file = tmp_path / "node.toml"
    file.write_text(f'node = "EE"\ndata = "data"\n{line}\n')
    with pytest.raises(BadSettings, match=str(file)):
        load(file)


def test_paths_are_relative_to_the_file_and_the_environment_wins(tmp_path, monkeypatch):
    (tmp_path / "node.toml").write_text('node = "DE-BY"\ndata = "data"\n[federation]\nport = 1\n')
    monkeypatch.setenv("IMI_FEDERATION__PORT", "2")
    settings = load(tmp_path / "node.toml")
    assert settings.data == tmp_path / "data"
    assert settings.federation.port == 2


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(BadSettings, match="imi-node init"):
        load(tmp_path / "none.toml")
