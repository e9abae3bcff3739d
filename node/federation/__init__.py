"""Carrying messages between nodes, whatever they say."""
