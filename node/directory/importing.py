"""The shipped files of authorities and registers, and the demo's overlay that says what they are competent for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from node.directory.intake import AUTHORITIES, REGISTERS, Intake
from node.directory.model import Authority, Link, Register
from node.directory.rows import BadImport, BadRow, complaint, id_of, parse, read_rows
from node.ids import AuthorityId, NodeId

_OVERLAID: Final = ("areas", "professions", "activities", "keywords", "languages", "territory")


def read_authorities(path: Path, *, node: NodeId) -> Iterator[Authority]:
    """The authorities of a file in which every row is right and has its identifier, hosted by a node.

    Raises:
        BadImport: a row is not; with file and line.
    """
    return (cast("Authority", record) for record in _records(path, AUTHORITIES, node))


def read_registers(path: Path) -> Iterator[Register]:
    """The registers of such a file, of whatever State, hosted by their States' first nodes. Raises BadImport."""
    return (cast("Register", record) for record in _records(path, REGISTERS, None))


def _records(path: Path, intake: Intake, node: NodeId | None) -> Iterator[Authority | Register]:
    for row in read_rows(path):
        found = row if isinstance(row, BadRow) else parse(intake.row, row)
        if isinstance(found, BadRow):
            raise BadImport(f"{path}, line {found.line}: {found.reason}")
        home = node or NodeId(found.id[:2])
        name = id_of(found.id, home)
        if name is None:
            raise BadImport(f"{path}, line {row.line}: {found.id or 'a row without identifier'} is none of {home[:2]}")
        try:
            yield intake.make(found, None, name, home)
        except ValidationError as error:
            raise BadImport(f"{path}, line {row.line}: {complaint(error)}") from error


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
        return (self.laid(authority) for authority in authorities)

    def laid(self, authority: Authority) -> Authority:
        """One authority with what the overlay says of it."""
        row = self._rows.get(authority.id)
        return self._laid(authority, row) if row else authority

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
            represented_by=AuthorityId(row.get("represented_by", authority.represented_by)),
            node=NodeId(row.get("node", authority.node)),
            assignment_invented=self._invented,
        )
