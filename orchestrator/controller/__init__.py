# SPDX-License-Identifier: Apache-2.0
"""Decisions: `react(event) -> actions`; pure, no I/O, no clock.

Each module decides about one noun, by functions of the inventory and an event;
`react` is the entry point.
"""

from orchestrator.controller.react import Controller

__all__ = ["Controller"]
