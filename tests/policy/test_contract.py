# SPDX-License-Identifier: Apache-2.0
"""What holds for every policy, whatever it is given."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policy.kinds.want import Level, resolve_khz
from orchestrator.sampling.branches import BranchCount
from orchestrator.sampling.kinds import SampleKind
from tests.policy.vcpu_samples import POLICIES, STEPS, sample, view, views
from tests.properties import examples

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import Policy, PolicyView

each_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


NO_LEVEL = {Level.NO_VOTE, Level.AS_IS}
quickly = settings(max_examples=examples(30), deadline=None)


def run(
    policy: Policy[Any, Any], seen: list[PolicyView[Any]]
) -> list[dict[int, int | None]]:
    """Let a policy decide about view after view, as the engine does."""
    memory = policy.begin()
    voted: dict[int, int | None] = {}
    votes = []
    for one in seen:
        decision = policy.decide(one, memory)
        memory = decision.memory
        assert decision.wants.keys() == {item.vcpu for item in one.vcpus}
        for item in one.vcpus:
            want = decision.wants[item.vcpu]
            voted[item.vcpu] = resolve_khz(want, item.window, voted.get(item.vcpu))
        votes.append(dict(voted))
    return votes


@each_policy
@quickly
@given(data=st.data())
def test_any_views_in_any_order_give_steps_or_no_vote(
    policy: Policy[Any, Any], data: st.DataObject
) -> None:
    seen = data.draw(st.lists(views(policy), max_size=8))
    for one, votes in zip(seen, run(policy, seen), strict=True):
        for item in one.vcpus:
            assert votes[item.vcpu] is None or votes[item.vcpu] in item.window.khz


@each_policy
@quickly
@given(data=st.data())
def test_the_same_views_give_the_same_decisions(
    policy: Policy[Any, Any], data: st.DataObject
) -> None:
    seen = data.draw(st.lists(views(policy), max_size=6))
    before = hash(policy)
    assert run(policy, seen) == run(policy, seen)
    assert hash(policy) == before


@each_policy
@quickly
@given(data=st.data())
def test_a_decision_leaves_its_memory_as_it_was(
    policy: Policy[Any, Any], data: st.DataObject
) -> None:
    seen = data.draw(st.lists(views(policy), max_size=4))
    one = data.draw(views(policy))
    memory = policy.begin()
    for item in seen:
        memory = policy.decide(item, memory).memory
    assert policy.decide(one, memory) == policy.decide(one, memory)


@each_policy
@quickly
@given(data=st.data())
def test_a_level_that_depends_on_the_time_alone_is_what_is_decided(
    policy: Policy[Any, Any], data: st.DataObject
) -> None:
    one = data.draw(views(policy))
    level = policy.level_at(one.now)
    wants = policy.decide(one, policy.begin()).wants
    assert level is None or set(wants.values()) <= {level}
    assert level is None or policy.works_without_sample or level in NO_LEVEL


@each_policy
def test_a_policy_cannot_be_changed(policy: Policy[Any, Any]) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(policy, dataclasses.fields(policy)[0].name, 1.0)  # type: ignore[arg-type]


@each_policy
def test_a_policy_without_its_sample_does_not_vote(policy: Policy[Any, Any]) -> None:
    if policy.needs_sample:
        blind = view(sample(), now=view().now.replace(hour=8))
        assert run(policy, [blind])[0][0] is None


@pytest.mark.parametrize("name", ["traffic", "utilisation"])
@quickly
@given(
    past=st.lists(st.floats(0, 1), max_size=8),
    low=st.floats(0, 1),
    more=st.floats(0, 1),
)
def test_more_load_never_gets_a_lower_clock(
    name: str, past: list[float], low: float, more: float
) -> None:
    unit = {"traffic": 3e6, "utilisation": 1.0}[name]

    def votes_after(last: float) -> int:
        seen = [view(sample(value=load * unit)) for load in [*past, last]]
        return run(POLICIES[name], seen)[-1][0] or 0

    assert votes_after(low) <= votes_after(max(low, more))


@each_policy
def test_one_step_is_all_that_a_clock_with_one_step_gets(
    policy: Policy[Any, Any],
) -> None:
    is_of_branches = policy.sample is SampleKind.BRANCHES
    idle = BranchCount(1, 0, 1.0) if is_of_branches else 0.0
    only = sample(value=idle, steps=STEPS[:1])
    assert set(run(policy, [view(only)] * 9)[-1].values()) <= {STEPS[0], None}
