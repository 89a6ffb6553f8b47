# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.limits import Limits
from orchestrator.monitor.arbiter import (
    DISABLE_TURBO,
    DOWN,
    ENABLE_TURBO,
    MAX,
    MIN,
    NO_VOTE,
    UP,
    Domain,
    Group,
    VCpu,
)
from orchestrator.values.frequencies import FrequencyTable, table_from

TURBO, NOMINAL, MIDDLE, LOWEST = 3_001_000, 3_000_000, 2_000_000, 1_200_000
STEPS = table_from([TURBO, NOMINAL, MIDDLE, LOWEST])


class Setting(NamedTuple):
    """A vCPU to be put into a group."""

    min_khz: int
    max_khz: int
    vote: int
    is_executing: bool
    is_enforced: bool
    is_turbo_allowed: bool
    has_turbo_right: bool


def _put(group: Group, setting: Setting) -> VCpu:
    domain = Domain()
    domain.is_executing = setting.is_executing
    domain.is_enforced = setting.is_enforced
    vcpu = VCpu(domain, 0)
    vcpu.limits = Limits(setting.min_khz, setting.max_khz)
    vcpu.is_turbo_allowed = setting.is_turbo_allowed
    vcpu.place(group)
    vcpu.has_turbo_right = setting.has_turbo_right
    vcpu.update_window()
    if setting.vote:
        vcpu.vote_khz = group.steps.round_up(setting.vote)
    return vcpu


def _running(group: Group, *, vote: int = 0, max_khz: int = TURBO) -> VCpu:
    return _put(group, Setting(0, max_khz, vote, True, True, True, True))  # noqa: FBT003


khz = st.integers(1, 4_000_000)
steps = st.lists(khz, min_size=1, max_size=12).map(table_from)
settings = st.builds(
    Setting,
    min_khz=st.integers(0, 4_000_000),
    max_khz=st.integers(0, 4_000_000),
    vote=st.integers(0, 4_000_000),
    is_executing=st.booleans(),
    is_enforced=st.booleans(),
    is_turbo_allowed=st.booleans(),
    has_turbo_right=st.booleans(),
)


def limit(group: Group, min_khz: int, max_khz: int) -> None:
    group.limits = Limits(min_khz, max_khz)
    group.update_windows()


@st.composite
def groups(draw: st.DrawFn) -> Group:
    group = Group(0, draw(steps))
    limit(group, draw(khz), draw(khz))
    group.has_host_cpus = draw(st.booleans())
    group.override_khz = draw(st.none() | khz)
    return group


@given(groups(), st.lists(settings, max_size=6))
def test_a_grant_is_a_step_within_the_host_s_limits(
    group: Group, members: list[Setting]
) -> None:
    for setting in members:
        _put(group, setting)
    target_khz = group.target_khz()
    assert target_khz in group.steps.khz
    low_khz, high_khz = group.limits
    if group.steps.lowest_khz <= high_khz:
        assert target_khz <= high_khz
    within = [k for k in group.steps.khz if low_khz <= k <= high_khz]
    if within:
        assert target_khz in within


@given(groups(), st.lists(settings, max_size=6))
def test_a_grant_is_no_less_than_any_requested_frequency_unless_clamped(
    group: Group, members: list[Setting]
) -> None:
    group.override_khz = None
    for setting in members:
        _put(group, setting)
    requested = [v.requested_khz() for v in group.members if v.domain.is_executing]
    highest = group.window.high_khz
    assert all(group.target_khz() >= min(khz, highest) for khz in requested)


@given(groups(), st.lists(settings, max_size=3), steps, st.lists(settings, max_size=3))
def test_a_group_that_follows_is_granted_no_less_than_any_vcpu_requests(
    group: Group, members: list[Setting], others: FrequencyTable, led: list[Setting]
) -> None:
    group.override_khz = None
    for setting in members:
        _put(group, setting)
    own_khz = group.target_khz()
    has_own = any(v.domain.is_executing for v in group.members) or group.has_host_cpus
    elsewhere = Group(1, others)
    for setting in led:
        vcpu = _put(elsewhere, setting)
        vcpu.domain.vcpus[0] = vcpu
        vcpu.domain.let_follow((group,))
    requested = [v.requested_khz() for v in elsewhere.members if v.domain.is_executing]
    wanted = [group.window.fit(khz) for khz in requested]
    assert group.target_khz() == max(
        [*wanted, own_khz] if has_own else wanted or [own_khz]
    )


@pytest.mark.parametrize(
    ("is_executing", "is_enforced", "expected"),
    [
        (True, True, (MIDDLE, True)),
        (False, True, (TURBO, True)),
        (True, False, (TURBO, False)),
    ],
)
def test_votes_of_a_domain_count_where_its_threads_follow(
    *, is_executing: bool, is_enforced: bool, expected: tuple[int, bool]
) -> None:
    group, elsewhere = Group(0, STEPS), Group(1, STEPS)
    setting = Setting(0, TURBO, MIDDLE, is_executing, is_enforced, True, True)  # noqa: FBT003
    vcpu = _put(elsewhere, setting)
    vcpu.domain.vcpus[0] = vcpu
    vcpu.domain.let_follow((group,))
    assert (group.target_khz(), group.has_votes()) == expected
    vcpu.withdraw()
    assert (group.target_khz(), group.has_votes()) == (TURBO, False)
    vcpu.domain.let_follow(())
    assert group.leaders == []


def test_a_group_follows_no_vcpus_that_float() -> None:
    group = Group(0, STEPS)
    vcpu = _running(Group(1, STEPS), vote=MIDDLE)
    vcpu.domain.vcpus[0] = vcpu
    vcpu.domain.let_follow((group,))
    vcpu.place(None)
    assert (group.target_khz(), group.has_votes()) == (TURBO, False)


@given(groups(), st.lists(settings, max_size=6), st.randoms())
def test_the_order_of_vcpus_does_not_matter(
    group: Group, members: list[Setting], random: object
) -> None:
    for setting in members:
        _put(group, setting)
    before = group.target_khz()
    random.shuffle(group.members)  # type: ignore[attr-defined]
    assert group.target_khz() == before


@given(steps, settings)
def test_a_requested_frequency_is_a_step_within_the_domain_s_limits(
    some: FrequencyTable, setting: Setting
) -> None:
    vcpu = _put(Group(0, some), setting._replace(is_enforced=True))
    assert vcpu.requested_khz() in some.khz
    if some.lowest_khz <= setting.max_khz:
        assert vcpu.requested_khz() <= setting.max_khz
    if not (setting.has_turbo_right and setting.is_turbo_allowed):
        assert vcpu.requested_khz() <= some.nominal_khz


@given(steps, settings, st.lists(st.integers(0, 8), max_size=20))
def test_votes_are_always_steps(
    some: FrequencyTable, setting: Setting, units: list[int]
) -> None:
    vcpu = _put(Group(0, some), setting)
    for unit in units:
        vote_khz = vcpu.apply_request(unit)
        assert vote_khz is None or vote_khz in some.khz
        vcpu.vote_khz = vote_khz or vcpu.vote_khz


@given(steps, settings)
def test_max_and_min_do_not_depend_on_the_earlier_vote(
    some: FrequencyTable, setting: Setting
) -> None:
    vcpu = _put(Group(0, some), setting)
    absolute = (vcpu.apply_request(MAX), vcpu.apply_request(MIN))
    vcpu.vote_khz = some.lowest_khz
    assert (vcpu.apply_request(MAX), vcpu.apply_request(MIN)) == absolute


def test_the_highest_requested_frequency_is_granted() -> None:
    group = Group(0, STEPS)
    for vote in (LOWEST, MIDDLE, LOWEST):
        _running(group, vote=vote)
    assert group.target_khz() == MIDDLE


def test_a_running_vcpu_without_a_vote_is_not_slowed_by_a_neighbor() -> None:
    group = Group(0, STEPS)
    _running(group, vote=LOWEST)
    _running(group)
    assert group.target_khz() == TURBO


def test_a_paused_domain_s_vote_does_not_count_and_is_kept() -> None:
    group = Group(0, STEPS)
    _running(group, vote=LOWEST)
    paused = _running(group, vote=NOMINAL)
    paused.domain.is_executing = False
    assert group.target_khz() == LOWEST
    paused.domain.is_executing = True
    assert group.target_khz() == NOMINAL


def test_a_domain_in_observe_mode_is_not_slowed_by_its_limits_or_votes() -> None:
    group = Group(0, STEPS)
    observed = _running(group, vote=LOWEST, max_khz=MIDDLE)
    observed.domain.is_enforced = False
    assert group.target_khz() == TURBO


def test_a_group_without_running_vcpus_stays_at_its_highest_permitted_step() -> None:
    group = Group(0, STEPS)
    limit(group, 0, NOMINAL)
    assert group.target_khz() == NOMINAL


def test_a_group_with_host_cpus_is_not_slowed() -> None:
    group = Group(0, STEPS)
    group.has_host_cpus = True
    _running(group, vote=LOWEST)
    assert group.target_khz() == TURBO


def test_an_override_replaces_requests_within_the_host_s_limits() -> None:
    group = Group(0, STEPS)
    _running(group, vote=TURBO)
    group.override_khz = 1_500_000
    assert group.target_khz() == MIDDLE
    group.override_khz = TURBO
    limit(group, 0, MIDDLE)
    assert group.target_khz() == MIDDLE


def test_a_limit_between_two_steps_is_not_exceeded() -> None:
    group = Group(0, STEPS)
    limit(group, 0, 2_500_000)
    assert group.target_khz() == MIDDLE


def test_the_calls_of_dpdk_s_test_suite_give_the_steps_of_its_turbo_rules() -> None:
    vcpu = _running(Group(0, STEPS))
    votes = []
    for unit in (ENABLE_TURBO, DISABLE_TURBO, UP, DOWN, MIN, MAX):
        vcpu.vote_khz = vcpu.apply_request(unit) or 0
        votes.append(vcpu.vote_khz)
    assert votes == [TURBO, NOMINAL, NOMINAL, MIDDLE, LOWEST, NOMINAL]


@pytest.mark.parametrize(
    ("unit", "vote", "result"),
    [
        (UP, 0, TURBO),
        (DOWN, 0, NOMINAL),
        (UP, TURBO, TURBO),
        (UP, LOWEST, MIDDLE),
        (DOWN, LOWEST, LOWEST),
        (DOWN, TURBO, NOMINAL),
        (MAX, LOWEST, TURBO),
        (MIN, TURBO, LOWEST),
        (0, LOWEST, None),
        (7, LOWEST, None),
    ],
)
def test_a_request_changes_a_vote(unit: int, vote: int, result: int | None) -> None:
    assert _running(Group(0, STEPS), vote=vote).apply_request(unit) == result


def test_relative_requests_move_within_the_domain_s_limits() -> None:
    vcpu = _running(Group(0, STEPS), vote=TURBO, max_khz=MIDDLE)
    assert vcpu.apply_request(UP) == MIDDLE
    assert vcpu.apply_request(DOWN) == LOWEST


def test_without_turbo_enabling_is_refused_and_disabling_is_accepted() -> None:
    vcpu = _running(Group(0, table_from([NOMINAL, LOWEST])))
    assert vcpu.apply_request(ENABLE_TURBO) is None
    assert vcpu.apply_request(DISABLE_TURBO) == NOMINAL


@pytest.mark.parametrize(
    ("vote", "result"),
    [(0, NOMINAL), (TURBO, NOMINAL), (NOMINAL, NOMINAL), (MIDDLE, MIDDLE)],
)
def test_disabling_turbo_makes_no_slow_vcpu_faster(vote: int, result: int) -> None:
    assert _running(Group(0, STEPS), vote=vote).apply_request(DISABLE_TURBO) == result


def test_turbo_that_the_operator_forbids_is_refused() -> None:
    vcpu = _running(Group(0, STEPS))
    vcpu.is_turbo_allowed = False
    vcpu.update_window()
    assert vcpu.apply_request(ENABLE_TURBO) is None
    assert vcpu.apply_request(MAX) == NOMINAL
    assert vcpu.requested_khz() == NOMINAL


def test_forbidding_turbo_lowers_an_existing_vote() -> None:
    vcpu = _running(Group(0, STEPS), vote=TURBO)
    vcpu.is_turbo_allowed = False
    vcpu.update_window()
    assert vcpu.requested_khz() == NOMINAL


def test_a_vote_ends_in_another_group() -> None:
    vcpu = _running(Group(0, STEPS), vote=MIDDLE)
    vcpu.place(Group(1, STEPS))
    assert vcpu.vote_khz == 0


def test_withdrawing_a_vote_resets_the_turbo_switch() -> None:
    vcpu = _running(Group(0, STEPS))
    vcpu.vote_khz = vcpu.apply_request(DISABLE_TURBO) or 0
    vcpu.withdraw()
    assert (vcpu.vote_khz, vcpu.apply_request(MAX)) == (0, TURBO)


def test_a_floating_vcpu_accepts_no_request() -> None:
    vcpu = _running(Group(0, STEPS))
    vcpu.place(None)
    assert vcpu.apply_request(MAX) is None


def test_a_floating_vcpu_has_no_vote_of_a_policy_or_p_state() -> None:
    vcpu = _running(Group(0, STEPS))
    vcpu.place(None)
    vcpu.set_policy_vote(MIDDLE)
    vcpu.set_p_state_vote(MIDDLE, 2_000)
    assert (vcpu.highest_vote_khz(), vcpu.p_state_voter) == (NO_VOTE, None)


def test_only_a_vcpu_that_decides_alone_is_a_sole_voter() -> None:
    group = Group(0, STEPS)
    vcpu = _running(group, vote=LOWEST)
    assert group.sole_voter() is vcpu
    group.override_khz = MIDDLE
    assert group.sole_voter() is None
    group.override_khz = None
    group.has_host_cpus = True
    assert group.sole_voter() is None
    group.has_host_cpus = False
    _running(group)
    assert group.sole_voter() is None
