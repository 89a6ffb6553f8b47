"""What the policies of a domain vote together; pure.

Theory of operation: of what the host says about a vCPU the word that stands highest
counts: an operator's, else a rule's, else the metadata's. The guest's own policies are
beside it, as its requests are: the highest want counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.policy.subject import SourceKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.policy.installed import Installation
    from orchestrator.policy.subject import Source

HOST_KINDS = (SourceKind.METADATA, SourceKind.RULE, SourceKind.OPERATOR)
"""Each stands above those before it."""

Wants = dict[int, int | None]
"""kHz by vCPU; None: no vote."""


def count_votes(installed: Mapping[Source, Installation]) -> dict[int, int]:
    """Return the vote of each vCPU that has one, in kHz."""
    wants: Wants = {}
    for kind in HOST_KINDS:
        wants |= _highest(installed, kind)
    own = _highest(installed, SourceKind.GUEST)
    both = _merge([wants, own])
    return {vcpu: khz for vcpu, khz in both.items() if khz is not None}


def find_outranked(
    installed: Mapping[Source, Installation], source: Source
) -> set[int]:
    """Return the vCPUs about which a word that stands above this source's counts."""
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
