# SPDX-License-Identifier: Apache-2.0
"""Errors of policies."""

from __future__ import annotations

from orchestrator.errors import VmpowerError


class PolicyError(VmpowerError):
    """A policy is invalid or cannot work on this host; its sender must change it."""
