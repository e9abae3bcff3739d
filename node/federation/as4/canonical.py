"""Writing XML that is its own exclusive canonical form, and the safe reading of text into it.

What is signed is written so that the bytes sent are the bytes hashed: each element declares exactly the prefixes
visibly used in it, sorted; attributes are sorted by namespace, then name; no empty-element tags; double quotes.
Source: Exclusive XML Canonicalization 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import re

from lxml import etree

from node.federation.as4.errors import BadEnvelope

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_ATTRIBUTE = str.maketrans(
    {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"},
)


def text(value: str) -> str:
    """`value` as element content. Raises ValueError if XML has no way to write it (control characters)."""
    _check(value)
    return value.translate(_TEXT)


def attribute(value: str) -> str:
    """`value` between double quotes. Raises ValueError if XML has no way to write it (control characters)."""
    _check(value)
    return value.translate(_ATTRIBUTE)


def _check(value: str) -> None:
    if not is_writable(value):
        raise ValueError("a character that XML cannot carry")


def is_writable(value: str) -> bool:
    """Whether XML can carry every character."""
    return value.isprintable() or not _FORBIDDEN.search(value)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def sha256(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


def canonical(element: etree._Element, prefixes: tuple[str, ...] = ()) -> bytes:
    """The exclusive canonical form of a received element, comments left out.

    Raises BadEnvelope where there is none, as for a relative namespace name.
    """
    try:
        return etree.tostring(
            element,
            method="c14n",
            exclusive=True,
            with_comments=False,
            with_tail=False,
            inclusive_ns_prefixes=list(prefixes) or None,
        )
    except etree.C14NError as error:
        raise BadEnvelope("an element without canonical form") from error
