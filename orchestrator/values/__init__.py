"""Immutable values that packages exchange, and their text forms."""
