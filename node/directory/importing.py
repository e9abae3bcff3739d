"""Reading authorities from files: one JSON object a line, and the demo's overlay that says what they are competent for."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from node.directory.model import Authority, Link
from node.errors import SetupError
from node.ids import AuthorityId, NodeId

MAX_LINE_BYTES: Final = 64 * 1024
_WEBSITE: Final = re.compile(r"https?://[^\s<>\"]{1,500}")
_MAIN_LANGUAGE: Final[Mapping[str, str]] = {  # of a name whose language nobody wrote down
    "AT": "de", "BE": "nl", "BG": "bg", "CY": "el", "CZ": "cs", "DE": "de", "DK": "da", "EE": "et", "EL": "el",
    "ES": "es", "FI": "fi", "FR": "fr", "HR": "hr", "HU": "hu", "IE": "en", "IS": "is", "IT": "it", "LI": "de",
    "LT": "lt", "LU": "fr", "LV": "lv", "MT": "mt", "NL": "nl", "NO": "nb", "PL": "pl", "PT": "pt", "RO": "ro",
    "SE": "sv", "SI": "sl", "SK": "sk",
}  # fmt: skip
_NATIONAL_TYPES: Final = ("ministry", "national_authority")
_OVERLAID: Final = ("areas", "professions", "activities", "keywords", "languages", "territory")


class BadImport(SetupError):
    """A file of authorities cannot be read; the message names file and line."""

    code = "setup.import"


def read_authorities(path: Path, *, node: NodeId) -> Iterator[Authority]:
    """The authorities of a JSONL file, hosted by a node.

    Each line has `id` (CC-digits), `name`, and what config/directory/ATTRIBUTION.md lists; unknown keys are ignored.

    Raises:
        BadImport: a line is too long, not JSON, or lacks id or name; of another State.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if len(line) > MAX_LINE_BYTES:
                raise BadImport(f"{path}, line {number}: longer than {MAX_LINE_BYTES} bytes")
            try:
                yield _authority(json.loads(line), node)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadImport(f"{path}, line {number}: {type(error).__name__}: {error}") from error


def _authority(row: Mapping[str, Any], node: NodeId) -> Authority:
    state, _, digits = str(row["id"]).partition("-")
    if state != node[:2] or not digits.isalnum():
        raise ValueError(f"{row['id']} is not an authority of {node[:2]}")
    lang = str(row.get("name_lang") or _MAIN_LANGUAGE.get(state, "en"))[:2]
    is_national = row.get("level") == "national" or row.get("type") in _NATIONAL_TYPES  # `nuts` is only its seat
    address = {key: str(row[key])[:400] for key in ("street", "postal_code", "city") if row.get(key)}
    website = str(row.get("website") or "")
    return Authority(
        id=AuthorityId(f"{state}:{digits}"),
        node=node,
        names={lang: str(row["name"])[:400], **{k[:2]: str(v)[:400] for k, v in dict(row.get("names") or {}).items()}},
        name_lang=lang,
        short_name=str(row.get("short_name") or ""),
        type=str(row.get("type") or ""),
        level=str(row.get("level") or ""),
        territory=(str(row["nuts"]),) if row.get("nuts") and not is_national else (),
        address=address,
        website=website if _WEBSITE.fullmatch(website) else "",
        email=str(row.get("email") or ""),
        source=str((row.get("sources") or [{}])[0].get("source", "")),
    )


class Overlay:
    """What an overlay file adds to authorities, and the few it brings itself."""

    def __init__(self, path: Path) -> None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadImport(f"{path}: {error}") from error
        self._invented = raw.get("assignment") == "invented"
        self._rows = {AuthorityId(row["id"]): row for row in raw.get("authority", ())}
        self._new = raw.get("new", ())

    def node_of(self, authority: AuthorityId, default: NodeId) -> NodeId:
        """Where the overlay puts an authority."""
        return NodeId(self._rows.get(authority, {}).get("node", default))

    def over(self, authorities: Iterable[Authority]) -> Iterator[Authority]:
        """The authorities with what the overlay says of them."""
        for authority in authorities:
            row = self._rows.get(authority.id)
            yield self._laid(authority, row) if row else authority

    def new(self, node: NodeId) -> list[Authority]:
        """The authorities the overlay brings itself, for this State's node."""
        rows = [row for row in self._new if row["id"][:2] == node]
        return [
            self._laid(
                Authority(
                    id=AuthorityId(row["id"]),
                    node=node,
                    names=row["names"],
                    name_lang=row["name_lang"],
                    type=row.get("type", ""),
                    level=row.get("level", ""),
                    address=row.get("address", {}),
                    website=row.get("website", ""),
                ),
                row,
            )
            for row in rows
        ]

    def _laid(self, authority: Authority, row: Mapping[str, Any]) -> Authority:
        changes: dict[str, Any] = {key: tuple(row[key]) for key in _OVERLAID if key in row}
        if "territory" in changes:
            changes["territory"] = tuple(dict.fromkeys((*authority.territory, *changes["territory"])))
        return replace(
            authority,
            **changes,
            coordinators=tuple(Link(coordinator=AuthorityId(name)) for name in row.get("coordinators", ())),
            roles={area: tuple(roles) for area, roles in row.get("roles", {}).items()},
            informal=row.get("informal", {}),
            node=NodeId(row.get("node", authority.node)),
            assignment_invented=self._invented,
        )
