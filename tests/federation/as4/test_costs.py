"""Input made to be costly, as large as the limits let it be: it takes a second at most before it is refused or read."""

from __future__ import annotations

import contextlib
import hashlib
import time
import tracemalloc
from dataclasses import replace

import pytest

from node.federation import as4
from node.federation.as4 import payload

from .conftest import NOW

SECONDS = 1.0
HEADER = b"<env:Header>"
SIGNED_INFO = b'<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"'
ROOM = as4.Limits().soap - 10_000


def many(shape: bytes, size: int) -> bytes:
    """`shape` again and again up to `size`, with another number in place of each %x."""
    count = size // (len(shape) + 2 * shape.count(b"%x"))
    return b"".join(shape.replace(b"%x", b"%x" % number) for number in range(count))


@contextlib.contextmanager
def within_a_second():
    began = time.thread_time()
    yield
    assert time.thread_time() - began < SECONDS


def verify(pair, old: bytes, new: bytes) -> None:
    built = pair.build()
    agreement = pair.si.agreement_with(pair.at)
    package = as4.unpack(built.content_type, built.body, agreement.limits)
    soap = package.soap.replace(old, new, 1)
    assert package.soap != soap
    assert len(soap) <= agreement.limits.soap
    package = replace(package, soap=soap)
    with within_a_second(), contextlib.suppress(as4.As4Error):
        as4.verify(package, as4.parse_soap(package, agreement.limits), agreement, at=NOW)


BROAD = {
    "attributes": many(b" a%x=''", ROOM),
    "namespaces": many(b" xmlns:a%x='u:'", ROOM),
}


@pytest.mark.parametrize("attributes", BROAD.values(), ids=BROAD)
def test_broad_elements_under_the_signature_cost_little(pair, attributes):
    """Canonicalising takes the square of an element's attributes, and that comes before the signature is verified."""
    verify(pair, SIGNED_INFO, SIGNED_INFO + attributes)


def test_many_elements_under_many_namespaces_cost_little(pair):
    under = SIGNED_INFO + many(b" xmlns:a%x='u:'", ROOM // 2) + b">" + many(b"<a/>", ROOM // 3)
    verify(pair, SIGNED_INFO + b">", under)


FILLERS = [
    b"<a/>",
    b"<a b='%x'/>",
    b"<a xmlns='u:%x'/>",
    b"<a Id='a%x' ID='b%x' id='c%x' xml:id='d%x'/>",
    b"<a Id='a%x' ID='b%x' id='c%x'/>",
]


@pytest.mark.parametrize("filler", FILLERS)
def test_crowded_headers_cost_little(pair, filler):
    """Identifiers of several kinds: to unite them by XPath took the square of their number."""
    verify(pair, HEADER, HEADER + many(filler, ROOM))


@pytest.mark.parametrize("attributes", [b" a%x=''", b" xmlns:a%x='u:'"])
def test_attached_xml_too_broad_to_canonicalise_is_refused(attributes):
    document = b"<r " + many(attributes, 1_000_000) + b">" + b"<b/>" * 100_000 + b"</r>"
    with within_a_second(), pytest.raises(as4.BadSignature):
        payload.digest(document, "application/xml")


def test_usual_breadth_is_read():
    """A row with 200 columns, and many namespaces that are not in scope together."""
    rows = b"<row" + many(b" c%x='1'", 1_600) + b"/>" + many(b"<a xmlns:b='u:%x' b:c=''/>", 60_000)
    assert payload.digest(b"<r>" + rows + b"</r>", "application/xml")


def test_text_of_nothing_but_line_ends_costs_little():
    """Digested as CRLF; held as one object a line it took 90 times its size."""
    content = b"\r\n\n\r" * 1_000_000
    tracemalloc.start()
    try:
        assert payload.digest(content, "text/plain") == hashlib.sha256(b"\r\n" * 3_000_000).digest()
        assert tracemalloc.get_traced_memory()[1] < 4 * len(content)
    finally:
        tracemalloc.stop()
