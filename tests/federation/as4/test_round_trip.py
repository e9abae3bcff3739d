"""What one party builds the other reads; the receipt fits."""

from __future__ import annotations

from dataclasses import replace

from node.federation import as4

from .conftest import NOW


def test_a_message_arrives_as_it_was_sent_and_its_receipt_fits(pair):
    message = pair.message()
    built = pair.build(message)
    verified = pair.verify(built.content_type, built.body)
    read = as4.decompress(as4.decrypt(verified, [pair.si.decrypter]))
    assert replace(read, parts=(replace(read.parts[0], content_id=""),)) == message
    receipt = pair.receipt(verified)
    signal = as4.read_signal(receipt.content_type, receipt.body, pair.at.agreement_with(pair.si), at=NOW)
    assert isinstance(signal, as4.Receipt)
    as4.check_receipt(signal, message_id=message.message_id, sent=built.references)
