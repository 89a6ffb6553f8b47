# SPDX-License-Identifier: Apache-2.0
"""The votes of all policies of a domain together, and what they hold; pure.

Theory of operation: of the policies that the host has for a vCPU, those of the source
with the highest precedence count: an operator's, else a rule's, else the metadata's.
The guest's own policies vote beside them, as its requests do: the highest want counts.
A policy takes precedence only over those that decide the same (`Concern`). What the
policies that count hold is added up: of several values the one for more performance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.policy.subject import SourceKind
from orchestrator.values.cpu_attributes import ANY_ATTRIBUTES, strictest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.policy.installed import Installation
    from orchestrator.policy.subject import Source
    from orchestrator.values.cpu_attributes import CpuAttributes

HOST_KINDS = (SourceKind.METADATA, SourceKind.RULE, SourceKind.OPERATOR)
"""Each takes precedence over those before it."""

Wants = dict[int, int | None]
"""kHz by vCPU; None: no vote."""


def effective_votes(installed: Mapping[Source, Installation]) -> dict[int, int]:
    """Return the vote of each vCPU that has one, in kHz."""
    wants: Wants = {}
    for kind in HOST_KINDS:
        wants |= _highest(installed, kind)
    both = _merge([wants, _highest(installed, SourceKind.GUEST)])
    return {vcpu: khz for vcpu, khz in both.items() if khz is not None}


def overridden_vcpus(
    installed: Mapping[Source, Installation], source: Source
) -> set[int]:
    """Return the vCPUs for which a source of higher precedence than this one counts."""
    higher = _merge(item.shown_wants for item in _above(installed, source))
    return higher.keys() & installed[source].shown_wants.keys()


def effective_attributes(
    installed: Mapping[Source, Installation],
) -> dict[int, CpuAttributes]:
    """Return what is held for each vCPU for which something is."""
    wanted: dict[int, list[CpuAttributes]] = {}
    for source, item in installed.items():
        held = item.order.held
        if held == ANY_ATTRIBUTES:
            continue
        above = (other.vcpus for other in _above(installed, source))
        for vcpu in item.vcpus.difference(*above):
            wanted.setdefault(vcpu, []).append(held)
    return {vcpu: strictest(several) for vcpu, several in wanted.items()}


def _above(
    installed: Mapping[Source, Installation], source: Source
) -> Iterator[Installation]:
    """Yield the policies that take precedence over that of a source."""
    if source.kind not in HOST_KINDS:
        return
    kinds = HOST_KINDS[HOST_KINDS.index(source.kind) + 1 :]
    concern = installed[source].order.policy.concern
    for other, item in installed.items():
        if other.kind in kinds and item.order.policy.concern is concern:
            yield item


def _highest(installed: Mapping[Source, Installation], kind: SourceKind) -> Wants:
    return _merge(
        item.wants_khz for source, item in installed.items() if source.kind is kind
    )


def _merge(many: Iterable[Mapping[int, int | None]]) -> Wants:
    merged: Wants = {}
    for wants in many:
        for vcpu, khz in wants.items():
            merged[vcpu] = max(khz or 0, merged.get(vcpu) or 0) or None
    return merged
