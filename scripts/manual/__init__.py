"""The manual pages, made from what the code says about itself.

Theory of operation: options and their words come from the command line's own help,
exit statuses from their enum, the configuration's keys from the dataclasses and the
docstrings of their fields. Only what no code says (what a file is for, what to read
next) is written here, in `prose`. So a page cannot say what is not so; a test makes
all pages anew and compares.
"""
