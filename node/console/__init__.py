"""The operators' pages, on the management door: how the federation stands, seen from this node."""

from node.console.application import Parts, application

__all__ = ["Parts", "application"]
