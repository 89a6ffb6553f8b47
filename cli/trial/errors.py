# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a trial."""

from orchestrator.errors import VmpowerError


class TrialError(VmpowerError):
    """The trial cannot start, or a part of it has ended."""
