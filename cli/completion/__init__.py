"""Completion in the shell: the scripts that ask, and the words that are answered."""
