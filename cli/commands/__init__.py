"""The commands: one file for each, and what several of them share."""
