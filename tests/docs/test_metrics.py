# SPDX-License-Identifier: Apache-2.0
"""docs/metrics.md lists every family with its labels and the bound of its series."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.channel.lifecycle import ChannelState
from orchestrator.channel.protocol import GENERATIONS
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.metrics.families import FAMILIES
from orchestrator.monitor.link.table import LATENCY_BUCKETS
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.subject import SourceKind
from orchestrator.values.domain import DomainState
from orchestrator.values.event_kinds import EVENT_KINDS, GRANT, MISSED
from orchestrator.values.refusal import Refusal
from tests.docs.documents import ROOT, read

if TYPE_CHECKING:
    from orchestrator.metrics.family import Family

PAGE = read(ROOT / "docs" / "metrics.md")


def row_of(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return (
        f"| `{family.name}` | {family.kind} | {labels} | {family.bound} |"
        f" {family.help.removesuffix('.')} |"
    )


def test_every_family_is_listed_in_their_order() -> None:
    listed = re.findall(r"^\| `vmpower_\w+` \| .*$", PAGE, re.MULTILINE)
    assert listed == [row_of(family) for family in FAMILIES]


def test_bounds_that_are_numbers_are_those_of_the_source() -> None:
    bounds = {family.name: family.bound for family in FAMILIES}
    number = {name: re.match(r"\d+", bound) for name, bound in bounds.items()}
    found = {name: int(match[0]) for name, match in number.items() if match}
    assert found["vmpower_clock_groups"] == len(GroupStage)
    assert found["vmpower_domains"] == len(DomainState)
    assert found["vmpower_channels"] == len(ChannelState) * (len(GENERATIONS) + 2)
    assert found["vmpower_domain_channels"] == len(ChannelState)
    assert found["vmpower_domain_refusals_total"] == len(Refusal)
    assert found["vmpower_domain_policies"] == len(SourceKind)
    assert found["vmpower_request_latency_seconds"] == LATENCY_BUCKETS + 3


def test_the_most_series_of_a_host_are_the_sum_of_the_bounds() -> None:
    bounds = [family.bound for family in FAMILIES]
    fixed = sum(int(re.split(r"\W", it)[0]) for it in bounds if "each" not in it)
    fixed += len(EVENT_KINDS.keys() - {GRANT, MISSED})
    per_domain = sum(
        int(it.partition(" ")[0])
        for it in bounds
        if it.endswith("for each running domain") and "every kind" not in it
    )
    per_domain += len(SourceKind) * len(KINDS)
    text = f"at most {fixed} + 2 C + 2 V + {per_domain} D series"
    assert text in " ".join(PAGE.split())
