"""REST for national systems: the same acts as the officials' pages, as JSON, with tokens and RFC 9457 problems."""

from node.api.application import application

__all__ = ["application"]
