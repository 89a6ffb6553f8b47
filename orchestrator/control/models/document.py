# SPDX-License-Identifier: Apache-2.0
"""What all documents of the control API have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Document"]

Khz = Annotated[int, Field(strict=True, ge=0)]
"""A frequency in kHz. Strict: JSON's `true` and `2.0` are not frequencies."""
CpuNumber = Annotated[int, Field(strict=True, ge=0)]
"""Number of a vCPU or of a host CPU."""
Count = Annotated[int, Field(strict=True, ge=0)]
"""How often something has happened."""


class Document(BaseModel):
    """Base of all models: immutable; unknown keys are rejected.

    The docstring of a key is its description in the OpenAPI document, in the client's
    documents and in the reference.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True
    )
