"""The competent authorities of all States: each State's in its own verifiable log, replicated, searched locally."""

from node.directory.directory import Directory, UnknownAuthority
from node.directory.model import Authority
from node.directory.search import Hit, SearchResult

__all__ = ["Authority", "Directory", "Hit", "SearchResult", "UnknownAuthority"]
