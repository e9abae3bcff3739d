"""Making AS4 messages of what waits in the outbox: contents fetched, then signed and encrypted, each on its own.

What cannot be built is told apart from what cannot be built now: a message that will never do is `Unbuildable` and
stops only its own order key; Unavailable goes up, and the lane tries again later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.orm import Session

from node.errors import Unavailable
from node.federation import as4, outbox
from node.federation.agreements import Terms
from node.federation.outbox import Waiting
from node.local_store.bodies import Bodies

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Unbuildable:
    """Why a message cannot be sent as it was posted."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A message with the bytes it has from now on."""

    waiting: Waiting
    bytes: outbox.Bytes

    def ready(self) -> Waiting:
        """As it is posted."""
        return outbox.with_bytes(self.waiting, self.bytes)


def read_contents(
    session: Session, open_file: Callable[[Session, str], as4.Content], unbuilt: Sequence[Waiting]
) -> list[tuple[Waiting, tuple[as4.Part, ...] | Unbuildable]]:
    """Each message with its parts; those after the first MAX_BYTES are left for another time.

    Raises:
        Unavailable: contents cannot be read now.
    """
    found: list[tuple[Waiting, tuple[as4.Part, ...] | Unbuildable]] = []
    total = 0
    for waiting in unbuilt:
        try:
            parts = _parts_of(session, open_file, waiting)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # a stranger's content must not stop the lane
            found.append((waiting, _unbuildable(waiting, error)))
            continue
        found.append((waiting, parts))
        total += sum(as4.size_of(part.content) for part in parts)
        if total > outbox.MAX_BYTES:
            break
    return found


def pack(
    found: Sequence[tuple[Waiting, tuple[as4.Part, ...] | Unbuildable]],
    agreed: Terms,
    bodies: Bodies,
) -> tuple[list[Built], list[tuple[Waiting, Unbuildable]]]:
    """Sign and encrypt what can be; the rest with its reasons. Large messages are written to `bodies`.

    Raises:
        OSError: a file cannot be written: nothing is wrong with the message.
    """
    built: list[Built] = []
    failed: list[tuple[Waiting, Unbuildable]] = []
    for waiting, contents in found:
        if isinstance(contents, Unbuildable):
            failed.append((waiting, contents))
            continue
        try:
            built.append(_pack(waiting, contents, agreed, bodies))
        except FileNotFoundError as error:  # a large file that is gone; a small one was missed when it was read
            failed.append((waiting, _unbuildable(waiting, error)))
        except OSError:
            for item in built:
                if item.bytes.body_file:
                    bodies.delete(item.bytes.body_file)
            raise
        except Exception as error:  # noqa: BLE001  # one message that cannot be built must not stop the lane
            failed.append((waiting, _unbuildable(waiting, error)))
    return built, failed


def _pack(waiting: Waiting, contents: tuple[as4.Part, ...], found: Terms, bodies: Bodies) -> Built:
    agreed, signer = found.agreement, found.signer
    us, them = as4.node_of(agreed.our_party) or agreed.our_party, waiting.recipient
    message = as4.UserMessage(
        message_id=waiting.message_id,
        conversation_id=waiting.conversation,
        sender=agreed.our_party,
        recipient=agreed.their_party,
        service=waiting.service or agreed.services[0].name,
        action=waiting.action,
        timestamp=waiting.posted_at,
        ref_to_message_id=waiting.ref_to_message_id,
        properties={"originalSender": us, "finalRecipient": them, **waiting.properties},
        parts=contents if agreed.compress else tuple(replace(part, compressed=False) for part in contents),
    )
    built = as4.build(message, agreement=agreed, signer=signer, encrypt_for=found.encrypt_for, spool=bodies.spool)
    assert signer.certificate is not None
    return Built(
        waiting=waiting,
        bytes=outbox.Bytes(
            id=waiting.id,
            content_type=built.content_type,
            body=None if built.is_large else built.body,
            body_file=bodies.write(built.write_to) if built.is_large else "",
            signed=as4.dump_references(built.references),
            certificate=signer.certificate.public_bytes(Encoding.DER),
        ),
    )


def _parts_of(
    session: Session, open_file: Callable[[Session, str], as4.Content], waiting: Waiting
) -> tuple[as4.Part, ...]:
    content = waiting.content if waiting.content is not None else open_file(session, waiting.content_reference)
    domain = waiting.message_id.rpartition("@")[2]
    files = (
        as4.Part(content=open_file(session, file.reference), mime_type=file.mime, content_id=f"{file.name}@{domain}")
        for file in waiting.files
    )
    return as4.Part(content=content, mime_type=waiting.content_mime), *files


def _unbuildable(waiting: Waiting, error: Exception) -> Unbuildable:
    log.error(
        "message cannot be built", peer=waiting.recipient, message_id=waiting.message_id,
        code=getattr(error, "code", type(error).__name__), exc_info=error,
    )  # fmt: skip
    return Unbuildable(str(error) or type(error).__name__)
