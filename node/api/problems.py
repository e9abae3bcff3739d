"""Errors as HTTP says them: RFC 9457 problem details. The one place that knows statuses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from node.casework.errors import InvalidContent, InvalidProfile
from node.errors import ImiError, PeerError, Refused, SetupError, Unavailable

TYPE: Final = "application/problem+json"
_STATUS: Final = {
    "refused.bad-identifier": HTTPStatus.BAD_REQUEST,
    "refused.bad-request": HTTPStatus.BAD_REQUEST,
    "refused.bad-token": HTTPStatus.UNAUTHORIZED,
    "refused.session-expired": HTTPStatus.UNAUTHORIZED,
    "refused.sign-in": HTTPStatus.UNAUTHORIZED,
    "refused.sign-in-throttled": HTTPStatus.TOO_MANY_REQUESTS,
    "refused.no-access": HTTPStatus.FORBIDDEN,
    "refused.authority-moving": HTTPStatus.CONFLICT,
    "refused.case-on-its-way": HTTPStatus.CONFLICT,
    "refused.case-blocked": HTTPStatus.FORBIDDEN,
    "refused.unknown-case": HTTPStatus.NOT_FOUND,
    "refused.unknown-file": HTTPStatus.NOT_FOUND,
    "refused.unknown-procedure": HTTPStatus.NOT_FOUND,
    "refused.unknown-authority": HTTPStatus.NOT_FOUND,
    "refused.unknown-register": HTTPStatus.NOT_FOUND,
    "refused.case-erased": HTTPStatus.GONE,
    "refused.step-not-allowed": HTTPStatus.CONFLICT,
    "refused.repeated-key-differs": HTTPStatus.CONFLICT,
    "refused.stale-form": HTTPStatus.PRECONDITION_FAILED,
    "refused.file-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "refused.too-much-content": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "refused.unknown-invitation": HTTPStatus.NOT_FOUND,
    "refused.unknown-registration": HTTPStatus.NOT_FOUND,
    "refused.not-coordinator": HTTPStatus.FORBIDDEN,
    "refused.not-administrator": HTTPStatus.FORBIDDEN,
    "refused.authority-suspended": HTTPStatus.FORBIDDEN,
    "refused.already-decided": HTTPStatus.CONFLICT,
    "refused.wrong-status": HTTPStatus.CONFLICT,
    "refused.open-cases": HTTPStatus.CONFLICT,
    "refused.too-many-guesses": HTTPStatus.TOO_MANY_REQUESTS,
    "refused.unknown-user": HTTPStatus.NOT_FOUND,
}


class BadRequest(Refused):
    """The request is not what the API takes: not JSON, fields missing, unknown or malformed. `faults` says where."""

    code = "refused.bad-request"

    def __init__(self, message: str, faults: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


def status_of(error: ImiError) -> HTTPStatus:
    """The HTTP status of an expected failure."""
    if error.code in _STATUS:
        return _STATUS[error.code]
    match error:
        case Unavailable():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case Refused():
            return HTTPStatus.UNPROCESSABLE_ENTITY
        case PeerError():
            return HTTPStatus.BAD_GATEWAY
        case SetupError():
            return HTTPStatus.INTERNAL_SERVER_ERROR
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR


def problem_of(error: ImiError, *, instance: str) -> dict[str, Any]:
    """The body of a problem. `code` is stable; `detail` is English, for developers; no personal data in either."""
    status = status_of(error)
    body = problem(error.code, status, str(error), instance=instance)
    if error.details:
        body["details"] = dict(error.details)
    if isinstance(error, InvalidContent):
        body["faults"] = [{"form": form, "field": field, "code": code} for form, field, code in error.faults]
    if isinstance(error, (BadRequest, InvalidProfile)) and error.faults:
        body["faults"] = [{"field": field, "code": code} for field, code in error.faults]
    return body


def problem(code: str, status: HTTPStatus, detail: str, *, instance: str) -> dict[str, Any]:
    return {
        "type": f"urn:imi:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "instance": instance,
    }


def response(body: dict[str, Any], **headers: str) -> web.Response:
    """A problem as a response."""
    answer = web.json_response(body, status=body["status"], headers=headers)
    answer.content_type = TYPE
    return answer
