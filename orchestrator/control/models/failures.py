# SPDX-License-Identifier: Apache-2.0
"""The body of every answer whose HTTP status is 400 or above."""

from __future__ import annotations

from orchestrator.control.models.document import Document

__all__ = ["ErrorDocument", "Failure"]


class Failure(Document):
    """What went wrong, and how to fix it."""

    message: str
    """One line."""
    hint: str = ""
    """How to fix it; empty if not known."""


class ErrorDocument(Document):
    """The body of an answer that reports a failure."""

    error: Failure
    """The failure."""
