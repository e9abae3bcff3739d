"""Editions of procedures: load, check. The domain says what the files mean; this reads them from disk."""

from node.catalogue.loading import Catalogue, MalformedCatalogue
from node.catalogue.texts import text_keys

__all__ = ["Catalogue", "MalformedCatalogue", "text_keys"]
