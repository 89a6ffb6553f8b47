# SPDX-License-Identifier: Apache-2.0
"""Generates the manual pages from the code.

Theory of operation: options and their help come from the command lines, exit statuses
from their enums, the keys of the configuration from the dataclasses and the docstrings
of their fields. Only what is in no code (the purpose of a file, examples) is written
here, in `prose`. A test generates all pages and compares them with docs/man.
"""
