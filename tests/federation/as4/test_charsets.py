"""The CharacterSet of a text or XML part is compared with its content."""

from __future__ import annotations

import codecs
import tempfile

import pytest

from node.federation import as4
from node.federation.as4 import payload
from node.federation.as4.spooling import CHUNK, spooled

READ = [
    "UTF-8", "utf-16", "UTF-16LE", "UTF-16BE", "UTF-32", "UTF-32LE", "UTF-32BE", "US-ASCII",
    *(f"ISO-8859-{number}" for number in (*range(1, 12), 13, 14, 15, 16)), *(f"windows-125{n}" for n in range(9)),
]  # fmt: skip


@pytest.mark.parametrize("charset", READ)
def test_text_in_each_character_set_is_taken(charset):
    assert codecs.lookup(charset)
    for content in ("<a/>".encode(charset), b""):
        payload.check_charset(content, "application/xml", charset)
        payload.check_charset(content, "text/plain", charset)


@pytest.mark.parametrize("charset", ["", "utf-7", "idna", "punycode", "rot13", "zip", "hex", "utf-8\n", "iso-8859-12"])
def test_no_other_codec_is_asked(charset):
    """Some are compressions, some take quadratic time."""
    with pytest.raises(as4.WrongCharset):
        payload.check_charset(b"<a/>", "text/xml", charset)


def test_types_that_are_no_text_are_not_judged():
    payload.check_charset(b"\xff\xfe\xff", "image/png", "UTF-8")
    payload.check_charset(b"\xff\xfe\xff", "application/json", "no-such-set")


def test_a_character_may_lie_across_two_pieces_of_a_large_part():
    content = b"x" * (CHUNK - 1) + "Ä".encode() + b"x" * CHUNK
    payload.check_charset(spooled([content], tempfile.TemporaryFile), "text/plain", "UTF-8")
    for wrong in (content[: CHUNK + 1] + b"\xff", "Ä".encode()[:1]):
        with pytest.raises(as4.WrongCharset):
            payload.check_charset(spooled([wrong], tempfile.TemporaryFile), "text/plain", "UTF-8")


@pytest.mark.parametrize("kind", ["application/xml", "text/xml; charset=x", "image/svg+xml"])
def test_xml_begins_as_xml_in_the_character_set_named(kind):
    payload.check_charset("\ufeff <a/>".encode(), kind, "UTF-8")
    with pytest.raises(as4.WrongCharset, match="does not begin"):
        payload.check_charset(b"<abc/>", kind, "UTF-16LE")
    payload.check_charset(b"<abc/>", "text/plain", "UTF-16LE")  # any even number of bytes is


def test_the_refusal_names_the_message(pair):
    built = pair.build(pair.message(as4.Part(content=b"\xff", mime_type="text/plain", charset="UTF-8")))
    with pytest.raises(as4.WrongCharset) as caught:
        pair.read(built.content_type, built.body)
    assert (caught.value.message_id, caught.value.ebms.code) == ("5d5e1331@at.imi.node", "EBMS:0003")
