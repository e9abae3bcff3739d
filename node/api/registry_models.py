"""What goes in and comes out about authorities that take part, their access and their users."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from node.api.models import Link

_Text = Annotated[str, StringConstraints(max_length=400)]
_Words = Annotated[str, StringConstraints(max_length=4000)]
_Code = Annotated[str, StringConstraints(max_length=130)]
_Lang = Annotated[str, StringConstraints(max_length=8)]
_Codes = Annotated[list[_Code], Field(max_length=200)]
_Access = Annotated[dict[_Code, _Codes], Field(max_length=200)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Profile(_In):
    """What an authority says of itself."""

    names: dict[_Lang, _Text] = Field(description="Official name by language; at least one.")
    informal: dict[_Lang, _Text] = Field(default={}, description="Short, self-explaining name by language.")
    type: _Text = ""
    level: _Text = Field(default="", description="national, regional or local.")
    parent: _Code = Field(default="", description="Identifier of the parent body.")
    territory: _Codes = Field(default=[], description="NUTS codes of the own State; none: the whole State.")
    professions: _Codes = []
    activities: _Codes = []
    keywords: Annotated[list[_Text], Field(max_length=200)] = []
    competence: dict[_Lang, _Words] = Field(default={}, description="What it is competent for, by language.")
    languages: _Codes = Field(default=[], description="Working languages, the preferred first.")
    street: _Text = ""
    postal_code: _Text = ""
    city: _Text = ""
    email: _Text = Field(default="", description="A mailbox of the office, no person's.")
    phone: _Text = ""
    website: Annotated[str, StringConstraints(max_length=520)] = ""
    contact: _Text = Field(default="", description="An office or unit, no person.")


class FirstUser(_In):
    """Gets all rights in the authority."""

    login: _Text
    name: _Text
    password: Annotated[str, StringConstraints(max_length=1000)]
    language: _Lang


class InvitationRequest(_In):
    """Whom an invitation is for."""

    name: _Text
    scopes: _Codes = Field(default=[], description="Areas and procedures that the invitation is for.")
    language: _Lang = "en"


class Invitation(_Out):
    id: int
    code: str = Field(description="Of the link `/register/{code}`; shown this once.")
    expires_at: datetime


class RegistrationRequest(_In):
    """An authority that its coordinator registers itself."""

    profile: Profile
    access: _Access = Field(default={}, description="Area or procedure -> directory roles.")
    first_user: FirstUser | None = None


class Registered(_Out):
    authority: str


class Registration(_Out):
    id: int
    state: str = Field(description="invited, submitted, validated, rejected, withdrawn or expired.")
    name: str
    scopes: list[str]
    language: str
    created_at: datetime
    expires_at: datetime
    submitted_at: datetime | None
    decided_at: datetime | None
    reason: str
    profile: Profile | None
    access: dict[str, list[str]] = Field(description="What was asked for.")
    first_user: str = Field(description="Name of the first user, until the decision.")
    authority: str | None = Field(description="Identifier, once it is validated.")
    published: bool = Field(description="Whether its entry is in the directory.")


class Registrations(_Out):
    registrations: list[Registration]


class AccessGrant(_In):
    """Access that is granted: area or procedure -> directory roles."""

    access: _Access


class Reason(_In):
    """Why."""

    reason: Annotated[str, StringConstraints(max_length=2000)]


class SettingsRequest(_In):
    """How the authority works in an area or procedure."""

    scope: _Code
    settings: dict[_Code, _Code] = Field(
        description="approve-requests, approve-replies, allocation, referral: yes or no; reply-language; empty: unset."
    )


class CoordinatorLink(_In):
    """A coordinator, and for what."""

    coordinator: _Code
    function: Literal["validating", "access", "request", "alert", "notification"]
    area: _Code = ""


class Coordinators(_In):
    """All coordinators an authority is linked to."""

    coordinators: Annotated[list[CoordinatorLink], Field(max_length=40)]


class AccessWithdrawal(_In):
    """Access that is taken away."""

    scope: _Code
    reason: Annotated[str, StringConstraints(max_length=2000)]


class AccessQuestion(_In):
    """Access that is asked for."""

    scope: _Code
    roles: _Codes


class Roles(_In):
    """Directory roles."""

    roles: _Codes


class AccessRequest(_Out):
    id: int
    authority: str
    scope: str
    roles: list[str]
    state: str = Field(description="requested, granted or refused.")
    asked_at: datetime
    decided_at: datetime | None
    reason: str


class AccessRequests(_Out):
    requests: list[AccessRequest]


class Decision(_Out):
    act: str
    subject: str
    reason: str
    at: datetime
    coordinator: str = Field(description="Who decided; empty: the node's operator.")


class OwnAuthority(_Out):
    """An authority with all that its own people and its coordinator may know."""

    id: str
    status: str
    publishing: bool = Field(description="Whether a change is on its way into the directory.")
    review_due: bool
    registered: date | None
    reviewed: date | None
    represented_by: str
    profile: Profile
    roles: dict[str, list[str]]
    settings: dict[str, dict[str, str]]
    coordinators: list[Link]
    access: list[AccessRequest]
    decisions: list[Decision]


class UserRequest(_In):
    """A user to register."""

    login: _Text
    name: _Text
    roles: _Codes
    language: _Lang = "en"


class UserChange(_In):
    """Name and roles of a user."""

    name: _Text
    roles: _Codes


class User(_Out):
    id: int
    login: str
    name: str
    roles: list[str]
    language: str


class Users(_Out):
    users: list[User]


class UserLink(_Out):
    user: User
    code: str = Field(description="Of the link `/set-password/{code}`, valid three days; shown this once.")
