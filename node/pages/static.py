"""Stylesheets, fonts and pictures, under names that change with their content, so that browsers may keep them."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

from node.pages.keys import public

FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {".css": "text/css", ".woff2": "font/woff2", ".svg": "image/svg+xml", ".js": "text/javascript"}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_URL: Final = re.compile(r'url\("?([a-z0-9./-]+)"?\)')


def url(name: str) -> str:
    """Where a file of the folder is served: `/static/<hash>/site.css`. Raises KeyError for one that is not there."""
    return f"/static/{_files()[name][1]}/{name}"


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Name -> bytes as served and their hash. Only these are ever served: no path of a request is opened."""
    found: dict[str, tuple[bytes, str]] = {}
    paths = [path for path in FOLDER.rglob("*") if path.suffix in _TYPES]
    for path in sorted(paths, key=lambda path: path.suffix == ".css"):  # stylesheets last: they name the others
        raw = path.read_bytes()
        if path.suffix == ".css":
            raw = _URL.sub(lambda m: f"url(/static/{found[m[1]][1]}/{m[1]})", raw.decode()).encode()
        found[path.relative_to(FOLDER).as_posix()] = (raw, hashlib.sha256(raw).hexdigest()[:16])
    return found


@public
async def serve(request: web.Request) -> web.Response:
    """A file by hash and name; an old hash is not found rather than wrong."""
    body, digest = _files().get(request.match_info["name"], (b"", ""))
    if not digest or digest != request.match_info["digest"]:
        raise web.HTTPNotFound
    kind = _TYPES[Path(request.match_info["name"]).suffix]
    charset = None if kind == "font/woff2" else "utf-8"
    return web.Response(body=body, content_type=kind, charset=charset, headers={"Cache-Control": _FOR_EVER})
