"""Signing a mutated envelope anew, so that what comes after the signature is reached.

An input asks for it in its own text: each `{digest}` in a DigestValue becomes the digest of the element its reference
names, then each `{sign}` the signature over the SignedInfo as the receiver canonicalises it. Both are placed in the
bytes as they stand; nothing is written anew.
"""

from __future__ import annotations

from lxml import etree

from node.federation import as4
from node.federation.as4 import names
from node.federation.as4.canonical import b64, canonical, sha256

DIGEST, SIGN = b"{digest}", b"{sign}"
_DS = f"{{{names.DS}}}"
_INCLUSIVE = f"{{{names.EXC_C14N}}}InclusiveNamespaces"
_PARSER = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False)


def resign(soap: bytes, signer: as4.Signer) -> bytes:
    """`soap` with what it asks for filled in; as it is where that cannot be found out."""
    try:
        for digest in _digests(soap) if DIGEST in soap else ():
            soap = soap.replace(DIGEST, b64(digest).encode(), 1)
        if SIGN in soap:
            soap = soap.replace(SIGN, b64(signer.sign(_signed_info(soap))).encode())
    except (etree.LxmlError, as4.As4Error, ValueError):
        pass  # then the receiver sees it unsigned
    return soap


def _digests(soap: bytes) -> list[bytes]:
    root = etree.fromstring(soap, _PARSER)
    by_id = {element.get(name): element for name in ("Id", f"{{{names.WSU}}}Id") for element in root.iter("{*}*")}
    asking = [value.getparent() for value in root.iter(f"{_DS}DigestValue") if value.text == DIGEST.decode()]
    return [_digest(reference, by_id.get((reference.get("URI") or "")[1:])) for reference in asking]


def _digest(reference: etree._Element, element: etree._Element | None) -> bytes:
    return b"" if element is None else sha256(canonical(element, _prefixes(reference)))


def _signed_info(soap: bytes) -> bytes:
    info = etree.fromstring(soap, _PARSER).find(f".//{_DS}SignedInfo")
    if info is None:
        return b""
    method = info.find(f"{_DS}CanonicalizationMethod")
    return canonical(info, () if method is None else _prefixes(method))


def _prefixes(holder: etree._Element) -> tuple[str, ...]:
    found = next(holder.iter(_INCLUSIVE), None)
    return () if found is None else tuple((found.get("PrefixList") or "").split())
