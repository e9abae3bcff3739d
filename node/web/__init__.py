"""The officials' pages: handlers that parse, call and render. The frame around them is `node.pages`."""

from __future__ import annotations

from node.web.application import application

__all__ = ["application"]
