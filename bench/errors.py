# SPDX-License-Identifier: Apache-2.0
"""Errors that make a measurement worthless."""

from __future__ import annotations


class BenchError(Exception):
    """A program of the benchmark failed, or an answer or a frequency was wrong."""
