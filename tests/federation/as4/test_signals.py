"""Receipts and errors: only a verified receipt for the very bytes sent is success."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from node.federation import as4
from node.federation.as4 import errors

from .conftest import NOW, Side

SOAP = "application/soap+xml; charset=UTF-8"


def read(pair, body: bytes, content_type: str = SOAP) -> as4.Signal:
    return as4.read_signal(content_type, body, pair.at.agreement_with(pair.si), at=NOW)


def error_for(pair, kind, ref="5d5e1331@at.imi.node") -> as4.Built:
    return as4.build_error(
        kind,
        ref_to_message_id=ref,
        message_id="e@si.imi.node",
        at=NOW,
        form=as4.SignatureForm(suite=as4.COMMON),
        signer=pair.si.signer,
    )


def receipt_for(pair, built: as4.Built, **changes) -> as4.Built:
    return pair.receipt(pair.verify(built.content_type, built.body), **changes)


def test_a_ping_is_answered_with_a_receipt(pair):
    ping = pair.build(pair.message(service=as4.TEST_SERVICE, action=as4.TEST_ACTION, parts=()))
    assert ping.content_type == SOAP
    verified = pair.verify(ping.content_type, ping.body)
    assert verified.header.is_test
    assert as4.decompress(as4.decrypt(verified, [])).is_test
    receipt = read(pair, pair.receipt(verified).body)
    as4.check_receipt(receipt, message_id=verified.header.message_id, sent=ping.references)


def test_stored_references_check_a_receipt_later(pair):
    built = pair.build()
    stored = as4.dump_references(built.references)
    receipt = read(pair, receipt_for(pair, built).body)
    assert as4.load_references(stored) == built.references
    as4.check_receipt(receipt, message_id="5d5e1331@at.imi.node", sent=as4.load_references(stored))
    assert receipt.certificate == pair.si.signer.certificate


def test_a_receipt_for_other_bytes_is_refused(pair):
    built, other = pair.build(), pair.build()
    receipt = read(pair, receipt_for(pair, other).body)
    with pytest.raises(as4.InvalidReceipt) as caught:
        as4.check_receipt(receipt, message_id="5d5e1331@at.imi.node", sent=built.references)
    assert caught.value.ebms.code == "EBMS:0302"
    assert not as4.same_content(built.references, other.references)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_receipt_that_leaves_a_part_out_is_refused(pair, number):
    built = pair.build()
    verified = pair.verify(built.content_type, built.body)
    fewer = verified.references[:number] + verified.references[number + 1 :]
    receipt = read(pair, pair.receipt(replace(verified, references=fewer)).body)
    with pytest.raises(as4.InvalidReceipt):
        as4.check_receipt(receipt, message_id="5d5e1331@at.imi.node", sent=built.references)


def test_a_receipt_compared_with_nothing_proves_nothing(pair):
    receipt = read(pair, receipt_for(pair, pair.build()).body)
    with pytest.raises(as4.InvalidReceipt):
        as4.check_receipt(receipt, message_id="5d5e1331@at.imi.node", sent=())


def test_a_receipt_for_another_message_is_refused(pair):
    built = pair.build()
    receipt = read(pair, receipt_for(pair, built, ref_to_message_id="other@at.imi.node").body)
    with pytest.raises(as4.InvalidReceipt):
        as4.check_receipt(receipt, message_id="5d5e1331@at.imi.node", sent=built.references)


@pytest.mark.parametrize(
    "change",
    [
        lambda soap: re.sub(rb"<ds:Signature .*</ds:Signature>", b"", soap),
        lambda soap: re.sub(rb"<wsse:Security .*</wsse:Security>", b"", soap),
        lambda soap: soap.replace(b"5d5e1331@at.imi.node", b"5d5e1332@at.imi.node"),
        lambda soap: re.sub(rb"<ebbp:NonRepudiationInformation .*</ebbp:NonRepudiationInformation>", b"", soap),
        lambda soap: re.sub(rb"<ds:SignatureValue>.{4}", b"<ds:SignatureValue>AAAA", soap),
    ],
)
def test_an_unsigned_or_changed_receipt_is_refused(pair, change):
    with pytest.raises(as4.InvalidReceipt):
        read(pair, change(receipt_for(pair, pair.build()).body))


def test_two_receipts_in_one_answer_are_refused(pair):
    body = receipt_for(pair, pair.build()).body
    receipt = re.search(rb"<eb:Receipt>.*</eb:Receipt>", body)[0]
    with pytest.raises(as4.InvalidReceipt):
        read(pair, body.replace(receipt, receipt + receipt))


def test_a_receipt_signed_by_another_party_is_refused(pair):
    built = pair.build()
    verified = pair.verify(built.content_type, built.body)
    forged = as4.build_receipt(
        verified.references,
        ref_to_message_id=verified.header.message_id,
        message_id="r@x",
        at=NOW,
        form=as4.SignatureForm(suite=as4.COMMON),
        signer=Side("SI").signer,
    )
    with pytest.raises(as4.InvalidReceipt):
        read(pair, forged.body)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (SOAP, b""),
        ("", b""),
        ("text/html", b"<html>502 Bad Gateway</html>"),
        (SOAP, b"<html/>"),
        (SOAP, b"not xml"),
    ],
)
def test_an_answer_without_signal_is_none(pair, content_type, body):
    with pytest.raises(as4.NoSignal):
        read(pair, body, content_type)


def test_a_user_message_or_another_signal_is_no_answer(pair):
    built = pair.build()
    with pytest.raises(as4.NoSignal):
        read(pair, built.body, built.content_type)
    pull = re.sub(rb"<eb:Receipt>.*</eb:Receipt>", b"<eb:PullRequest/>", receipt_for(pair, built).body)
    with pytest.raises(as4.NoSignal):
        read(pair, pull)


def every_error() -> list[type[as4.As4Error]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, as4.As4Error)]


@pytest.mark.parametrize("kind", every_error())
def test_each_error_travels_with_its_row_of_the_table(pair, kind):
    signal = read(pair, error_for(pair, kind).body)
    assert isinstance(signal, as4.ErrorSignal)
    assert signal.authenticated
    row = kind.ebms
    assert (signal.code, signal.severity, signal.short_description) == (row.code, row.severity, row.name)
    assert signal.description == kind.description
    assert signal.ref_to_message_id == "5d5e1331@at.imi.node"
    assert as4.EBMS_CODES[row.code] is row


def test_error_codes_are_distinct_and_stable():
    codes = [kind.code for kind in every_error()]
    assert len(set(codes)) == len(codes)
    assert all(code.startswith("peer.") for code in codes)


def test_what_our_log_says_does_not_travel(pair):
    built = error_for(pair, as4.FailedDecryption("the content key cannot be unwrapped"))
    assert b"unwrapped" not in built.body


def test_an_error_for_a_message_that_could_not_be_read_names_none(pair):
    signal = read(pair, error_for(pair, as4.BrokenMime, ref=None).body)
    assert signal.ref_to_message_id is None


@pytest.mark.parametrize("pattern", [rb"<wsse:Security .*</wsse:Security>", rb"<ds:Signature .*</ds:Signature>"])
def test_an_unsigned_error_is_reported_and_not_believed(pair, pattern):
    signal = read(pair, re.sub(pattern, b"", error_for(pair, as4.BadSignature).body))
    assert (signal.code, signal.authenticated) == ("EBMS:0101", False)


def test_an_error_beside_a_soap_fault_is_read(pair):
    body = error_for(pair, as4.BadSignature).body.replace(b"></env:Body>", b"><env:Fault/></env:Body>")
    signal = read(pair, body)
    assert (signal.code, signal.authenticated) == ("EBMS:0101", False)


def test_warnings_before_a_failure_are_passed_over(pair):
    body = error_for(pair, as4.BadSignature).body
    warning = b'<eb:Error errorCode="EBMS:0002" severity="warning"/><eb:Error '
    assert read(pair, body.replace(b"<eb:Error ", warning)).code == "EBMS:0101"


def test_what_peers_say_of_duplicates_is_understood(pair):
    signal = read(pair, error_for(pair, as4.As4Error).body)
    assert not signal.says_duplicate
    assert replace(signal, code="EBMS:4001").says_duplicate
    assert replace(signal, description="already handled (this is a Duplicate)").says_duplicate
    detail = b"<eb:ErrorDetail>already handled (this is a duplicate)</eb:ErrorDetail></eb:Error>"
    assert read(pair, error_for(pair, as4.As4Error).body.replace(b"</eb:Error>", detail)).says_duplicate
    assert not replace(signal, code="EBMS:0001", description="duplicate").says_duplicate


def test_every_error_is_documented():
    page = (Path(__file__).parents[3] / "docs/reference/wire-format.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| EBMS:")]
    for kind in every_error():
        row = next(row for row in rows if f"| {kind.ebms.code} |" in row)
        assert f"`{kind.code}`" in row
        assert f"| {kind.ebms.name} |" in row
