"""Say in which NUTS region the seat of a shipped body lies, where the shipped lists leave no doubt, and count the rest.

    python -m tools.seats      writes config/directory/authorities/, bulk/ and docs/reference/directory-data.md

Nothing is looked up elsewhere and nothing is guessed. `nuts_by` says by which of these a region was found:

- `commune`: the French commune in the body's service-public number, whose first digits are the département;
- `postal-code`: every body with this code and a region of its own lies there; in France the code's département, checked
  against the commune numbers; elsewhere also its first three digits or more, if at least eight different codes of known
  bodies begin so, and all in one region;
- `city`: the town a region is named for (a Kreisfreie Stadt, a provincial capital), or every body in a town of this
  name lies in one region, and the first two digits of its code, if it has one, are known in that part of the State;
- `state`: the State is one region.

`nuts_given` keeps a code of the source that was replaced: one of an older edition, or of the whole State.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from node.directory.folding import fold

ROOT: Final = Path(__file__).resolve().parents[1]
DIRECTORY: Final = ROOT / "config" / "directory"
PAGE: Final = ROOT / "docs" / "reference" / "directory-data.md"
METHODS: Final = ("commune", "postal-code", "city", "state")
LEVEL_3: Final = 5  # characters of a code
SUPPORT: Final = 8  # different codes that must begin alike before their beginning counts

Row = dict[str, Any]
_COLUMNS: Final = (
    "id", "country", "name", "name_lang", "type", "street", "postal_code", "city", "nuts", "nuts_by", "website", "email",
    "id_scheme", "id_value", "source", "source_ref",
)  # fmt: skip
_WORDS: Final = re.compile(r"[^\W\d_]+")
_COMMUNE: Final = re.compile(r"-([0-9][0-9AB][0-9]{3})-[0-9]+$")
_TOWN_OF: Final = re.compile(r", (?:Kreisfreie Stadt|Stadtkreis)$|^Grad |^Hlavní město |^Arr\. (?:de )?")
_COUNTRYSIDE: Final = ("DE", "NO", "SI", "LT", "LV", "CZ", "HR")  # plain labels there are no towns' names


def regions() -> dict[str, str]:
    """Code of every NUTS region of level 0 to 3 -> its label."""
    with gzip.open(DIRECTORY / "nuts.csv.gz", "rt", encoding="utf-8") as file:
        return {row["code"]: row["label"] for row in csv.DictReader(file) if "ZZ" not in row["code"]}


def given(row: Row) -> str:
    """The code the source gave, whatever this tool made of it."""
    return str(row.get("nuts_given", "" if "nuts_by" in row else row.get("nuts", "")))


def town(row: Row) -> str:
    """The folded name of a row's town, without the number and the Cedex behind it."""
    return " ".join(word for word in _WORDS.findall(fold(str(row.get("city", "")))) if word != "cedex")


def state_of(row: Row) -> str:
    """The State the seat is in: bodies of the Union sit in one."""
    return str(row.get("seat_country") or row["country"])


@dataclass
class Seats:
    """What the rows that have both say of towns and postal codes, in one State."""

    state: str
    labels: Mapping[str, str]  # of its regions of level 3
    codes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    towns: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    areas: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # first two digits -> level 1
    named: dict[str, str] = field(default_factory=dict)  # town a region is named for
    beginnings: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    departments: dict[str, str] = field(default_factory=dict)

    def learn(self, rows: Iterable[Row]) -> None:
        """Take in all rows of the State."""
        rows = list(rows)
        self.named = _named_towns(self.state, self.labels)
        if self.state == "FR":
            self.departments = _departments(rows, self.labels)
        for row in rows:
            code = given(row)
            known = code if code in self.labels else self.departments.get(_commune(row), "")
            if known:
                self._count(row, known, 1)
            elif town(row) in self.named:
                self._codes(row, self.named[town(row)], 1)

    def _count(self, row: Row, code: str, sign: int) -> None:
        self._codes(row, code, sign)
        if town(row):
            self.towns[town(row)][code] += sign

    def _codes(self, row: Row, code: str, sign: int) -> None:
        postal = _postal(row)
        if postal:
            self.codes[postal][code] += sign
            self.areas[postal[:2]][code[:3]] += sign
            if sign > 0:
                for length in range(3, len(postal)):
                    self.beginnings[postal[:length]][code].add(postal)

    def find(self, row: Row) -> tuple[str, str]:
        """The region of a row's seat and how it is known; two empty texts where it is not."""
        if _commune(row):
            found = self.departments.get(_commune(row), "")
            return found, "commune" if found else ""
        if len(self.labels) == 1:
            return next(iter(self.labels)), "state"
        if found := self._by_code(_postal(row)):
            return found, "postal-code"
        if found := self._by_town(row):
            return found, "city"
        return "", ""

    def _by_code(self, postal: str) -> str:
        if not postal:
            return ""
        if self.codes.get(postal):
            return _only(self.codes[postal])
        if self.state == "FR":
            return self.departments.get(_department_of(postal), "")
        for length in range(len(postal) - 1, 2, -1):
            found = self.beginnings.get(postal[:length], {})
            if len(found) > 1:
                return ""
            for code, codes in found.items():
                if len(codes) >= SUPPORT:
                    return code
        return ""

    def _by_town(self, row: Row) -> str:
        name = town(row)
        code = self.named.get(name) or _only(self.towns.get(name, Counter()))
        near = +self.areas.get(_postal(row)[:2], Counter())
        return code if not _postal(row) or code[:3] in near else ""

    def without(self, row: Row) -> str:
        """What would be found for a row with a region of its own, were that not known."""
        self._count(row, given(row), -1)
        blind = {key: value for key, value in row.items() if key not in {"nuts", "nuts_by", "nuts_given"}}
        code, _ = self.find(blind)
        self._count(row, given(row), 1)
        return code


def _only(counted: Counter[str]) -> str:
    found = [code for code, count in counted.items() if count > 0]
    return found[0] if len(found) == 1 else ""


def _postal(row: Row) -> str:
    """The postal code's letters and digits; what is too short to be one counts as none."""
    text = re.sub(r"[^0-9A-Z]", "", str(row.get("postal_code", "")).upper())
    text = text.removeprefix(str(row.get("iso2", ""))) if text[2:].isdigit() else text
    return text if len(text) >= 4 else ""


def _commune(row: Row) -> str:
    found = _COMMUNE.search(str(row.get("identifiers", {}).get("service-public", "")))
    return _department_of(found[1]) if found else ""


def _department_of(code: str) -> str:
    """Of a French commune number or postal code; the postal codes of Corsica say nothing."""
    if code[:2] == "20":
        return ""
    return code[:3] if code[:2] in {"97", "98"} else code[:2]


def _named_towns(state: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Towns that regions are named for, where no two are."""
    found: dict[str, set[str]] = defaultdict(set)
    for code, label in labels.items():
        bare = _TOWN_OF.sub("", label)
        if bare == label and (state in _COUNTRYSIDE and label not in {"Berlin", "Hamburg", "Oslo"}):
            continue
        if "Landkreis" in bare or "(" in bare:
            found[" ".join(_WORDS.findall(fold(bare.partition(" (")[0])))].add("")  # the name is not that of one only
            continue
        for part in re.split(r"/|, ", bare):
            found[" ".join(_WORDS.findall(fold(part)))].add(code)
    return {name: next(iter(codes)) for name, codes in found.items() if len(codes) == 1 and "" not in codes}


def _departments(rows: Iterable[Row], labels: Mapping[str, str]) -> dict[str, str]:
    """French département number -> region of level 3: the one that most of its bodies' names end with, and no other's."""
    ends = sorted(((" ".join(_WORDS.findall(fold(label))), code) for code, label in labels.items()), key=_longest)
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        number = _commune(row)
        name = f" {' '.join(_WORDS.findall(fold(row['name'])))}"
        code = next((code for end, code in ends if name.endswith(f" {end}")), "")
        if number and code:
            votes[number][code] += 1
    found = {number: counted.most_common(1)[0] for number, counted in votes.items()}
    sure = {n: code for n, (code, count) in found.items() if count > 4 and 2 * count > votes[n].total()}
    twice = {code for code, count in Counter(sure.values()).items() if count > 1}
    return {number: code for number, code in sure.items() if code not in twice}


def _longest(end: tuple[str, str]) -> int:
    return -len(end[0])


def learn(rows: Iterable[Row]) -> dict[str, Seats]:
    """What the rows say, by State."""
    labels = regions()
    by_state: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_state[state_of(row)].append(row)
    seats: dict[str, Seats] = {}
    for state, its in by_state.items():
        level_3 = {c: label for c, label in labels.items() if len(c) == LEVEL_3 and c[:2] == state}
        seats[state] = Seats(state, level_3)
        seats[state].learn(its)
    return seats


def derive(rows: Iterable[Row], seats: Mapping[str, Seats]) -> list[Row]:
    """Rows with the regions of their seats."""
    labels = regions()
    return [_seated(row, seats[state_of(row)], labels) for row in rows]


def check(rows: Iterable[Row], seats: Mapping[str, Seats]) -> Counter[tuple[str, str]]:
    """Known regions against what the rules say without them: (State, right | wrong | open) -> rows."""
    checked: Counter[tuple[str, str]] = Counter()
    for row in rows:
        state = state_of(row)
        if given(row) in seats[state].labels and len(seats[state].labels) > 1:
            blind = seats[state].without(row)
            checked[state, "open" if not blind else "right" if blind == given(row) else "wrong"] += 1
    return checked


def _seated(row: Row, seats: Seats, labels: Mapping[str, str]) -> Row:
    source = given(row)
    known = source if source in labels else ""
    made = {key: value for key, value in row.items() if key not in {"nuts", "nuts_by", "nuts_given"}}
    code, method = ("", "") if len(known) == LEVEL_3 else seats.find(row)
    if code and code.startswith(known):
        added = {"nuts": code, "nuts_by": method} | ({"nuts_given": source} if source else {})
    else:
        added = {"nuts": known} if known else {"nuts_given": source} if source else {}
    return made | added


def render(rows: Iterable[Row], bulk: Iterable[Row], checked: Mapping[tuple[str, str], int]) -> str:
    """The page."""
    lines = [_HEAD, *_table(rows, checked), _BULK, *_table(bulk, None)]
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[Row], checked: Mapping[tuple[str, str], int] | None) -> list[str]:
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        table[row["country"]].update(["rows", _kind(row)])
    columns = ("level 3 in the source", *METHODS, "larger region only", "whole State only", "none")
    last = [] if checked is None else ["check: right, wrong, open"]
    lines = [f"| {' | '.join(['State', 'rows', *columns, *last])} |", "|---" * (2 + len(columns) + len(last)) + "|"]
    for state, counted in [*sorted(table.items()), ("all", sum(table.values(), Counter()))]:
        cells = [state, *(str(counted[column]) for column in ("rows", *columns))]
        if checked is not None:
            its = {how: sum(n for (s, h), n in checked.items() if h == how and state in {s, "all"}) for how in _CHECKS}
            cells.append(", ".join(str(its[how]) for how in _CHECKS))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _kind(row: Row) -> str:
    if row.get("nuts_by"):
        return str(row["nuts_by"])
    sizes = {0: "none", 2: "whole State only", LEVEL_3: "level 3 in the source"}
    return sizes.get(len(row.get("nuts", "")), "larger region only")


_CHECKS: Final = ("right", "wrong", "open")
_HEAD: Final = """# The shipped directory

`python -m tools.seats` writes this page and the regions it counts. Sources and licences of every file:
`config/directory/ATTRIBUTION.md`.

## Which bodies have a region

A seat's region (`nuts`, level 3 where possible) comes from the source, or from its commune number, postal code or town
where these leave no doubt: `tools/seats.py` says by which rules. It is the region of the *seat*. Only bodies of a
region or a municipality get it as their territory too; the others' territory is not known, or the whole State.

The check takes the region of each body that has one away and asks the rules for it again: right, wrong, or open (no
rule says anything).
"""


_BULK: Final = """
## Municipalities in bulk

`config/directory/bulk/` holds the municipalities of France and Italy, for load tests and for a State that brings them
all. The same rules find their regions.
"""


def read() -> dict[Path, list[Row]]:
    """The rows of every file of authorities."""
    files = sorted((DIRECTORY / "authorities").glob("*.jsonl"))
    return {file: [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files}


def read_bulk(file: Path) -> list[Row]:
    """The rows of a file in bulk, shaped as the others are."""
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        rows: list[Row] = [{k: v for k, v in row.items() if v} for row in csv.DictReader(lines)]
    return [row | {"identifiers": {row["id_scheme"]: row["id_value"]}} for row in rows]


def write_bulk(rows: Iterable[Row]) -> bytes:
    """Inverse of read_bulk, the same bytes every time."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return gzip.compress(text.getvalue().encode(), 9, mtime=0)


def main() -> None:
    """Write the files and the page."""
    files = read()
    before = [row for its in files.values() for row in its]
    seats = learn(before)
    rows = derive(before, seats)
    left = iter(rows)
    for file, its in files.items():
        lines = [json.dumps(next(left), ensure_ascii=False) + "\n" for _ in its]
        file.write_text("".join(lines), encoding="utf-8")
    bulk: list[Row] = []
    for file in sorted((DIRECTORY / "bulk").glob("*.csv.gz")):
        found = derive(read_bulk(file), seats)
        file.write_bytes(write_bulk(found))
        bulk += found
    PAGE.write_text(render(rows, bulk, check(rows, seats)), encoding="utf-8")


if __name__ == "__main__":
    main()
