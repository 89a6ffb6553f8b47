"""Writes what follows from the models and the table of calls of the control API."""
