"""What casework refuses, each with its stable code."""

from __future__ import annotations

from node.errors import ImiError, Refused, Unavailable


class UnknownCase(Refused):
    """There is no such case or draft, or the official's authority has no part in it (the two look the same)."""

    code = "refused.unknown-case"


class StepNotAllowed(Refused):
    """The step is not possible in this state, or not for this party or user. `reason` is the domain's code."""

    code = "refused.step-not-allowed"


class StaleForm(Refused):
    """The case or draft changed after the form was read; nothing was stored."""

    code = "refused.stale-form"


class InvalidContent(Refused):
    """The content does not fit the forms. `faults` lists (form, field, fault code); no value is repeated."""

    code = "refused.invalid-content"

    def __init__(self, message: str, faults: tuple[tuple[str, str, str], ...]) -> None:
        super().__init__(message, count=len(faults))
        self.faults = faults


class InvalidControl(Refused):
    """The step's control data (authorities, dates, questions) is missing or not as declared."""

    code = "refused.invalid-control"


class NoAccess(Refused):
    """The authority has no access to this procedure, or the user's role does not allow it."""

    code = "refused.no-access"


class AuthorityMoving(Refused):
    """The authority is moving to another node of its State, or has moved; nothing is signed for it here."""

    code = "refused.authority-moving"


class CaseOnItsWay(Refused):
    """The authority came to this node, and what it did in this case has not come whole yet."""

    code = "refused.case-on-its-way"


class NotYetArrived(Refused):
    """An authority cannot be accepted before all its cases are here; `arrived` of `expected` are."""

    code = "refused.not-yet-arrived"


class AuthorityNotChosen(Refused):
    """The official acts for several authorities that could do this: the request must say for which one (`for`)."""

    code = "refused.authority-not-chosen"


class RecipientWithoutAccess(Refused):
    """An authority named in the step is not one that takes part in this procedure."""

    code = "refused.recipient-without-access"


class RecipientWithoutNode(Refused):
    """The State of an authority named as recipient has no node yet: its authorities are listed, but cannot be reached."""

    code = "refused.recipient-without-node"


class UnknownProcedure(Refused):
    """The catalogue has no such procedure, or not in that version."""

    code = "refused.unknown-procedure"


class UnknownLanguage(Refused):
    """Not one of the 24 official languages' codes."""

    code = "refused.unknown-language"


class UnknownFile(Refused):
    """No such file in this case, or not for this reader."""

    code = "refused.unknown-file"


class BadFileName(Refused):
    """The file name holds a folder, control characters or nothing."""

    code = "refused.bad-file-name"


class BadFileType(Refused):
    """The media type is malformed."""

    code = "refused.bad-file-type"


class TooMuchContent(Refused):
    """The texts of one act are larger together than a message may be."""

    code = "refused.too-much-content"


class FileNotHere(Unavailable):
    """The file is named in the case, its bytes are not on this node (yet)."""

    code = "unavailable.file-not-here"


class CaseBlocked(Refused):
    """The case is blocked after its closure (Reg. 1024/2012 Art. 14): personal data is out of reach."""

    code = "refused.case-blocked"


class RepeatedKeyDiffers(Refused):
    """The Idempotency-Key was used before for another request."""

    code = "refused.repeated-key-differs"


class CaseErased(Refused):
    """The case's key was destroyed: its content is gone for good."""

    code = "refused.case-erased"


class SignInRefused(Refused):
    """Name or password is wrong, or the account is closed (the three look the same)."""

    code = "refused.sign-in"


class SignInThrottled(Refused):
    """Too many failed sign-ins; `seconds` says when the next may be tried."""

    code = "refused.sign-in-throttled"


class SessionExpired(Refused):
    """The session ended, by time or by signing out."""

    code = "refused.session-expired"


class BadToken(Refused):
    """The API token is unknown, expired or revoked."""

    code = "refused.bad-token"


class LoginTaken(Refused):
    """Another user has this login."""

    code = "refused.login-taken"


class WeakPassword(Refused):
    """Shorter than 12 characters, or the login itself."""

    code = "refused.weak-password"


class UnknownUser(Refused):
    """No user has this login."""

    code = "refused.unknown-user"


class UnknownInvitation(Refused):
    """No invitation has this code, or it was withdrawn, or its time is over (the three look the same)."""

    code = "refused.unknown-invitation"


class TooManyGuesses(Refused):
    """Too many wrong codes from one address; `seconds` says when the next may be tried."""

    code = "refused.too-many-guesses"


class UnknownRegistration(Refused):
    """There is no such registration or request for access, or it is another coordinator's (the two look the same)."""

    code = "refused.unknown-registration"


class AlreadyDecided(Refused):
    """The registration or request was submitted, decided or withdrawn before; nothing changed."""

    code = "refused.already-decided"


class InvalidProfile(Refused):
    """The profile of an authority cannot be taken as it is. `faults` lists (field, fault code); no value is repeated."""

    code = "refused.invalid-profile"

    def __init__(self, message: str, faults: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message, count=len(faults))
        self.faults = faults


class ReasonMissing(Refused):
    """This decision needs a reason: those whom it concerns read it."""

    code = "refused.reason-missing"


class NotCoordinator(Refused):
    """The act is for the authority's coordinator: this official's authority is not linked to it for that function."""

    code = "refused.not-coordinator"


class NotAdministrator(Refused):
    """The act needs the role of a local data administrator, or at a coordinator that of a data administrator."""

    code = "refused.not-administrator"


class AuthoritySuspended(Refused):
    """The authority is suspended or has left: it may finish its cases, and open none."""

    code = "refused.authority-suspended"


class NothingToChange(Refused):
    """The authority's status does not allow this: it is not suspended, or it has left already."""

    code = "refused.wrong-status"


class OpenCases(Refused):
    """The authority has open cases in this area or procedure: it must be able to finish them first; suspend it meanwhile."""

    code = "refused.open-cases"


class UnknownRole(Refused):
    """A user role or directory role that the catalogue's list does not have, or that is given to nobody."""

    code = "refused.unknown-role"


class UnknownScope(Refused):
    """Not an area of law or procedure of the catalogue."""

    code = "refused.unknown-scope"


class LastAdministrator(Refused):
    """An authority keeps at least one local data administrator: make another one first."""

    code = "refused.last-administrator"


class MissingName(Refused):
    """A user has a login and a name, each of at most 200 characters."""

    code = "refused.missing-name"


def all_codes() -> tuple[str, ...]:
    """Every code of this module, for the reference."""
    return tuple(sorted(c.code for c in globals().values() if isinstance(c, type) and issubclass(c, ImiError)))
