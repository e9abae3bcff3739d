"""Traps that other AS4 implementations met, what guards this one, and the proof: without the guard its test fails.

    python -m tools.traps             write docs/reference/as4-traps.md
    python -m tools.traps --prove     remove each guard in a copy of the tree and run its test, which must fail

Each guard is a piece of text that stands exactly once in its file, and what stands in its place when the guard is gone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/reference/as4-traps.md"
COPIED: Final = ("node", "pki", "tests", "tools", "config", "docs", "pyproject.toml", "Makefile", "README.md")
AS4: Final = "node/federation/as4"
AS4_TESTS: Final = "tests/federation/as4"
TESTS_FAILED: Final = 1  # pytest's exit code; others mean that nothing was tested


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What keeps us out of a trap: in `file`, within `where`; the test that sees it gone."""

    file: str
    where: str
    old: str
    new: str
    test: str

    @property
    def name(self) -> str:
        """The test's own name."""
        return self.test.partition("::")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """One trap and its guards."""

    number: str
    words: str
    guarded: str
    guards: tuple[Guard, ...]


TRAPS: Final = (
    Trap(
        number="1",
        words="Signature before EncryptedKey in the security header: WSS4J works in document order and digests what is "
        "still encrypted",
        guarded="what is encrypted is written before token and signature",
        guards=(
            Guard(
                file=f"{AS4}/signing.py",
                where="envelope",
                old="{pieces.SECURITY_OPEN}{security}{named.token}{signed}",
                new="{pieces.SECURITY_OPEN}{named.token}{signed}{security}",
                test=f"{AS4_TESTS}/test_traps.py::test_what_is_encrypted_stands_before_the_signature",
            ),
        ),
    ),
    Trap(
        number="2",
        words="RecipientKeyInfo left out of a key agreement: Santuario throws",
        guarded="written always, needed when reading",
        guards=(
            Guard(
                file=f"{AS4}/key_agreement.py",
                where="_ENCRYPTED_KEY",
                old="<xenc:RecipientKeyInfo>{recipient}</xenc:RecipientKeyInfo>",
                new="",
                test=f"{AS4_TESTS}/test_traps.py::test_the_recipient_is_named_within_the_key_agreement",
            ),
        ),
    ),
    Trap(
        number="3",
        words="HKDF parameters: Salt with a child element, KeyLength in bits",
        guarded="the salt is text, the length 16 bytes, and nothing else is read",
        guards=(
            Guard(
                file=f"{AS4}/key_agreement.py",
                where="_ENCRYPTED_KEY",
                old="<dsig-more:Salt>{{salt}}</dsig-more:Salt>",
                new="<dsig-more:Salt><dsig-more:Specified>{{salt}}</dsig-more:Specified></dsig-more:Salt>",
                test=f"{AS4_TESTS}/test_traps.py::test_the_salt_is_text_and_the_length_counts_bytes",
            ),
            Guard(
                file=f"{AS4}/key_agreement.py",
                where="_derivation",
                old=r'r"\s*16\s*"',
                new=r'r"\s*(16|128)\s*"',
                test=f"{AS4_TESTS}/test_forgeries.py::test_a_key_length_in_bits_is_refused",
            ),
        ),
    ),
    Trap(
        number="4",
        words="PRF of the key derivation: Santuario looks in the wrong namespace and takes hmac-sha256, whatever is said",
        guarded="hmac-sha256 is what we write, and all we read",
        guards=(
            Guard(
                file=f"{AS4}/key_agreement.py",
                where="_derivation",
                old='    expect(need(params, names.DSIG_MORE, "PRF"), names.HMAC_SHA256)\n',
                new="",
                test=f"{AS4_TESTS}/test_forgeries.py::test_an_encryption_algorithm_of_the_messages_own_choice_is_refused",
            ),
        ),
    ),
    Trap(
        number="5",
        words="Domibus sends no certificate, only its subject key identifier",
        guarded="the certificate is looked up in the trust list",
        guards=(
            Guard(
                file=f"{AS4}/tokens.py",
                where="_by_identifier",
                old="    if kind == names.X509_SKI:\n        return lambda certificate: ski(certificate) == value\n",
                new="",
                test=f"{AS4_TESTS}/test_tokens.py::test_each_form_leads_to_the_signing_certificate",
            ),
        ),
    ),
    Trap(
        number="5a",
        words="Domibus expects the sender's certificate in its trust store under the party name",
        guarded="a message leaves only under the agreement's party id, one for each node",
        guards=(
            Guard(
                file=f"{AS4}/building.py",
                where="_check",
                old="if (message.sender, message.recipient) != (agreement.our_party, agreement.their_party):",
                new="if message.recipient != agreement.their_party:",
                test=f"{AS4_TESTS}/test_traps.py::test_a_message_leaves_under_the_name_its_certificate_is_listed_for",
            ),
        ),
    ),
    Trap(
        number="6",
        words="PKIPath begins with the authority: who takes the first certificate takes the wrong one",
        guarded="the last is the signer's, in reading and in writing",
        guards=(
            Guard(
                file=f"{AS4}/tokens.py",
                where="_leaf",
                old="        begin = start\n        _, start = _element(path, begin)\n    if start != end:",
                new="        _, start = _element(path, begin)\n        end = start\n    if start != end:",
                test=f"{AS4_TESTS}/test_tokens.py::test_the_last_certificate_of_a_path_is_the_signers",
            ),
            Guard(
                file=f"{AS4}/tokens.py",
                where="write_named",
                old="_path_base64((*issuers, certificate))",
                new="_path_base64((certificate, *issuers))",
                test=f"{AS4_TESTS}/test_suites.py::test_every_reference_form_is_written_and_read",
            ),
        ),
    ),
    Trap(
        number="7",
        words="An attribute (mustUnderstand) lost or changed on the way",
        guarded="the digest of each signed element is computed from what came",
        guards=(
            Guard(
                file=f"{AS4}/verifying.py",
                where="_signed_element",
                old="if sha256(canonical(element, reference.prefixes)) != reference.digest:",
                new="if not canonical(element, reference.prefixes):",
                test=f"{AS4_TESTS}/test_forgeries.py::test_a_changed_header_or_body_is_refused",
            ),
        ),
    ),
    Trap(
        number="8",
        words="Uncompressed XML is digested in canonical form, other types as they are: the type decides",
        guarded="parts are compressed unless told otherwise; the type is that of EncryptedData, not of the MIME header",
        guards=(
            Guard(
                file=f"{AS4}/payload.py",
                where="digest",
                old="    if _XML.fullmatch(kind):\n",
                new="    if not kind:\n",
                test=f"{AS4_TESTS}/test_forgeries.py::test_uncompressed_xml_is_digested_in_canonical_form",
            ),
            Guard(
                file=f"{AS4}/decrypting.py",
                where="_encrypted_part",
                old='media_type=element.get("MimeType", "application/octet-stream"),',
                new='media_type="application/octet-stream",',
                test=f"{AS4_TESTS}/test_forgeries.py::test_uncompressed_xml_is_digested_in_canonical_form",
            ),
            Guard(
                file=f"{AS4}/model.py",
                where="Part",
                old="    compressed: bool = True\n",
                new="    compressed: bool = False\n",
                test="tests/conformance/test_as4_conformance.py::test_CP_TA24",
            ),
        ),
    ),
    Trap(
        number="9",
        words="MIME: bare line feeds, Content-ID folded or without brackets",
        guarded="strict in reading (folds are unfolded), one line with CRLF and brackets in writing",
        guards=(
            Guard(
                file=f"{AS4}/mime.py",
                where="unpack",
                old="    view = memoryview(body)\n",
                new='    body = bytes(body).replace(b"\\r\\n", b"\\n").replace(b"\\n", b"\\r\\n")\n    view = memoryview(body)\n',
                test=f"{AS4_TESTS}/test_bad_entities.py::test_loose_mime_is_refused",
            ),
            Guard(
                file=f"{AS4}/mime.py",
                where="_part",
                old='unfolded = _FOLD.sub(" ", head[:end].decode("latin-1"))',
                new='unfolded = head[:end].decode("latin-1")',
                test=f"{AS4_TESTS}/test_bad_entities.py::test_what_phase4_writes_is_taken",
            ),
            Guard(
                file=f"{AS4}/mime.py",
                where="pack",
                old='_part_head("application/octet-stream", f"<{content_id}>")',
                new='_part_head("application/octet-stream", content_id)',
                test=f"{AS4_TESTS}/test_traps.py::test_our_entity_has_crlf_and_content_ids_in_brackets_on_one_line",
            ),
        ),
    ),
    Trap(
        number="10",
        words="Old key transport: rsa-oaep-mgf1p with SHA-1 masks",
        guarded="read only where the agreement names it",
        guards=(
            Guard(
                file=f"{AS4}/key_transport.py",
                where="_read_method",
                old="if old and names.RSA_OAEP_MGF1P in self.older:",
                new="if old:",
                test=f"{AS4_TESTS}/test_suites.py::test_the_older_oaep_is_read_only_where_it_is_agreed",
            ),
        ),
    ),
    Trap(
        number="11",
        words="Unsigned errors: sent by some, distrusted by others",
        guarded="ours are signed; an unsigned one is recorded and the message goes again",
        guards=(
            Guard(
                file="node/federation/protocol.py",
                where="judge_answer",
                old="    if not signal.authenticated:\n",
                new="    if not said:\n",
                test=f"{AS4_TESTS}/test_traps.py::test_an_unsigned_rejection_is_recorded_and_the_message_goes_again",
            ),
            Guard(
                file=f"{AS4}/signing.py",
                where="_signature",
                old="{b64(signer.sign(info.encode()))}",
                new="{b64(bytes(64))}",
                test=f"{AS4_TESTS}/test_traps.py::test_our_errors_are_signed",
            ),
        ),
    ),
    Trap(
        number="12",
        words="AgreementRef or the type of Service missing, extra or different",
        guarded="each is compared, and the error says which field differs; we send what is agreed",
        guards=(
            Guard(
                file=f"{AS4}/verifying.py",
                where="check_agreed",
                old='    _same(header, NotAgreed, "Service type", service.type, header.service_type)\n',
                new="",
                test=f"{AS4_TESTS}/test_forgeries.py::test_what_is_not_agreed_is_refused",
            ),
            Guard(
                file=f"{AS4}/verifying.py",
                where="check_agreed",
                old='        _same(header, NotAgreed, "AgreementRef", agreement.agreement_ref, header.agreement_ref)\n',
                new="",
                test=f"{AS4_TESTS}/test_forgeries.py::test_what_is_not_agreed_is_refused",
            ),
            Guard(
                file=f"{AS4}/building.py",
                where="_agreement_ref",
                old='if agreement.agreement_type else ""',
                new='if not agreement else ""',
                test=f"{AS4_TESTS}/test_traps.py::"
                "test_an_agreement_is_named_only_where_one_is_agreed_and_with_its_type",
            ),
        ),
    ),
    Trap(
        number="13",
        words="Payload profiles of Domibus fix Content-IDs (`cid:message`)",
        guarded="the message layer writes the Content-ID it is given; a node's own messages have random ones, so such a "
        "peer leaves its profile open",
        guards=(
            Guard(
                file=f"{AS4}/building.py",
                where="_SAFE_CONTENT_ID",
                old='rf"[A-Za-z0-9._-]{{1,200}}|{_SAFE_ID.pattern}"',
                new="_SAFE_ID.pattern",
                test=f"{AS4_TESTS}/test_traps.py::test_a_content_id_that_a_peer_fixes_is_written_as_it_is",
            ),
        ),
    ),
    Trap(
        number="14",
        words="phase4 takes unsigned and unencrypted messages unless told otherwise: a peer that accepts proves little",
        guarded="we insist on both, on every part",
        guards=(
            Guard(
                file=f"{AS4}/verifying.py",
                where="_check_attachments_covered",
                old="    if signed != {part.content_id for part in header.parts}:",
                new="    if signed - {part.content_id for part in header.parts}:",
                test=f"{AS4_TESTS}/test_forgeries.py::test_a_part_that_the_signature_does_not_cover_is_refused",
            ),
            Guard(
                file=f"{AS4}/verifying.py",
                where="_signature",
                old='    if not signatures:\n        raise PolicyBroken("not signed")\n',
                new="",
                test=f"{AS4_TESTS}/test_forgeries.py::test_an_unsigned_message_is_refused",
            ),
            Guard(
                file=f"{AS4}/decrypting.py",
                where="_encrypted_parts",
                old="    if sorted(part.content_id for part in parts) != sorted(verified.package.attachments):\n",
                new="    if not parts:\n",
                test=f"{AS4_TESTS}/test_forgeries.py::test_one_unencrypted_part_among_encrypted_ones_is_refused",
            ),
        ),
    ),
    Trap(
        number="15",
        words="Certificates that are renewed stop exchanges",
        guarded="every certificate in the trust list verifies, every key we hold decrypts",
        guards=(
            Guard(
                file=f"{AS4}/verifying.py",
                where="_certificate",
                old="    for certificate in agreement.their_signing:\n",
                new="    for certificate in agreement.their_signing[:1]:\n",
                test=f"{AS4_TESTS}/test_forgeries.py::test_both_certificates_of_a_rotation_are_taken",
            ),
            Guard(
                file=f"{AS4}/decrypting.py",
                where="_choose",
                old="    for key in keys:\n",
                new="    for key in keys[:1]:\n",
                test=f"{AS4_TESTS}/test_tokens.py::test_during_a_rotation_the_key_is_chosen_by_the_reference",
            ),
        ),
    ),
    Trap(
        number="16",
        words="Private operations of RSA cost most of a message of 1.15",
        guarded="one for the message however many parts it has, one for its receipt; no more can be saved in that suite",
        guards=(
            Guard(
                file=f"{AS4}/decrypting.py",
                where="_decrypt_all",
                old="_open(content_key, attachments[content_id].content, spool)",
                new="_open(wrapped.unwrap(_choose(named, keys)), attachments[content_id].content, spool)",
                test=f"{AS4_TESTS}/test_traps.py::"
                "test_a_message_of_many_parts_takes_one_private_operation_and_its_receipt_another",
            ),
        ),
    ),
    Trap(
        number="17",
        words="Attribute values written as strings: quotes and line ends need escapes too",
        guarded="one function writes attribute values",
        guards=(
            Guard(
                file=f"{AS4}/canonical.py",
                where="_ATTRIBUTE",
                old='\'"\': "&quot;", "\\t": "&#x9;", "\\n": "&#xA;"',
                new='\'"\': "&quot;"',
                test=f"{AS4_TESTS}/test_canonical.py::test_awkward_characters_survive",
            ),
        ),
    ),
    Trap(
        number="18",
        words="Compression takes ten milliseconds a megabyte",
        guarded="messages above 64 KiB are built on a thread, and once: a repeat posts the stored bytes",
        guards=(
            Guard(
                file="node/federation/lanes.py",
                where="_pack",
                old="        if size > _BIG:\n",
                new="        if size < 0:\n",
                test="tests/delivery/test_traps.py::test_what_is_large_is_compressed_beside_the_loop",
            ),
            Guard(
                file="node/federation/outbox.py",
                where="store_built",
                old="where(_table.c.id.in_(ids), unbuilt)",
                new="where(_table.c.id.in_(ids))",
                test="tests/delivery/test_lanes.py::test_a_built_message_never_gets_other_bytes",
            ),
        ),
    ),
    Trap(
        number="19",
        words="A TLS handshake for every message costs more than the message",
        guarded="connections to a peer are kept",
        guards=(
            Guard(
                file="node/federation/transport.py",
                where="_open",
                old="keepalive_timeout=60.0",
                new="force_close=True",
                test="tests/delivery/test_traps.py::test_messages_one_after_another_use_one_tls_connection",
            ),
        ),
    ),
    Trap(
        number="20",
        words="A receipt that races with a time-out: received, then reported missing",
        guarded="one row says how far a message is; what was received stays so",
        guards=(
            Guard(
                file="node/federation/outbox.py",
                where="_not_received",
                old='and_(_table.c.id == number, _table.c.state != "received")',
                new="and_(_table.c.id == number)",
                test="tests/delivery/test_traps.py::test_a_receipt_ends_it_whatever_comes_later",
            ),
            Guard(
                file="node/federation/outbox.py",
                where="_RECEIVED",
                old="\" WHERE id = :id AND state != 'received'\"",
                new='" WHERE id = :id"',
                test="tests/delivery/test_traps.py::test_a_receipt_ends_it_whatever_comes_later",
            ),
            Guard(
                file="node/federation/outbox.py",
                where="late",
                old="where(_unfinished, _table.c.told_at.is_(None),",
                new="where(_table.c.told_at.is_(None),",
                test="tests/delivery/test_traps.py::test_a_receipt_ends_it_whatever_comes_later",
            ),
        ),
    ),
    Trap(
        number="21",
        words="An ephemeral X25519 key beginning 02 01 to 02 1e is read as a DSA key by Santuario, one in about 2,100",
        guarded="such a key is drawn again",
        guards=(
            Guard(
                file=f"{AS4}/key_agreement.py",
                where="_ephemeral",
                old="if not (public[0] == 0x02 and public[1] <= 0x1E):",
                new="if public:",
                test=f"{AS4_TESTS}/test_laws.py::test_an_ephemeral_key_java_misreads_is_drawn_again",
            ),
        ),
    ),
)
GUARDS: Final = tuple(guard for trap in TRAPS for guard in trap.guards)
HEAD = """# AS4 traps

What other implementations of AS4 met, and what keeps this one out of it. Each guard was proved: with it taken out, its
test fails (`python -m tools.traps --prove`, also part of `make test-all`). `python -m tools.traps` writes this page.

| # | trap | guard | where | test |
|---|---|---|---|---|
"""


def render() -> str:
    """The page."""
    return HEAD + "".join(
        f"| {trap.number} | {trap.words} | {trap.guarded} | {_listed(trap, 'place')} | {_listed(trap, 'test')} |\n"
        for trap in TRAPS
    )


def _listed(trap: Trap, what: str) -> str:
    each = (f"`{guard.file}`, `{guard.where}`" if what == "place" else f"`{guard.test}`" for guard in trap.guards)
    return "; ".join(dict.fromkeys(each))


def copy_tree(folder: Path) -> Path:
    """What the tests need, copied: guards are removed there."""
    tree = folder / "tree"
    tree.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, tree / name)
    return tree


def run(tree: Path, tests: Sequence[str]) -> int:
    """Pytest's exit code for these tests in a copy."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=tree, check=False, capture_output=True).returncode


def prove(tree: Path, guard: Guard) -> None:
    """Raises AssertionError unless the guard's test fails in the copy without it; the copy is as before then."""
    path = tree / guard.file
    text = path.read_text(encoding="utf-8")
    if text.count(guard.old) != 1:
        raise AssertionError(f"{guard.file} holds the guard in {guard.where} {text.count(guard.old)} times")
    path.write_text(text.replace(guard.old, guard.new), encoding="utf-8")
    try:
        code = run(tree, [guard.test])
    finally:
        path.write_text(text, encoding="utf-8")
    if code != TESTS_FAILED:
        raise AssertionError(f"without the guard in {guard.where}, {guard.test} ends with {code}")


def main() -> int:
    """Write the page, or prove every guard: 0 if all hold."""
    if "--prove" not in sys.argv[1:]:
        PAGE.write_text(render(), encoding="utf-8")
        return 0
    unproved = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder))
        if code := run(tree, sorted({guard.test for guard in GUARDS})):
            print(f"the tests end with {code} though every guard is in place")
            return 1
        for guard in GUARDS:
            try:
                prove(tree, guard)
                print(f"proved    {guard.file} {guard.where}")
            except AssertionError as error:
                unproved += 1
                print(f"UNPROVED  {error}")
    print(f"{len(GUARDS) - unproved} of {len(GUARDS)} guards proved")
    return int(unproved > 0)


if __name__ == "__main__":
    sys.exit(main())
