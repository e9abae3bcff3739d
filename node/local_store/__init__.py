"""This node's database; its rows never leave it."""
