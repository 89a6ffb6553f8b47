# SPDX-License-Identifier: Apache-2.0
"""Where DPDK's own host has fixed limits."""

from __future__ import annotations

import pytest

from orchestrator.channel.protocol import PolicyPacket, encode_policy
from orchestrator.config import Config
from orchestrator.config_files import config_from
from orchestrator.events import PolicySent
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.values.domain import DomainId
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import domain, topology, vcpu

DOMAINS, VCPUS = 30, 30


def test_f6_thirty_domains_with_thirty_vcpus_can_have_policies() -> None:
    host = SimulatedHost(Config(), topology=topology(cpus=DOMAINS * VCPUS))
    for n in range(DOMAINS):
        vcpus = tuple(vcpu(v, n * VCPUS + v) for v in range(VCPUS))
        spec = domain(f"vm-{n}", vcpus=vcpus)
        host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    for n, uuid in enumerate(host.domains):
        first = 8 * (n % 3)
        low = PolicyPacket(
            policy=2, workload=2, num_vcpu=8, vcpus=tuple(range(first, first + 8))
        )
        host.react(PolicySent(uuid, 1, n, 464, encode_policy(low)))
    host.settle()
    assert [answer.ticket for answer in host.answers if answer.is_accepted] == [
        *range(DOMAINS)
    ]
    covered = {
        DomainId(status.uuid): status.order.vcpus for status in host.engine.statuses()
    }
    assert len(covered) == DOMAINS
    assert {min(vcpus or ()) for vcpus in covered.values()} == {0, 8, 16}


def test_f14_fixed_values_of_that_program_are_options_here() -> None:
    config = config_from(
        {
            "run_dir": "/tmp/elsewhere",
            "libvirt": {"uri": "qemu:///session", "resync_s": 5},
            "fifo": {"directory": "/tmp/fifos"},
            "policy": [
                {
                    "match": "*",
                    "kind": "branch-ratio",
                    "threshold_percent": 0.5,
                    "period_s": 0.02,
                }
            ],
        }
    )
    assert config != Config()
    policy = config.policy[0].build_policy()
    assert isinstance(policy, BranchRatio)
    assert (policy.threshold_percent, policy.period_s) == (0.5, 0.02)


@pytest.mark.parametrize("count", [5, 64, 65, 200])
def test_f6_any_number_of_domains_can_have_policies_of_rules(count: int) -> None:
    rules = {"policy": [{"match": "*", "kind": "utilisation"}]}
    host = SimulatedHost(config_from(rules))
    for n in range(count):
        spec = domain(f"vm-{n}", channels=())
        host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    assert len(list(host.engine.statuses())) == count
