# SPDX-License-Identifier: Apache-2.0
"""Templates of complete, valid domain XML, and `build`, which adapts them."""

from __future__ import annotations

from domain_templates.build import build, count_vcpus, name_inherited
from domain_templates.catalog import Template, list_templates, load_template
from domain_templates.schema import validate
from domain_templates.spec import DomainKind, Network, TemplateSpec, parse_network

__all__ = [
    "DomainKind",
    "Network",
    "Template",
    "TemplateSpec",
    "build",
    "count_vcpus",
    "list_templates",
    "load_template",
    "name_inherited",
    "parse_network",
    "validate",
]
