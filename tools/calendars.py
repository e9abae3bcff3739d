"""Writes config/calendars/<State>.toml: zone and public holidays of each State, and of the Union's institutions.

    python tools/calendars.py [FOLDER] [FIRST LAST]

Public holidays come from the package `holidays` (its national sets: what all of a State has). A published year never
changes; adding years later, give each its edition under `[since]`. For the Union: the public holidays the European
Central Bank's payment system keeps, the one set of them in the package; the Commission publishes its own list each
year (Reg. 1182/71 Art. 2(1)), which is to be compared with these before an edition is published.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import holidays

ZONES = {
    "AT": "Europe/Vienna", "BE": "Europe/Brussels", "BG": "Europe/Sofia", "CY": "Asia/Nicosia", "CZ": "Europe/Prague",
    "DE": "Europe/Berlin", "DK": "Europe/Copenhagen", "EE": "Europe/Tallinn", "EL": "Europe/Athens",
    "ES": "Europe/Madrid", "FI": "Europe/Helsinki", "FR": "Europe/Paris", "HR": "Europe/Zagreb",
    "HU": "Europe/Budapest", "IE": "Europe/Dublin", "IS": "Atlantic/Reykjavik", "IT": "Europe/Rome",
    "LI": "Europe/Vaduz", "LT": "Europe/Vilnius", "LU": "Europe/Luxembourg", "LV": "Europe/Riga",
    "MT": "Europe/Malta", "NL": "Europe/Amsterdam", "NO": "Europe/Oslo", "PL": "Europe/Warsaw",
    "PT": "Europe/Lisbon", "RO": "Europe/Bucharest", "SE": "Europe/Stockholm", "SI": "Europe/Ljubljana",
    "SK": "Europe/Bratislava", "EU": "Europe/Brussels",
}  # fmt: skip
ISO = {"EL": "GR"}  # the package knows States by their ISO code


def days_of(state: str, years: range) -> dict[int, list[date]]:
    """A State's public holidays that fall in each year, in order."""
    found = (
        holidays.financial_holidays("XECB", years=years)
        if state == "EU"
        else holidays.country_holidays(ISO.get(state, state), years=years)
    )
    return {year: sorted(day for day in found if day.year == year) for year in years}


def text_of(state: str, days: dict[int, list[date]]) -> str:
    lines = [
        f"# Written by tools/calendars.py from the package holidays {holidays.__version__}; published years never change."
    ]
    lines += [f'zone = "{ZONES[state]}"', "", "[holidays]"]
    lines += [f"{year} = [{', '.join(day.isoformat() for day in listed)}]" for year, listed in days.items()]
    return "\n".join(lines) + "\n"


def main(folder: str = "config/calendars", first: str = "2025", last: str = "2029") -> None:
    for state in ZONES:
        path = Path(folder) / f"{state}.toml"
        path.write_text(text_of(state, days_of(state, range(int(first), int(last) + 1))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
