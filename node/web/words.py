"""Pages that only say something: help, privacy, accessibility, keyboard."""

from __future__ import annotations

from aiohttp import web

from node.pages import public, render

routes = web.RouteTableDef()


@routes.get("/{name:help|privacy|accessibility|keyboard}")
@public
async def show(request: web.Request) -> web.Response:
    """The page's texts are `<name>.title`, `<name>.1`, `<name>.1.title` and so on."""
    return render(request, "words.html", name=request.match_info["name"])
