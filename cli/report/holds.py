# SPDX-License-Identifier: Apache-2.0
"""Explains holds: why vCPUs did not have the frequency that they request."""

from __future__ import annotations

_EXPLANATIONS = {
    "no-vote": "requests no frequency, so it gets the highest; its need is unknown",
    "floating": "its vCPUs float, or the frequency of their CPUs cannot be set",
    "lower-limit": "a lower limit is above what it requests",
    "neighbor": "others in its clock groups need more",
    "host": "the host's own work may run in its clock groups (power.share_with_host)",
    "override": "an operator has set the frequency of its CPUs",
    "observe": "mode observe: its requests are not granted",
    "upper-limit": "an upper limit is below what it requests: it runs slower",
}


def explain_hold(cause: str) -> str:
    """Return a sentence about a cause; a newer daemon may have others."""
    return _EXPLANATIONS.get(cause, cause)
