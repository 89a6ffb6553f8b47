# SPDX-License-Identifier: Apache-2.0
"""A domain's limits from two sources that contradict each other."""

from __future__ import annotations

from orchestrator.config import Config, DomainRule
from orchestrator.rights import resolve_rights
from orchestrator.values.domain_settings import DomainSettings
from orchestrator.values.units import KHz
from tests.controller.specs import domain

LOW, HIGH = KHz(1_200_000), KHz(2_000_000)


def test_a_lower_limit_of_a_rule_raises_the_upper_limit_of_the_metadata() -> None:
    config = Config(domain=(DomainRule(match="*", min_khz=HIGH),))
    rights = resolve_rights(config, domain(settings=DomainSettings(max_khz=LOW)))
    assert (rights["min_khz"].value, rights["max_khz"].value) == (HIGH, HIGH)
    assert rights["max_khz"].source == "rule *"
