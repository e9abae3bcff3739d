"""One party played by the package as4. Runs in the environment of requirements/interop-as4.lock; knows no code of ours.

    python as4_peer.py COMMAND < questions.json > answers.json

A list of questions in, a list of answers out; bytes are Base64, keys and certificates PEM. Commands:

    send     a message is built           us, them, payload              -> content_type, body, state, payload (its SBD)
    check    the answer to it is judged   us, state, body                -> state ("acknowledged"), why
    receive  a message is read, answered  us, trusted, profile, content_type, body
                                          -> state ("received"), why, payloads, answer_type, answer

`us` is a party with id, type, certificate and key (the package has one of each, for signing and for decrypting); `them`
is one with id, type and certificate; `trusted` is the certificate a message must be signed by. `profile` is "peppol",
or "plain": the same without what Peppol asks of payload (an SBDH) and of party identifiers.
"""

import base64
import json
import sys

from as4 import (
    AS4BaseCredentials,
    AS4ExternalParty,
    AS4InternalCredentials,
    AS4InternalParty,
    AS4LocalPrivateKey,
    AS4PartyIdentity,
    ReceiptVerificationError,
    SecurityPolicy,
    pinned_certificates,
)
from as4.core.message import AS4Message  # the package's own class for a message of no particular profile
from as4.peppol import (
    BusdoxDocidQnsDocumentIdentifier,
    PeppolAS4MessageBuilderArgs,
    PeppolAS4Profile,
    PeppolReceivingExchange,
    PeppolSendingExchange,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate


class PlainProfile(PeppolAS4Profile):
    """The package's core without Peppol's business rules."""

    @classmethod
    def get_profile_name(cls):
        return "plain"

    @classmethod
    def message_class(cls):
        return AS4Message


PROFILES = {"peppol": PeppolAS4Profile, "plain": PlainProfile}


def certificate(pem):
    return load_pem_x509_certificate(pem.encode())


def us(party):
    key = AS4LocalPrivateKey(load_pem_private_key(party["key"].encode(), None))
    return AS4InternalParty(
        identity=AS4PartyIdentity(party_id=party["id"], party_type=party["type"]),
        credentials=AS4InternalCredentials(certificate=certificate(party["certificate"]), private_key=key),
    )


def them(party):
    return AS4ExternalParty(
        identity=AS4PartyIdentity(party_id=party["id"], party_type=party["type"]),
        credentials=AS4BaseCredentials(certificate=certificate(party["certificate"])),
    )


def send(asked):
    exchange = PeppolSendingExchange(
        profile=PeppolAS4Profile, local_party=us(asked["us"]), remote_party=them(asked["them"])
    )
    about = PeppolAS4MessageBuilderArgs(
        sender=asked["sender"],
        recipient=asked["recipient"],
        document_type_identifier=BusdoxDocidQnsDocumentIdentifier.from_identifier_value(asked["document_type"]),
        document_identification_instance_identifier="1",
        process_identifier=asked["process"],
        c1_country_id="AT",
    )
    headers, body = exchange.build(base64.b64decode(asked["payload"]), about)
    # Receipts are judged by the recipient's signing certificate, which is another than the one encrypted for; the
    # package knows one, so it is exchanged for the signing one here.
    exchange.remote_party = them(asked["them"] | {"certificate": asked["them"]["signs_with"]})
    return {
        "content_type": headers["Content-Type"],
        "body": base64.b64encode(body).decode(),
        "state": exchange.mark_sent().model_dump_json(),
        "payload": base64.b64encode(*exchange.message.decrypted_data.values()).decode(),
    }


def check(asked):
    exchange = PeppolSendingExchange.restore(asked["state"], us(asked["us"]))
    try:
        exchange.receive_signal(base64.b64decode(asked["body"]))
    except ReceiptVerificationError as refused:
        return {"state": "refused", "why": str(refused)}
    error = exchange.error
    return {"state": str(exchange.state), "why": "" if error is None else f"{error.error_code} {error.severity}"}


def receive(asked):
    exchange = PeppolReceivingExchange(profile=PROFILES[asked["profile"]], local_party=us(asked["us"]))
    exchange.receive(
        request_headers={"Content-Type": asked["content_type"]},
        request_body=base64.b64decode(asked["body"]),
        security_policy=SecurityPolicy(signer_resolver=pinned_certificates(certificate(asked["trusted"]))),
    )
    error = exchange.message.parse_error
    headers, answer = exchange.build_signal()
    return {
        "state": str(exchange.state),
        "why": "" if error is None else f"{error.error_code} {error.detail}",
        "payloads": {cid: base64.b64encode(part).decode() for cid, part in exchange.message.decrypted_data.items()},
        "answer_type": headers["Content-Type"],
        "answer": base64.b64encode(answer).decode(),
    }


if __name__ == "__main__":
    command = {"send": send, "check": check, "receive": receive}[sys.argv[1]]
    json.dump([command(asked) for asked in json.load(sys.stdin)], sys.stdout)
