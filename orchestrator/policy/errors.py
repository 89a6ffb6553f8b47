"""Why a policy cannot be had, or cannot see."""

from __future__ import annotations

from orchestrator.errors import VmpowerError


class PolicyError(VmpowerError):
    """A policy that cannot be meant or cannot work; whoever sent it must change it."""
