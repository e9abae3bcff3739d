"""Who is competent for this? From an area, a profession or activity and a place to the authority, with the reason.

The nearest counts: the bodies whose territory is the smallest that holds the place; else, of a large region, those of
its parts; else those for the whole State. Where no authority is listed, the coordinator of the area is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from node.directory.folding import MAX_TYPED, spellings, words
from node.directory.index import PLACE, All, Expression, Index, Some, Word, code
from node.directory.model import Authority
from node.directory.regions import region_names
from node.directory.search import LOCAL
from node.ids import AuthorityId, State

MOST: Final = 20
_ROLES: Final = ("ca", "alert-authority")
_TOWNS: Final = 200  # bodies that are looked at
_SHORTEST: Final = 3  # letters of a NUTS code of level 1


class Reason(StrEnum):
    """Why these authorities are the answer."""

    REGION = "region"  # their territory holds the place
    PARTS = "parts"  # they are for parts of the region asked for
    NATIONWIDE = "nationwide"  # they are for the whole State
    REGIONAL = "regional"  # each is for its own region; no place was asked for
    COORDINATOR = "coordinator"  # no authority is listed: who coordinates the area in the region or the State
    NOBODY = "nobody"  # not even a coordinator is listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What somebody needs an authority for. `region`: a NUTS code; `place`: a town or postal code instead of it."""

    area: str
    state: State
    profession: str = ""
    activity: str = ""
    region: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Competent:
    """The answer. `region`: the NUTS code the place lies in, empty if none was asked for or it is not known."""

    authorities: tuple[Authority, ...]
    reason: Reason
    region: str = ""
    is_place_known: bool = True


def competent(
    index: Index, need: Need, *, read: Callable[[AuthorityId], Authority | None], regions: Mapping[str, str]
) -> Competent:
    """Who is competent for a need.

    Args:
        read: an authority by its id.
        regions: NUTS code -> name, of all that are known.
    """
    region, is_known = _place(index, need, read, regions)
    in_state = (code("kind", Authority.kind), code("state", need.state), code("status", "active"))
    subject = [
        code(kind, value) for kind, value in (("profession", need.profession), ("activity", need.activity)) if value
    ]
    for_area = Some((code("area", need.area), *(code("role", f"{need.area}/{role}") for role in _ROLES)))
    found = _nearest(index, All((*in_state, for_area, *subject)), region, need.state, read)
    if not found[0]:
        wanted = All((*in_state, code("role", f"{need.area}/coordinator")))
        found = _nearest(index, wanted, region, need.state, read)[0], Reason.COORDINATOR
    authorities, reason = found
    return Competent(
        authorities=tuple(authorities),
        reason=reason if authorities else Reason.NOBODY,
        region=region,
        is_place_known=is_known,
    )


def reason_in_words(need: Need, found: Competent, text: Callable[..., str]) -> str:
    """Why, for a reader: `text` gives the text of a key in the reader's language, filled in."""
    named = [
        text(f"list.{kind}.{value}")
        for kind, value in (("profession", need.profession), ("activity", need.activity))
        if value
    ]
    area, state = text(f"area.{need.area}"), text(f"list.country.{need.state}")
    region = f"{region_names().get(found.region, '')} ({found.region})".strip() if found.region else ""
    values = {
        "subject": ", ".join(named) or area,
        "area": area,
        "state": state,
        "region": region,
        "where": region or state,
    }
    why = text(f"competent.reason.{found.reason.value}", **values)
    return why if found.is_place_known else f"{text('competent.place-unknown', place=need.place or need.region)} {why}"


def _nearest(
    index: Index, wanted: Expression, region: str, state: State, read: Callable[[AuthorityId], Authority | None]
) -> tuple[list[Authority], Reason]:
    steps: list[tuple[Expression, Reason]] = []
    if region:
        steps += [(code("at", region[:end]), Reason.REGION) for end in range(len(region), 2, -1)]
        steps.append((code("nuts", region), Reason.PARTS))
    steps.append((code("at", state), Reason.NATIONWIDE))
    if not region:
        steps.append((code("nuts", state), Reason.REGIONAL))
    for where, reason in steps:
        rows = index.first(All((wanted, where)), limit=_TOWNS)
        found = [authority for row in rows if (authority := read(AuthorityId(row.id)))]
        if reason in (
            Reason.PARTS,
            Reason.REGIONAL,
        ):  # a national body that only has its seat there is not for the region
            found = [authority for authority in found if authority.territory or authority.level in LOCAL]
        if found:
            return found[:MOST], reason
    return [], Reason.NOBODY


def _place(
    index: Index, need: Need, read: Callable[[AuthorityId], Authority | None], regions: Mapping[str, str]
) -> tuple[str, bool]:
    """The region asked for, and whether the place is known: a NUTS code, a town where bodies sit, a region's name."""
    asked = need.region or need.place
    if not asked:
        return "", True
    as_code = asked.strip().upper()
    if as_code == need.state:
        return "", True
    if len(as_code) >= _SHORTEST and as_code.startswith(need.state) and as_code in regions:
        return as_code, True
    typed = words(need.place[:MAX_TYPED])
    if not typed:
        return "", False
    there = All((code("state", need.state), *(Word(word, (PLACE,)) for word in typed)))
    rows = index.first(there, limit=_TOWNS)
    seats = (_seat(authority, typed) for row in rows if (authority := read(AuthorityId(row.id))))
    counted = Counter(seat for seat in seats if seat)
    if counted:
        return counted.most_common(1)[0][0], True
    of_state = (nuts for nuts in regions if nuts.startswith(need.state))
    named = [nuts for nuts in of_state if words(regions[nuts].partition(",")[0]) == typed]
    return (min(named, key=len), True) if named else ("", False)


def _seat(authority: Authority, typed: Sequence[str]) -> str:
    """The region of a body's seat, if it lies in the town that was typed."""
    own, others = spellings(" ".join(authority.address.get(part, "") for part in ("city", "postal_code")))
    if not {*typed} <= {*own, *others}:
        return ""
    return authority.address.get("nuts", "") or (authority.territory[0] if len(authority.territory) == 1 else "")
