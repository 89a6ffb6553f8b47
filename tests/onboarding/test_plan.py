# SPDX-License-Identifier: Apache-2.0
"""Plans for channels, for any description, rule and operator's choice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.onboarding.plan import (
    ChannelPlan,
    plan_by_rule,
    plan_offboarding,
    plan_onboarding,
)
from orchestrator.onboarding.rule import OnboardRule
from orchestrator.values.domain import DomainChannels, VCpu

NUMBERS = st.frozensets(st.integers(0, 9))
CHOICES = st.none() | NUMBERS
RULES = st.sampled_from(
    [None, *(OnboardRule(match="*", channels=it) for it in ("all", "none", "0,3-5"))]
)


@st.composite
def descriptions(draw: st.DrawFn) -> DomainChannels:
    present = draw(NUMBERS)
    return DomainChannels(
        vcpus=frozenset(map(VCpu, draw(NUMBERS))),
        present=present,
        removable=present & draw(NUMBERS),
        free_ports=draw(st.integers(0, 12)),
    )


def carry_out(channels: DomainChannels, plan: ChannelPlan) -> DomainChannels:
    """Carry out a plan; libvirt gives a definition the ports that it lacks."""
    detached, attached = frozenset(plan.detach), frozenset(plan.attach)
    assert detached <= channels.removable
    assert not attached & (channels.present - detached)
    return replace(
        channels,
        present=channels.present - detached | attached,
        removable=channels.removable - detached | attached,
        free_ports=max(0, channels.free_ports + len(detached) - len(attached)),
    )


def wanted_by(rule: OnboardRule | None, channels: DomainChannels) -> frozenset[int]:
    return frozenset() if rule is None else rule.wanted(channels.vcpus)


@given(channels=descriptions(), numbers=CHOICES, is_live=st.booleans())
def test_onboarding_adds_what_is_missing_and_nothing_beyond_what_is_wanted(
    channels: DomainChannels, numbers: frozenset[int] | None, *, is_live: bool
) -> None:
    plan = plan_onboarding(channels, numbers, is_live=is_live)
    wanted = channels.vcpus if numbers is None else numbers
    assert [*plan.attach, *plan.waiting] == sorted(wanted - channels.present)
    assert plan.detach == ()


@given(descriptions(), CHOICES)
def test_a_running_domain_gets_the_lowest_numbers_up_to_its_free_ports(
    channels: DomainChannels, numbers: frozenset[int] | None
) -> None:
    plan = plan_onboarding(channels, numbers, is_live=True)
    assert len(plan.attach) <= channels.free_ports
    if plan.waiting:
        assert len(plan.attach) == channels.free_ports
        assert all(number < min(plan.waiting) for number in plan.attach)


@given(descriptions(), CHOICES, RULES)
def test_in_a_definition_nothing_waits(
    channels: DomainChannels, numbers: frozenset[int] | None, rule: OnboardRule | None
) -> None:
    assert plan_onboarding(channels, numbers, is_live=False).waiting == ()
    assert plan_by_rule(channels, rule, is_live=False).waiting == ()


@given(channels=descriptions(), numbers=CHOICES, is_live=st.booleans())
def test_once_onboarding_is_carried_out_nothing_is_left_to_do(
    channels: DomainChannels, numbers: frozenset[int] | None, *, is_live: bool
) -> None:
    plan = plan_onboarding(channels, numbers, is_live=is_live)
    after = carry_out(channels, plan)
    again = plan_onboarding(after, numbers, is_live=is_live)
    assert again == ChannelPlan(waiting=plan.waiting)


@given(channels=descriptions(), rule=RULES, is_live=st.booleans())
def test_once_a_rule_is_carried_out_nothing_is_left_to_do(
    channels: DomainChannels, rule: OnboardRule | None, *, is_live: bool
) -> None:
    plan = plan_by_rule(channels, rule, is_live=is_live)
    after = carry_out(channels, plan)
    again = plan_by_rule(after, rule, is_live=is_live)
    assert again == ChannelPlan(waiting=plan.waiting)
    assert again.is_empty


@given(channels=descriptions(), rule=RULES, is_live=st.booleans())
def test_a_rule_gets_exactly_what_it_wants_beside_what_others_attached(
    channels: DomainChannels, rule: OnboardRule | None, *, is_live: bool
) -> None:
    plan = plan_by_rule(channels, rule, is_live=is_live)
    after, wanted = carry_out(channels, plan), wanted_by(rule, channels)
    foreign = channels.present - channels.removable
    kept = channels.removable if rule and rule.follows_vcpus else frozenset()
    assert after.present == foreign | kept | wanted - frozenset(plan.waiting)


@given(descriptions(), RULES)
def test_what_a_rule_makes_wait_has_no_port_even_after_detaching(
    channels: DomainChannels, rule: OnboardRule | None
) -> None:
    plan = plan_by_rule(channels, rule, is_live=True)
    if plan.waiting:
        assert carry_out(channels, plan).free_ports == 0


@given(descriptions(), CHOICES)
def test_offboarding_detaches_exactly_what_is_ours_and_chosen(
    channels: DomainChannels, numbers: frozenset[int] | None
) -> None:
    plan = plan_offboarding(channels, numbers)
    chosen = channels.present if numbers is None else numbers
    assert plan == ChannelPlan(detach=tuple(sorted(channels.removable & chosen)))
    assert plan_offboarding(carry_out(channels, plan), numbers).is_empty


@given(channels=descriptions(), numbers=CHOICES, is_live=st.booleans())
def test_offboarding_undoes_onboarding(
    channels: DomainChannels, numbers: frozenset[int] | None, *, is_live: bool
) -> None:
    before = replace(channels, removable=frozenset())
    plan = plan_onboarding(before, numbers, is_live=is_live)
    onboarded = carry_out(before, plan)
    after = carry_out(onboarded, plan_offboarding(onboarded))
    assert (after.present, after.removable) == (before.present, before.removable)


@pytest.mark.parametrize(
    ("channels", "plan"),
    [
        ("all", ChannelPlan(attach=(1,), waiting=(2,))),
        ("none", ChannelPlan(detach=(7,))),
        ("1-3", ChannelPlan(detach=(7,), attach=(1, 2), waiting=(3,))),
    ],
)
def test_a_rule_for_all_vcpus_keeps_the_channel_of_an_unplugged_one(
    channels: str, plan: ChannelPlan
) -> None:
    """Here it is vCPU 7: its guest may still have the channel open."""
    described = DomainChannels(
        vcpus=frozenset({VCpu(0), VCpu(1), VCpu(2)}),
        present=frozenset({0, 7}),
        removable=frozenset({7}),
        free_ports=1,
    )
    rule = OnboardRule(match="*", channels=channels)
    assert plan_by_rule(described, rule, is_live=True) == plan
