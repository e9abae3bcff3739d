"""Mutations that keep an input's shape: XML stays well-formed, gzip stays gzip, a MIME entity keeps its lines.

Half of them only; the other half are changes of bytes (`blur`), for whatever a shape would never hold.
All chance comes from `dice`: the same seed gives the same mutation.
"""

from __future__ import annotations

import base64
import binascii
import random
import re
import zlib
from collections.abc import Callable

from lxml import etree

from node.federation.as4 import names

from .words import ATTRIBUTES, TAGS, TEXTS, URIS, WORDS

Blur = Callable[[bytes], bytes]

_PARSER = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, recover=True)
_NOT_TO_BE_WRITTEN = (etree.LxmlError, LookupError, ValueError)  # the parser recovered what is no XML any more
_ENVELOPE = re.compile(rb"<env:Envelope.*</env:Envelope>", re.DOTALL)
_SECURITY = f"{{{names.WSSE}}}Security"
_BREAK = re.compile(rb"(\r\n|; )")


def mutate(target: str, data: bytes, dice: random.Random, blur: Blur) -> bytes:
    """`data` changed in the way that suits the target."""
    if dice.random() < 0.4:
        return blur(data)
    try:
        if target == "mime":
            return _mutate_lines(data, dice)
        if target == "payload":
            return _mutate_payload(data, dice, blur)
        return _mutate_envelope(data, dice, blur)
    except _NOT_TO_BE_WRITTEN:
        return blur(data)


def cross(one: bytes, other: bytes, dice: random.Random) -> bytes:
    """`one` with an element of `other`, or the head of one and the tail of the other."""
    try:
        return _cross(one, other, dice)
    except _NOT_TO_BE_WRITTEN:
        return one


def _cross(one: bytes, other: bytes, dice: random.Random) -> bytes:
    here, there = _ENVELOPE.search(one), _ENVELOPE.search(other)
    if here is None or there is None or dice.random() < 0.2:
        return one[: dice.randint(0, len(one))] + other[dice.randint(0, len(other)) :]
    root, donor = _parse(here[0]), _parse(there[0])
    if root is None or donor is None:
        return one
    given = dice.choice(list(donor.iter("{*}*")))
    same = [element for element in root.iter(given.tag) if element.getparent() is not None]
    if same and dice.random() < 0.7:
        _replace(dice.choice(same), given)
    else:
        dice.choice(list(root.iter("{*}*"))).append(given)
    return one[: here.start()] + etree.tostring(root) + one[here.end() :]


def blur_bytes(data: bytes, dice: random.Random) -> bytes:
    """A few changed bytes, words of the wire put in, pieces moved: what libFuzzer does by itself."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        start = dice.randint(0, len(changed))
        end = min(len(changed), start + dice.choice((0, 1, 2, 8, 64)))
        piece = dice.choice(
            (b"", dice.randbytes(end - start or 1), dice.choice(WORDS), bytes(changed[start:end]) * 2, b"\x00")
        )
        changed[start:end] = piece
    return bytes(changed)


def _mutate_lines(data: bytes, dice: random.Random) -> bytes:
    """Header lines and parameters dropped, doubled, exchanged or put in."""
    pieces = _BREAK.split(data)
    for _ in range(dice.choice((1, 1, 2, 3))):
        here, there = dice.randrange(len(pieces)), dice.randrange(len(pieces))
        match dice.randrange(5):
            case 0:
                pieces[here] = b""
            case 1:
                pieces[here] += pieces[there]
            case 2:
                pieces[here], pieces[there] = pieces[there], pieces[here]
            case 3:
                pieces[here] = dice.choice(WORDS)
            case _:
                pieces.insert(here, dice.choice((b"\r\n", b"; ", dice.choice(WORDS))))
    return b"".join(pieces)


def _mutate_payload(data: bytes, dice: random.Random, blur: Blur) -> bytes:
    line, _, octets = data.partition(b"\n")
    if line == names.GZIP.encode():
        try:
            plain = zlib.decompressobj(wbits=31).decompress(octets, 1 << 20)
        except zlib.error:
            return blur(data)
        plain = blur(plain) if dice.random() < 0.7 else plain * dice.choice((2, 16, 256))
        packer = zlib.compressobj(level=dice.randint(0, 9), wbits=31)
        return line + b"\n" + packer.compress(plain[: 1 << 22]) + packer.flush()
    if dice.random() < 0.2:
        return dice.choice([text.encode() for text in TEXTS if "/" in text]) + b"\n" + octets
    return line + b"\n" + _mutate_xml(octets, dice, blur)


def _mutate_envelope(data: bytes, dice: random.Random, blur: Blur) -> bytes:
    found = _ENVELOPE.search(data)
    if found is None:
        return blur(data)
    return data[: found.start()] + _mutate_xml(found[0], dice, blur) + data[found.end() :]


def _parse(document: bytes) -> etree._Element | None:
    try:
        return etree.fromstring(document, _PARSER)
    except (etree.LxmlError, ValueError):
        return None


def _mutate_xml(document: bytes, dice: random.Random, blur: Blur) -> bytes:
    root = _parse(document)
    if root is None:
        return blur(document)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        try:
            dice.choice(_CHANGES)(_pick(root, dice), dice, blur)
        except ValueError:  # characters that XML cannot carry
            continue
    return etree.tostring(root)


def _pick(root: etree._Element, dice: random.Random) -> etree._Element:
    """Any element; in an envelope half of the time one of the security header."""
    security = next(root.iter(_SECURITY), None)
    within = root if security is None or dice.random() < 0.5 else security
    return dice.choice(list(within.iter("{*}*")))


def _drop(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def _double(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.insert(dice.randint(0, len(parent)), _copy(element))


def _move(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    """To anywhere: what wraps a signed element away does this."""
    root = element.getroottree().getroot()
    place = dice.choice(list(root.iter("{*}*")))
    if element.getparent() is not None:
        place.insert(dice.randint(0, len(place)), _copy(element) if dice.random() < 0.5 else _without(element))


def _exchange(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    children = list(element)
    dice.shuffle(children)
    element[:] = children


def _wrap(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    holder = etree.Element(dice.choice(TAGS))
    holder.extend(list(element))
    element.append(holder)


def _put_in(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    new = etree.SubElement(element, dice.choice(TAGS))
    new.text = dice.choice(TEXTS)
    if dice.random() < 0.5:
        new.set(dice.choice(ATTRIBUTES), dice.choice(URIS))


def _rename(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    element.tag = dice.choice(TAGS)


def _set_text(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    element.text = dice.choice(TEXTS) if dice.random() < 0.5 else _blurred(element.text or "", dice, blur)


def _set_tail(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    element.tail = dice.choice(TEXTS)


def _set_attribute(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    name = dice.choice([*map(str, element.attrib), dice.choice(ATTRIBUTES)])
    value = element.get(name) or ""
    root = element.getroottree().getroot()
    used = [other.get(name) or "" for other in root.iter("{*}*") if other.get(name)]
    element.set(name, dice.choice([dice.choice(TEXTS), dice.choice(URIS), _blurred(value, dice, blur), *used[:5]]))


def _drop_attribute(element: etree._Element, dice: random.Random, blur: Blur) -> None:
    if element.attrib:
        del element.attrib[dice.choice(list(element.attrib))]


_CHANGES = (
    *(_drop, _double, _move, _exchange, _wrap, _put_in, _rename, _set_tail),
    *(_set_text, _set_text, _set_attribute, _set_attribute, _drop_attribute),
)


def _blurred(value: str, dice: random.Random, blur: Blur) -> str:
    """Changed text; Base64 is changed underneath half of the time."""
    if len(value) > 8 and dice.random() < 0.5:
        try:
            return base64.b64encode(_blurred_octets(binascii.a2b_base64(value, strict_mode=True), dice, blur)).decode()
        except ValueError:
            pass
    return blur(value.encode()).decode("utf-8", "replace")


def _blurred_octets(octets: bytes, dice: random.Random, blur: Blur) -> bytes:
    """Keys, certificates and signatures: one other octet, a shorter or longer one, or whatever `blur` makes of it."""
    here = dice.randint(0, len(octets))
    match dice.randrange(4):
        case 0:
            return octets[:here]
        case 1:
            return octets[:here] + dice.randbytes(1) + octets[here + 1 :]
        case 2:
            return octets[:here] + bytes(len(octets) - here)
        case _:
            return blur(octets)


def _copy(element: etree._Element) -> etree._Element:
    copied = etree.fromstring(etree.tostring(element, with_tail=False), _PARSER)
    return element if copied is None else copied


def _without(element: etree._Element) -> etree._Element:
    """A copy of it, itself taken out."""
    copied = _copy(element)
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)
    return copied


def _replace(old: etree._Element, new: etree._Element) -> None:
    parent = old.getparent()
    if parent is not None:
        parent.replace(old, new)
