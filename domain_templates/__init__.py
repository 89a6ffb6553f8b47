"""Complete, valid domain XML to start from, and `build` to fit it to a purpose."""

from __future__ import annotations

from domain_templates.build import DomainKind, TemplateSpec, build
from domain_templates.schema import validate

__all__ = ["DomainKind", "TemplateSpec", "build", "validate"]
