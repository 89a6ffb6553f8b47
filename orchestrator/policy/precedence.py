# SPDX-License-Identifier: Apache-2.0
"""The votes of all policies of a domain together; pure.

Theory of operation: of the policies that the host has for a vCPU, those of the source
with the highest precedence count: an operator's, else a rule's, else the metadata's.
The guest's own policies vote beside them, as its requests do: the highest want counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.policy.subject import SourceKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.policy.installed import Installation
    from orchestrator.policy.subject import Source

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
    if source.kind not in HOST_KINDS:
        return set()
    above = HOST_KINDS[HOST_KINDS.index(source.kind) + 1 :]
    higher = _merge(i.wants_khz for s, i in installed.items() if s.kind in above)
    return higher.keys() & installed[source].wants_khz.keys()


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
