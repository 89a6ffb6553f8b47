# SPDX-License-Identifier: Apache-2.0
"""The guest library, with the calls of librte_power, and the command `vmpower-guest`.

Standard library only, Python 3.9 or newer: it is copied into guests as one file.
"""

from __future__ import annotations

from orchestrator.guest.clock import VCpuClock

# AsyncVCpuClock is in async_clock, so that the command need not import asyncio.
__all__ = ["VCpuClock"]
