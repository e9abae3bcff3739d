"""Bad HTTP entities and bad XML: refused before any key is touched, each with its own error."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from node.federation import as4

LIMITS = as4.Limits(entity=200_000, soap=60_000, parts=3)


def unpack(built, old: bytes, new: bytes, *, count: int = 1, limits=LIMITS):
    body = built.body.replace(old, new, count)
    assert body != built.body
    return as4.unpack(built.content_type, body, limits)


def parse(built, old: bytes, new: bytes, *, count: int = 1):
    return as4.parse_soap(unpack(built, old, new, count=count), LIMITS)


def test_a_huge_body_is_refused_unread(pair):
    built = pair.build()
    with pytest.raises(as4.TooLarge):
        as4.unpack(built.content_type, built.body, as4.Limits(entity=1000))


def test_a_huge_envelope_is_refused(pair):
    with pytest.raises(as4.TooLarge):
        unpack(pair.build(), b"<env:Header>", b"<env:Header>" + b" " * 60_000)


def test_too_many_parts_are_refused(pair):
    parts = [as4.Part(content=b"x", mime_type="text/plain")] * 4
    built = pair.build(pair.message(*parts))
    with pytest.raises(as4.TooLarge):
        as4.unpack(built.content_type, built.body, LIMITS)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "text/xml; charset=utf-8",
        "multipart/related",
        'multipart/related; boundary="x"',
        'multipart/related; type="text/xml"; boundary="x"',
        'multipart/related; type="application/soap+xml"; boundary=""',
        'multipart/related; type="application/soap+xml"; boundary="' + "x" * 71 + '"',
        'multipart/related; type="application/soap+xml"; boundary="x"; boundary="y"',
        'multipart/related; type="application/soap+xml"; boundary="x" nonsense',
        "multipart/related;" + " " * 2000,
        "application/soap+xml; charset=UTF-16",
    ],
)
def test_another_content_type_is_refused(pair, content_type):
    with pytest.raises(as4.BrokenMime):
        as4.unpack(content_type, pair.build().body, LIMITS)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b"\r\n", b"\n"),
        lambda body: b"preamble\r\n" + body,
        lambda body: body[: body.rindex(b"\r\n--")],
        lambda body: body[: body.rindex(b"--\r\n")],
        lambda body: body[: len(body) // 2],
        lambda body: body + b"trailing",
        lambda body: body + body,
        lambda _: b"",
        lambda body: body.replace(b"application/soap+xml", b"text/xml"),
        lambda body: body.replace(b"Content-Transfer-Encoding: binary", b"Content-Transfer-Encoding: base64"),
        lambda body: re.sub(rb"Content-ID: <part[^>]*>", b"Content-ID: part", body),
        lambda body: re.sub(rb"Content-ID: <part[^>]*>\r\n", b"", body),
        lambda body: body.replace(b"Content-ID:", b"Content-ID :"),
        lambda body: body.replace(b"Content-ID:", b"Content-ID: <a>\r\nContent-ID:"),
        lambda body: body.replace(b"Content-ID:", b"X: \x00\r\nContent-ID:"),
        lambda body: body.replace(b"Content-ID:", b"X: " + b"y" * 10_000 + b"\r\nContent-ID:"),
        lambda body: body.replace(b"Content-ID: <root", b"Content-ID: <other"),
    ],
)
def test_loose_mime_is_refused(pair, change):
    built = pair.build()
    with pytest.raises(as4.BrokenMime):
        as4.unpack(built.content_type, change(built.body), LIMITS)


def test_an_entity_without_parts_is_refused():
    with pytest.raises(as4.BrokenMime):
        as4.unpack('multipart/related; type="application/soap+xml"; boundary=x', b"--x--\r\n", LIMITS)


def test_a_repeated_content_id_is_refused(pair):
    part = as4.Part(content=b"x", mime_type="text/plain")
    built = pair.build(pair.message(part, part))
    first, second = re.findall(rb"Content-ID: <(part[^>]*)>", built.body)
    with pytest.raises(as4.BrokenMime, match="twice"):
        unpack(built, b"Content-ID: <" + second, b"Content-ID: <" + first)


def test_what_phase4_writes_is_taken(pair):
    """No start parameter, a root part without Content-ID, further part headers, folded and unquoted values."""
    built = pair.build()
    body = re.sub(rb"Content-ID: <root[^>]*>\r\n", b"Content-Description: root\r\n", built.body)
    body = body.replace(b"soap+xml; charset=UTF-8", b"soap+xml;\r\n\tcharset=UTF-8")
    boundary = re.search(r'boundary="([^"]*)"', built.content_type)[1]
    content_type = f'multipart/related; type="application/soap+xml"; boundary="{boundary}"'
    assert pair.read(content_type, body).message_id == "5d5e1331@at.imi.node"


HEADER = b"<env:Header>"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (HEADER, b"<env:Header"),
        (HEADER, b"<env:Header>&undefined;"),
        (HEADER, b"<env:Header>\xff"),
        (HEADER, b"<env:Header>text"),
        (HEADER, b"<env:Header><!-- note -->"),
        (HEADER, b"<env:Header><?do it?>"),
        (HEADER, b"<env:Header><x:a xmlns:x='u' env:mustUnderstand='1'/>"),
        (b"<env:Envelope", b"<!DOCTYPE x><env:Envelope"),
        (b"<env:Envelope", b'<!DOCTYPE x [<!ENTITY e "boom">]><env:Envelope'),
        (b"<env:Envelope", b'<!DOCTYPE x SYSTEM "http://198.51.100.1/x.dtd"><env:Envelope'),
        (b"<env:Envelope", b"<!--x--><env:Envelope"),
        (b'encoding="UTF-8"', b'encoding="UTF-7"'),
        (b'env:mustUnderstand="true">', b'env:mustUnderstand="true" env:role="urn:x">'),
        (b"http://www.w3.org/2003/05/soap-envelope", b"http://schemas.xmlsoap.org/soap/envelope/"),
        (b"<eb:MessageInfo>", b"<eb:MessageInfo/><eb:MessageInfo>"),
        (b"<eb:Timestamp>2026", b"<eb:Timestamp>soon"),
        (b"17Z</eb:Timestamp>", b"17</eb:Timestamp>"),
        (b"<eb:Timestamp>2026-11-24T", b"<eb:Timestamp>0001-01-01T00:00:00+20:00</eb:Timestamp><eb:Timestamp>T"),
        (b"<eb:MessageId>5d5e1331@at.imi.node", b"<eb:MessageId>"),
        (b"<eb:MessageId>", b"<eb:MessageId>" + b"x" * 250),
        (b"<eb:MessageId>", b"<eb:MessageId> "),
        (b"<eb:MessageId>", b"<eb:MessageId>\xc3\xa9"),
        (b"<eb:Action>events</eb:Action>", b""),
        (b"<eb:Action>events</eb:Action>", b"<eb:Action>events<x/></eb:Action>"),
        (b'name="finalRecipient"', b'name="originalSender"'),
        (b"</eb:UserMessage>", b"</eb:UserMessage><eb:SignalMessage/>"),
        (b"<env:Body ", b"<env:Body/><env:Body "),
        (b"></env:Body>", b"><payload/></env:Body>"),
        (b"></env:Body>", b">payload</env:Body>"),
    ],
)
def test_an_envelope_that_is_not_as_it_must_be_is_refused(pair, old, new):
    with pytest.raises(as4.BadEnvelope) as caught:
        parse(pair.build(), old, new, count=-1 if b"http" in old else 1)
    assert caught.value.ebms.code == "EBMS:0009"


def test_a_declared_utf_16_envelope_is_refused(pair):
    soap = pair.build().soap.decode().replace("UTF-8", "UTF-16").encode("utf-16")
    with pytest.raises(as4.BadEnvelope):
        as4.parse_soap(as4.Package(soap=soap), LIMITS)


@pytest.mark.parametrize("depth", [30, 300, 5000])
def test_deep_nesting_is_refused(pair, depth):
    with pytest.raises(as4.BadEnvelope):
        parse(pair.build(), HEADER, HEADER + b"<a>" * depth + b"</a>" * depth)


@pytest.mark.parametrize("attribute", [b"Id", b"id", b"ID", b"wsu:Id", b"xml:id"])
def test_a_repeated_identifier_is_refused_in_whatever_attribute(pair, attribute):
    built = pair.build()
    body_id = re.search(rb'wsu:Id="(BODY-[^"]*)"', built.soap)[1]
    with pytest.raises(as4.BadEnvelope):
        parse(built, b"<eb:UserMessage>", b"<eb:UserMessage %s=%s>" % (attribute, b'"' + body_id + b'"'))


@pytest.mark.parametrize("href", [b"http://198.51.100.1/x", b"#BODY", b"file:///etc/passwd", b"cid:", b""])
def test_a_part_that_lies_elsewhere_is_refused(pair, href):
    built = pair.build()
    with pytest.raises(as4.ExternalPayload) as caught:
        parse(built, re.search(rb'href="[^"]*"', built.soap)[0], b'href="' + href + b'"')
    assert caught.value.ebms.code == "EBMS:0011"
    assert caught.value.message_id == "5d5e1331@at.imi.node"


def test_a_part_info_without_href_is_refused(pair):
    built = pair.build()
    with pytest.raises(as4.ExternalPayload):
        parse(built, re.search(rb' href="[^"]*"', built.soap)[0], b"")


def test_parts_that_differ_from_the_attachments_are_refused(pair):
    built = pair.build()
    package = as4.unpack(built.content_type, built.body, LIMITS)
    ((content_id, attachment),) = package.attachments.items()
    for attachments in ({}, {content_id: attachment, "extra@x": attachment}, {"other@x": attachment}):
        with pytest.raises(as4.PartsDiffer):
            as4.parse_soap(replace(package, attachments=attachments), LIMITS)


def test_a_part_named_twice_is_refused(pair):
    built = pair.build()
    info = re.search(rb"<eb:PartInfo .*</eb:PartInfo>", built.soap)[0]
    with pytest.raises(as4.PartsDiffer):
        parse(built, info, info + info)


def test_a_signal_is_no_user_message(pair):
    built = pair.build()
    receipt = pair.receipt(pair.verify(built.content_type, built.body))
    with pytest.raises(as4.UnexpectedUnit):
        as4.parse_soap(as4.unpack(receipt.content_type, receipt.body, LIMITS), LIMITS)
