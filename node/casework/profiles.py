"""What an authority says of itself, checked before it becomes an entry of the directory (imi.md section 2.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from node.casework.errors import InvalidProfile
from node.catalogue import Catalogue
from node.catalogue.texts import LANGUAGES
from node.directory import Directory
from node.directory.folding import fold
from node.directory.model import Authority
from node.directory.regions import regions_of
from node.directory.rules import official_languages
from node.errors import ImiError
from node.ids import AuthorityId, NodeId, State, parse_authority, state_of

LEVELS: Final = ("national", "regional", "local")
TYPES: Final = (
    "ministry",
    "national_authority",
    "regional_authority",
    "municipality",
    "professional_body",
    "public_body",
)
LONGEST_NAME: Final = 400
LONGEST_TEXT: Final = 4000
LARGEST: Final = 24 * 1024  # bytes of all it says; an entry has 32 KiB, with access, links and settings
MOST_KEYWORDS: Final = 40
MOST_TERRITORIES: Final = 100
_EMAIL: Final = re.compile(r"[^\s@<>\"]{1,64}@[^\s@<>\"]{1,190}")
_WEBSITE: Final = re.compile(r"https?://[^\s<>\"]{1,500}")
_LOOKALIKES: Final = 5
_ALIKE: Final = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What an authority's own people keep current. Names and competence by language; codes are the catalogue's."""

    names: Mapping[str, str]
    informal: Mapping[str, str] = field(default_factory=dict)
    type: str = ""
    level: str = ""
    parent: str = ""
    territory: tuple[str, ...] = ()
    professions: tuple[str, ...] = ()
    activities: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    competence: Mapping[str, str] = field(default_factory=dict)
    languages: tuple[str, ...] = ()  # working languages, the preferred first
    street: str = ""
    postal_code: str = ""
    city: str = ""
    email: str = ""  # of the office, no person's
    phone: str = ""
    website: str = ""
    contact: str = ""  # an office or unit, no person


def profile_of(authority: Authority) -> Profile:
    """What an entry says, as its own people may change it."""
    return Profile(
        names=dict(authority.names),
        informal=dict(authority.informal),
        type=authority.type,
        level=authority.level,
        parent=authority.parent,
        territory=authority.territory,
        professions=authority.professions,
        activities=authority.activities,
        keywords=authority.keywords,
        competence=dict(authority.competence),
        languages=authority.languages,
        street=authority.address.get("street", ""),
        postal_code=authority.address.get("postal_code", ""),
        city=authority.address.get("city", ""),
        email=authority.email,
        phone=authority.phone,
        website=authority.website,
        contact=authority.contact,
    )


def with_profile(authority: Authority, profile: Profile) -> Authority:
    """An entry that says this of itself. Status, access, links and settings stay."""
    address = {"street": profile.street, "postal_code": profile.postal_code, "city": profile.city}
    names = {lang: name for lang, name in profile.names.items() if name}
    first = official_languages(authority.state)[0]
    return replace(
        authority,
        names=names,
        name_lang=authority.name_lang if authority.name_lang in names else first if first in names else min(names),
        informal={lang: name for lang, name in profile.informal.items() if name},
        type=profile.type,
        level=profile.level,
        parent=AuthorityId(profile.parent) if profile.parent else "",
        territory=profile.territory,
        professions=profile.professions,
        activities=profile.activities,
        keywords=profile.keywords,
        competence={lang: words for lang, words in profile.competence.items() if words},
        languages=profile.languages,
        address={name: value for name, value in {**authority.address, **address}.items() if value},
        email=profile.email,
        phone=profile.phone,
        website=profile.website,
        contact=profile.contact,
    )


def blank(node: NodeId, identifier: AuthorityId) -> Authority:
    """An entry that says nothing yet."""
    return Authority(id=identifier, node=node, names={"en": identifier}, name_lang="en")


def check(profile: Profile, *, state: State, catalogue: Catalogue, find: Callable[[AuthorityId], object]) -> None:
    """Raises InvalidProfile with all faults.

    Args:
        find: raises an ImiError for an authority that the directory does not know.
    """
    faults = tuple(
        dict.fromkeys((*_of_names(profile), *_of_texts(profile), *_of_codes(profile, state, catalogue, find)))
    )
    if faults:
        raise InvalidProfile("the profile cannot be taken as it is", faults)


def _of_names(profile: Profile) -> Iterator[tuple[str, str]]:
    if not any(name.strip() for name in profile.names.values()):
        yield "names", "missing"
    for name, texts in (("names", profile.names), ("informal", profile.informal), ("competence", profile.competence)):
        longest = LONGEST_TEXT if name == "competence" else LONGEST_NAME
        if any(lang not in LANGUAGES for lang in texts):
            yield name, "language"
        if any(len(text) > longest for text in texts.values()):
            yield name, "too-long"
    if len(json.dumps(asdict(profile), ensure_ascii=False).encode()) > LARGEST:
        yield "competence", "too-long"


def _of_texts(profile: Profile) -> Iterator[tuple[str, str]]:
    for name in ("street", "postal_code", "city", "email", "phone", "contact"):
        if len(getattr(profile, name)) > LONGEST_NAME:
            yield name, "too-long"
    if not profile.city:
        yield "city", "missing"
    if not profile.email:
        yield "email", "missing"
    elif not _EMAIL.fullmatch(profile.email):
        yield "email", "malformed"
    if profile.website and not _WEBSITE.fullmatch(profile.website):
        yield "website", "malformed"
    if len(profile.keywords) > MOST_KEYWORDS or any(len(word) > 100 for word in profile.keywords):
        yield "keywords", "too-long"


def _of_codes(
    profile: Profile, state: State, catalogue: Catalogue, find: Callable[[AuthorityId], object]
) -> Iterator[tuple[str, str]]:
    if profile.level not in LEVELS:
        yield "level", "choice" if profile.level else "missing"
    if len(profile.type) > 100:
        yield "type", "too-long"
    if not profile.languages:
        yield "languages", "missing"
    if any(code not in LANGUAGES for code in profile.languages):
        yield "languages", "language"
    for name, codes in (("profession", profile.professions), ("activity", profile.activities)):
        if any(code not in catalogue.lists.get(name, ()) for code in codes):
            yield {"profession": "professions", "activity": "activities"}[name], "choice"
    territories = profile.territory
    known = {state, *(code for code, _ in regions_of(state))}
    if len(territories) > MOST_TERRITORIES or any(code not in known for code in territories):
        yield "territory", "territory"
    if profile.parent and not _is_known(profile.parent, state, find):
        yield "parent", "unknown"


def _is_known(parent: str, state: State, find: Callable[[AuthorityId], object]) -> bool:
    try:
        found = parse_authority(parent)
        find(found)
    except ImiError:
        return False
    return state_of(found) == state


def lookalikes(directory: Directory, profile: Profile, state: State) -> tuple[Authority, ...]:
    """Authorities of the State that this one may be: a name alike, or one of few alike in the same city."""
    named = [name for name in (*profile.names.values(), *profile.informal.values()) if name.strip()]
    asked = [words for name in named for words in (name, f"{name} {profile.city}")]
    known = [hit.authority for words in asked for hit in directory.search(words, state=state, limit=20).hits]
    found: dict[AuthorityId, tuple[float, Authority]] = {}
    for authority in (*known, *directory.suspended(state)):  # a search finds active ones only
        near = _likeness(authority, named, profile.city)
        if near >= _ALIKE:
            found[authority.id] = (near, authority)
    ordered = sorted(found.values(), key=lambda pair: (-pair[0], pair[1].id))
    return tuple(authority for _, authority in ordered[:_LOOKALIKES])


def _likeness(authority: Authority, named: list[str], city: str) -> float:
    """How much of the words two names have in common; sharing the city counts for a little."""
    theirs = [set(fold(name).split()) for name in (*authority.names.values(), *authority.informal.values())]
    ours = [set(fold(name).split()) for name in named]
    shared = max((len(a & b) / max(len(a | b), 1) for a in ours for b in theirs), default=0.0)
    same_city = bool(city) and fold(city) == fold(authority.address.get("city", ""))
    return shared + (0.2 if same_city else 0.0)
