"""What a State hands to the publisher: its own role, signed where its key lies, and the files it vouches for.

The publisher has no key of any State. It checks a submission, stores it as it is, and takes a snapshot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import Base64Bytes, BaseModel, ConfigDict, ValidationError
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.api.serialization import DeserializationError

from pki.errors import BadTrustList
from pki.trustlist.models import (
    MAX_ENTRY_BYTES,
    NodeEntry,
    StateIndex,
    check_entry,
    check_relays,
    crl_path,
    entry_path,
    index_path,
    read_crl,
    read_entry,
    read_index,
)

STATE_VALID: Final = timedelta(days=90)
MAX_SUBMISSION_BYTES: Final = 64 * MAX_ENTRY_BYTES


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: str
    metadata: Base64Bytes
    files: dict[str, Base64Bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A State's signed role and its targets by path."""

    state: str
    metadata: bytes
    files: Mapping[str, bytes]

    def to_bytes(self) -> bytes:
        """As a JSON file that travels from the State to the publisher."""
        return (
            _File.model_construct(state=self.state, metadata=self.metadata, files=dict(self.files))
            .model_dump_json(indent=1)
            .encode()
            + b"\n"
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Submission:
        """Inverse of `to_bytes`; nothing is checked but the form. Raises BadTrustList."""
        if len(data) > MAX_SUBMISSION_BYTES:
            raise BadTrustList("the submission is too large")
        try:
            found = _File.model_validate_json(data)
        except ValidationError as error:
            raise BadTrustList("this is not a State's submission") from error
        return cls(state=found.state, metadata=found.metadata, files=found.files)


def state_role(state: str) -> str:
    """The TUF role a State's entries are signed under."""
    return f"state-{state}"


def sign_state(
    state: str, signer: CryptoSigner, entries: Iterable[NodeEntry], crl: bytes, *, version: int, at: datetime
) -> Submission:
    """Everything a State says of its nodes, signed.

    Args:
        entries: all of them; a node left out leaves the trust list.
        crl: the revocation list in PEM.
        version: one more than that of the role in the list now.

    Raises:
        BadTrustList: a relay cannot be used.
    """
    listed = tuple(entries)
    check_relays(listed)
    index = StateIndex(state=state, nodes=tuple(sorted(entry.node for entry in listed)))
    files = {index_path(state): _json(index), crl_path(state): crl}
    files |= {entry_path(state, entry.node): _json(entry) for entry in listed}
    role = Metadata(
        Targets(
            version=version,
            expires=at.replace(microsecond=0) + STATE_VALID,
            targets={path: TargetFile.from_data(path, data, ["sha256"]) for path, data in files.items()},
        )
    )
    role.sign(signer)
    return Submission(state=state, metadata=role.to_bytes(), files=files)


def read_role(metadata: bytes) -> Metadata[Targets]:
    """A State's role from bytes; its signature is not checked here. Raises BadTrustList."""
    try:
        role = Metadata[Targets].from_bytes(metadata)
    except DeserializationError as error:
        raise BadTrustList("the role is malformed") from error
    if not isinstance(role.signed, Targets):
        raise BadTrustList("the role is of another kind")
    return role


def check(submission: Submission, delegator: Targets, *, at: datetime) -> Metadata[Targets]:
    """The State's role, if the publisher may store it.

    Raises:
        BadTrustList: not signed by the State's delegated key, about another State, expired, or not what nodes can read.
    """
    role = read_role(submission.metadata)
    try:
        delegator.verify_delegate(state_role(submission.state), role.signed_bytes, role.signatures)
    except (ValueError, RepositoryError) as error:
        raise BadTrustList(f"this is not signed with the delegated key of {submission.state}") from error
    if role.signed.is_expired(at):
        raise BadTrustList(f"what {submission.state} says has expired")
    _check_files(submission, role.signed)
    _check_content(submission, at)
    return role


def _check_files(submission: Submission, role: Targets) -> None:
    if role.delegations is not None or set(role.targets) != set(submission.files):
        raise BadTrustList("the signed role and the files do not match")
    for path, data in submission.files.items():
        if role.targets[path].hashes != {"sha256": hashlib.sha256(data).hexdigest()}:
            raise BadTrustList(f"{path} is not the file that was signed")


def _check_content(submission: Submission, at: datetime) -> None:
    state, files = submission.state, submission.files
    index = read_index(files.get(index_path(state), b""), state)
    crl = read_crl(files.get(crl_path(state), b""), state)
    expected = {index_path(state), crl_path(state), *(entry_path(state, node) for node in index.nodes)}
    if expected != set(files):
        raise BadTrustList(f"the index of {state} does not name the entries it comes with")
    entries = [read_entry(files[entry_path(state, node)], state, node) for node in index.nodes]
    for entry in entries:
        check_entry(entry, crl, at=at)
    check_relays(entries)


def _json(model: NodeEntry | StateIndex) -> bytes:
    return model.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"
