"""Safe reading of XML from outside: parse, then navigate by path; nothing is searched for by name.

Before the parser sees a byte: the size is bounded, and document types, entities, comments and processing
instructions are refused (SOAP forbids the first and the last, and a comment can cut a text in two). After it: depth
and breadth are bounded and every identifier is unique, so that a signed element cannot be wrapped away behind another
of its name.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import cast

from lxml import etree

from node.federation.as4 import names
from node.federation.as4.errors import BadEnvelope, PolicyBroken

MAX_DEPTH = 24
MAX_ATTRIBUTES = 256  # of one element
MAX_NAMESPACES = 100  # declarations in scope at once

_TOO_DEEP = etree.XPath("boolean(" + "/*" * (MAX_DEPTH + 1) + ")")
_TOO_MANY_ATTRIBUTES = etree.XPath(f"boolean(//@*[{MAX_ATTRIBUTES + 1}])")
# One by one: XPath takes the square of their number to unite them.
_IDENTIFIERS = tuple(
    etree.XPath(f"//@{name}", namespaces={"wsu": names.WSU}, smart_strings=False)
    for name in ("Id", "ID", "id", "wsu:Id", "xml:id")
)
_ID_NAMES = ("Id", f"{{{names.WSU}}}Id")
_ENCODING = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"'>]*)")
_REFUSED = re.compile(rb"<!(?!\[CDATA\[)|<\?")
# encoding: a declaration must not make other text of the bytes that were looked through
_PARSER = etree.XMLParser(
    encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, dtd_validation=False
)
_BOM = b"\xef\xbb\xbf"


def parse(data: bytes) -> etree._Element:
    """The root element of `data`. Raises BadEnvelope."""
    document = data.removeprefix(_BOM)
    _refuse_markup(document)
    try:
        root = etree.fromstring(document, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadEnvelope(f"not well-formed XML: {error}") from error
    if _TOO_DEEP(root):
        raise BadEnvelope("elements are nested too deeply")
    check_breadth(root)
    return root


def check_breadth(root: etree._Element) -> None:
    """Raises BadEnvelope if there are too many attributes or namespaces to write a canonical form in reasonable time.

    That takes the square of an element's attributes, and for each element all namespaces in scope.
    """
    if _TOO_MANY_ATTRIBUTES(root):
        raise BadEnvelope("an element has too many attributes")
    in_scope = 0
    for event, _ in etree.iterwalk(root, events=("start-ns", "end-ns")):
        in_scope += 1 if event == "start-ns" else -1
        if in_scope > MAX_NAMESPACES:
            raise BadEnvelope("too many namespaces in scope")


def _refuse_markup(document: bytes) -> None:
    declared = _ENCODING.match(document)
    if declared is not None and declared[1].lower() != b"utf-8":
        raise BadEnvelope("not UTF-8")
    if _REFUSED.search(document, 1):  # from 1: the XML declaration
        raise BadEnvelope("a document type, an entity, a comment or a processing instruction")


def check_identifiers(root: etree._Element) -> None:
    """Raises BadEnvelope if an identifier occurs twice, in whichever attributes."""
    values = [value for found in _IDENTIFIERS for value in cast("list[str]", found(root))]
    if len(set(values)) != len(values):
        raise BadEnvelope("an identifier occurs twice")


def by_identifier(elements: Iterable[etree._Element]) -> dict[str, etree._Element]:
    """Those of `elements` that have an Id or wsu:Id, by it."""
    return {value: element for element in elements for name in _ID_NAMES if (value := element.get(name)) is not None}


def children(element: etree._Element) -> Iterator[etree._Element]:
    """The child elements; text between them that is not white space raises BadEnvelope."""
    if element.text and not element.text.isspace():
        raise BadEnvelope(f"text in {local_name(element)}")
    for child in element:
        if child.tail and not child.tail.isspace():
            raise BadEnvelope(f"text in {local_name(element)}")
        yield child


def all_children(element: etree._Element, namespace: str, name: str) -> list[etree._Element]:
    return list(element.iterchildren(f"{{{namespace}}}{name}"))


def optional_child(element: etree._Element, namespace: str, name: str) -> etree._Element | None:
    """The child of this name, if there is one. Raises BadEnvelope if there are several."""
    found = list(element.iterchildren(f"{{{namespace}}}{name}"))
    if len(found) > 1:
        raise BadEnvelope(f"several {name} in {local_name(element)}")
    return found[0] if found else None


def only_child(element: etree._Element, namespace: str, name: str) -> etree._Element:
    """The one child of this name. Raises BadEnvelope."""
    if len(element) == 1 and element[0].tag == f"{{{namespace}}}{name}":  # the usual case, at half the cost
        return element[0]
    found = optional_child(element, namespace, name)
    if found is None:
        raise BadEnvelope(f"no {name} in {local_name(element)}")
    return found


def fields(element: etree._Element) -> dict[str, etree._Element]:
    """The children by tag: cheaper than asking for them one by one. Raises BadEnvelope if a tag occurs twice."""
    found = {child.tag: child for child in element}
    if len(found) != len(element):
        raise BadEnvelope(f"an element occurs twice in {local_name(element)}")
    return found


def need(found: dict[str, etree._Element], namespace: str, name: str) -> etree._Element:
    """The field of this name. Raises BadEnvelope if it is missing."""
    element = found.get(f"{{{namespace}}}{name}")
    if element is None:
        raise BadEnvelope(f"{name} is missing")
    return element


def content(element: etree._Element, *, limit: int = 1024) -> str:
    """The text of a leaf element, not empty and at most `limit` characters. Raises BadEnvelope."""
    value = element.text or ""
    if len(element) or not value or len(value) > limit:
        raise BadEnvelope(f"{local_name(element)} is empty, too long or no text")
    return value


def binary(element: etree._Element) -> bytes:
    """The Base64 content of an element, white space allowed. Raises BadEnvelope."""
    value = element.text or ""
    if len(element):
        raise BadEnvelope(f"{local_name(element)} is no text")
    try:
        return binascii.a2b_base64("".join(value.split()), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise BadEnvelope(f"{local_name(element)} is not Base64") from error


def algorithm(element: etree._Element) -> str:
    """The Algorithm attribute. Raises BadEnvelope if it is missing."""
    value = element.get("Algorithm")
    if value is None:
        raise BadEnvelope(f"{local_name(element)} names no algorithm")
    return value


def expect(element: etree._Element, wanted: str) -> None:
    """Raises PolicyBroken unless the element's algorithm is the one that was agreed."""
    found = algorithm(element)
    if found != wanted:
        name = f"{local_name(element)} Algorithm"
        raise PolicyBroken("an algorithm that is not agreed", field=name, expected=wanted, received=found)


def local_name(element: etree._Element) -> str:
    return etree.QName(element).localname
