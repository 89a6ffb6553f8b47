"""The vmpower command."""
