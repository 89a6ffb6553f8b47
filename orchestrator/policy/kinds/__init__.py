"""The kinds of policies: one module for each, their contract and their table."""
