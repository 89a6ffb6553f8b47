# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from orchestrator.config import BoundsConfig, Config, DomainRule, EppConfig, IdleConfig
from orchestrator.config_files import config_from
from orchestrator.control import models
from orchestrator.rights import Resolved, resolve_rights
from orchestrator.values.domain_settings import SETTINGS, DomainSettings, Mode
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.units import KHz, Microseconds
from tests.controller.specs import domain

LOW, HIGH = KHz(1_200_000), KHz(2_000_000)


def test_without_settings_a_domain_may_do_everything() -> None:
    rights = resolve_rights(Config(), domain())
    assert rights["min_khz"] == rights["max_khz"] == Resolved(None, "default")
    assert rights.turbo == Resolved(value=True, source="default")
    assert rights.mode == Resolved(Mode.ENFORCE, "default")


def test_what_the_metadata_leaves_open_the_default_decides() -> None:
    spec = domain(settings=DomainSettings(max_khz=HIGH, turbo=False))
    rights = resolve_rights(Config(), spec)
    assert rights["max_khz"] == Resolved(HIGH, "metadata")
    assert rights.turbo == Resolved(value=False, source="metadata")
    assert rights.mode == Resolved(Mode.ENFORCE, "default")


def test_rules_take_precedence_over_metadata_and_earlier_rules_over_later_ones() -> (
    None
):
    config = Config(
        domain=(
            DomainRule(match="web-*", max_khz=LOW),
            DomainRule(match="dpdk-*", mode=Mode.OBSERVE),
            DomainRule(match="*", max_khz=HIGH, mode=Mode.ENFORCE),
        )
    )
    spec = domain("dpdk-0", settings=DomainSettings(max_khz=LOW, turbo=False))
    rights = resolve_rights(config, spec)
    assert rights.mode == Resolved(Mode.OBSERVE, "rule dpdk-*")
    assert rights["max_khz"] == Resolved(HIGH, "rule *")
    assert rights.turbo == Resolved(value=False, source="metadata")


def test_a_rule_can_name_a_uuid() -> None:
    spec = domain()
    config = Config(domain=(DomainRule(match=spec.uuid, turbo=False),))
    assert not resolve_rights(config, spec).turbo.value


def test_the_host_takes_precedence_over_all() -> None:
    config = Config(mode=Mode.OBSERVE, bounds=BoundsConfig(turbo=False))
    spec = domain(settings=DomainSettings(mode=Mode.ENFORCE, turbo=True))
    rights = resolve_rights(config, spec)
    assert rights.mode == Resolved(Mode.OBSERVE, "host")
    assert rights.turbo == Resolved(value=False, source="host")


def test_the_host_s_latency_is_an_upper_limit_and_its_preference_a_default() -> None:
    config = Config(
        idle=IdleConfig(max_latency_us=Microseconds(100)),
        epp=EppConfig(preference=EnergyPreference("power")),
    )
    plain = resolve_rights(config, domain())
    assert plain["idle_latency_us"] == Resolved(100, "host")
    assert plain["epp"] == Resolved("power", "host")
    own = DomainSettings(
        idle_latency_us=Microseconds(50), epp=EnergyPreference("performance")
    )
    stricter = resolve_rights(config, domain(settings=own))
    assert stricter["idle_latency_us"] == Resolved(50, "metadata")
    assert stricter["epp"] == Resolved("performance", "metadata")
    longer = DomainSettings(idle_latency_us=Microseconds(200))
    rights = resolve_rights(config, domain(settings=longer))
    assert rights["idle_latency_us"] == Resolved(100, "host")


def test_of_two_that_contradict_each_other_the_higher_one_wins() -> None:
    config = Config(domain=(DomainRule(match="*", max_khz=LOW),))
    spec = domain(settings=DomainSettings(min_khz=HIGH))
    rights = resolve_rights(config, spec)
    assert rights["min_khz"] == rights["max_khz"] == Resolved(LOW, "rule *")


def test_rules_are_read_from_the_configuration() -> None:
    config = config_from(
        {"domain": [{"match": "dpdk-*", "max_khz": "2GHz", "mode": "observe"}]}
    )
    assert config.domain == (
        DomainRule(match="dpdk-*", max_khz=HIGH, mode=Mode.OBSERVE),
    )


def test_a_request_for_onboarding_comes_from_metadata_or_from_a_rule() -> None:
    asking = domain(settings=DomainSettings(onboard=True))
    assert resolve_rights(Config(), asking).onboard == Resolved(
        value=True, source="metadata"
    )
    config = Config(domain=(DomainRule(match="dpdk-*", onboard=False),))
    assert resolve_rights(config, asking).onboard == Resolved(
        value=False, source="rule dpdk-*"
    )
    assert resolve_rights(Config(), domain()).onboard == Resolved(None, "default")


def test_queries_policies_and_the_generation_are_rights_too() -> None:
    rights = resolve_rights(Config(), domain())
    granted = Resolved(value=True, source="default")
    permissions = ("queries", "energy_queries", "guest_policies")
    assert [rights[name] for name in permissions] == [granted] * 3
    assert rights.permissions == permissions
    assert rights.generation == Resolved(None, "default")
    config = Config(domain=(DomainRule(match="*", queries=False, generation=456),))
    policy = DomainSettings(queries=True, guest_policies=False, generation=16)
    rights = resolve_rights(config, domain(settings=policy))
    assert rights["queries"] == Resolved(value=False, source="rule *")
    assert rights["guest_policies"] == Resolved(value=False, source="metadata")
    assert rights.generation == Resolved(456, "rule *")


def test_the_status_shows_every_setting_but_policies_and_the_onboarding_request() -> (
    None
):
    # Policies are documents of their own; `onboarding` is what the request leads to.
    elsewhere = {"policies", "onboard"}
    assert models.Rights.model_fields.keys() == SETTINGS.keys() - elsewhere | {
        "onboarding"
    }
