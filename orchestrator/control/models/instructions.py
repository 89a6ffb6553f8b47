# SPDX-License-Identifier: Apache-2.0
"""JSON messages in the format of DPDK's vm_power_manager."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from orchestrator.control.models.document import CpuNumber, Document

__all__ = ["InstructionRequest", "Outcome", "OutcomeList"]


class InstructionRequest(Document):
    """Messages to execute."""

    text: Annotated[str, Field(strict=True, min_length=1)]
    """JSON objects, one after another."""
    cpu: CpuNumber | None = None
    """Host CPU whose FIFO the messages are written for; null: the messages name their
    CPUs."""


class Outcome(Document):
    """The result of one message."""

    text: str
    """What was done, or why nothing was."""
    done: bool
    """Whether it was executed."""
    hint: str = ""
    """How to fix it; empty if not known."""


class OutcomeList(Document):
    """The results of messages."""

    outcomes: tuple[Outcome, ...]
    """In the order of the messages."""
