# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import Access, Config, TurboSwitch
from orchestrator.config_files import config_from, load_config, show_config
from orchestrator.errors import ConfigError
from orchestrator.onboarding.rule import MetadataCondition, OnboardRule
from orchestrator.values.domain_settings import Mode, ThreadFrequency


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_configuration_is_the_default() -> None:
    assert config_from({}) == Config()


def test_every_kind_of_value_is_converted() -> None:
    config = config_from(
        {
            "mode": "observe",
            "run_dir": "/tmp/run",
            "libvirt": {"access": "read-only", "resync_s": 5},
            "bounds": {"min_khz": 1_200_000, "max_khz": "2.3GHz", "turbo": False},
            "channels": {"trusted_uids": [64055]},
            "onboard": [{"match": "dpdk-*"}, {"match": "vnf-?"}],
        }
    )
    assert config.mode is Mode.OBSERVE
    assert config.run_dir == Path("/tmp/run")
    assert config.libvirt.access is Access.READ_ONLY
    assert config.libvirt.resync_s == 5.0
    assert (config.bounds.min_khz, config.bounds.max_khz) == (1_200_000, 2_300_000)
    assert config.channels.trusted_uids == (64055,)
    assert config.onboard == (OnboardRule(match="dpdk-*"), OnboardRule(match="vnf-?"))


def test_settings_of_the_kernel_are_read_for_the_host_and_for_domains() -> None:
    config = config_from(
        {
            "idle": {"max_latency_us": 50},
            "epp": {"preference": 192},
            "uncore": {"max_khz": "1.8GHz"},
            "turbo": {"switch": "off"},
            "host": {"idle_cpus": "lowest", "own_cpus": "0-1"},
            "control": {"group": "root"},
            "domain": [
                {"match": "fw", "emulator": "follow"},
                {"match": "*", "epp": "power", "idle_latency_us": 0},
            ],
        }
    )
    assert config.idle.max_latency_us == 50
    assert config.epp.preference == "balance_power"
    assert config.uncore.max_khz == 1_800_000
    assert config.turbo.switch is TurboSwitch.OFF
    assert config.host.pcpus == {0, 1}
    follow, rule = config.domain
    assert (rule.epp, rule.idle_latency_us) == ("power", 0)
    assert follow.emulator is ThreadFrequency.FOLLOW


def test_policies_are_read_with_their_lists() -> None:
    config = config_from(
        {
            "policy": [
                {
                    "match": "web-*",
                    "kind": "time-of-day",
                    "busy": ["mon-fri 08:00-18:00"],
                    "zone": "Europe/Berlin",
                },
                {"match": "*", "kind": "utilisation", "up_above": 1, "vcpus": "0-3"},
            ]
        }
    )
    first, second = config.policy
    assert (first.kind, first.options) == (
        "time-of-day",
        {"busy": ("mon-fri 08:00-18:00",), "zone": "Europe/Berlin"},
    )
    assert second.options == {"up_above": 1.0}
    assert (second.vcpus, second.macs) == ("0-3", None)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"policy": [{"match": "*", "kind": "traffic", "avg_pps": 5}]},
            "policy[0].max_pps: missing",
        ),
        (
            {"policy": [{"match": "*", "kind": "speed"}]},
            "policy[0].kind: unknown policy kind 'speed': expected traffic, packet",
        ),
        (
            {"policy": [{"match": "*", "kind": "time-of-day", "busy": "08:00-09:00"}]},
            "policy[0].busy: expected a list",
        ),
        ({"policy": [3]}, "policy[0]: expected a table"),
        (
            {"policy": [{"match": "*", "kind": "utilisation", "down-below": 1}]},
            (
                "policy[0].down-below: unknown option of policy kind 'utilisation';"
                " did you mean 'down_below'?"
            ),
        ),
        ({"bonds": {}}, "bonds: unknown key, did you mean 'bounds'?"),
        ({"bounds": {"trbo": True}}, "bounds.trbo: unknown key, did you mean 'turbo'?"),
        ({"zzz": 1}, "zzz: unknown key"),
        (
            {"mode": "enforced"},
            "mode: invalid value 'enforced': expected one of enforce, observe",
        ),
        ({"bounds": {"turbo": 1}}, "bounds.turbo: expected true or false, got 1"),
        ({"bounds": {"max_khz": "fast"}}, "bounds.max_khz: invalid frequency 'fast'"),
        (
            {"bounds": {"min_khz": -5}},
            "bounds.min_khz: invalid frequency -5: expected 1 to 100000000 kHz",
        ),
        (
            {"bounds": {"max_khz": 10**24}},
            f"bounds.max_khz: invalid frequency {10**24}: expected",
        ),
        ({"bounds": {"max_khz": "9" * 5000}}, "expected 1 kHz to 100 GHz"),
        (
            {"libvirt": {"resync_s": math.nan}},
            "libvirt.resync_s: invalid time nan: expected",
        ),
        (
            {"power": {"release_after_s": math.inf}},
            "power.release_after_s: invalid time inf: expected",
        ),
        ({"power": {"fallback_governor": "a b"}}, "invalid governor name 'a b'"),
        ({"power": {"fallback_governor": "userspace"}}, "must not be 'userspace'"),
        ({"run_dir": ""}, "run_dir: invalid path ''"),
        ({"run_dir": "/run/\0"}, "run_dir: invalid path '/run/"),
        ({"bounds": 3}, "bounds: expected a table"),
        (
            {"metrics": {"listen": "localhost:9723"}},
            "metrics.listen: invalid address 'localhost:9723': expected ADDRESS:PORT",
        ),
        ({"metrics": {"listen": "0.0.0.0:1"}}, "expected one address of the host"),
        ({"onboard": {"match": "x"}}, "onboard: expected a list"),
        ({"onboard": [{}]}, "onboard[0]: matches every domain: if that is intended"),
        ({"onboard": [{"channels": "9" * 5000}]}, "channels: invalid channel '999"),
        ({"onboard": [{"channels": "x"}]}, "onboard[0]: channels: invalid channel 'x'"),
        (
            {"onboard": [{"channels": "1280"}]},
            "invalid channel number 1280: the highest is 1279",
        ),
        ({"onboard": [{"match": "a", "excep": []}]}, "did you mean 'except'?"),
        ({"onboard": [{"except_": ["a"]}]}, "onboard[0].except_: unknown key"),
        ({"onboard": [{"metadata": "yes"}]}, "expected one of permits, asks, ignored"),
        (
            {"libvirt": {"resync_s": 0.1}},
            "libvirt.resync_s: invalid time 0.1: expected 1 to 86400 seconds",
        ),
        (
            {"power": {"release_after_s": -1}},
            "power.release_after_s: invalid time -1.0: expected 0 to 86400 seconds",
        ),
        (
            {"uncore": {"min_khz": "2GHz", "max_khz": "1.5GHz"}},
            "uncore: min_khz 2000000 is above max_khz 1500000",
        ),
        (
            {"uncore": {"min_khz": 50_000, "max_khz": "20GHz"}},
            "uncore.min_khz: invalid frequency 50000: expected 100000 to 12700000",
        ),
        (
            {"idle": {"max_latency_us": -1}},
            "idle.max_latency_us: invalid latency -1: expected 0 to 1000000 micro",
        ),
        ({"idle": {"max_latency_us": True}}, "expected an integer, got True"),
        (
            {"epp": {"preference": "default"}},
            "epp.preference: invalid energy preference 'default': expected perf",
        ),
        ({"epp": {"preference": 256}}, "invalid energy preference '256'"),
        ({"epp": {"preference": 1.5}}, "epp.preference: expected performance, bal"),
        (
            {"domain": [{"match": "*", "epp": "fast", "idle_latency_us": 1.5}]},
            "domain[0].epp: invalid energy preference 'fast'",
        ),
        (
            {"control": {"group": "no-such-group"}},
            "control.group: no such group: 'no-such-group'",
        ),
        (
            {"control": {"group": "99999999999"}},
            "control.group: no such group: '99999999999'",
        ),
        ({"host": {"own_cpus": "0-"}}, "host.own_cpus: invalid CPU '0-': expected num"),
        (
            {"host": {"idle_cpus": "low"}},
            "host.idle_cpus: invalid value 'low': expected one of leave, lowest",
        ),
        (
            {"turbo": {"switch": True}},
            "turbo.switch: invalid value 'True': expected one of leave, on, off",
        ),
        (
            {"bounds": {"min_khz": 3, "max_khz": 2}},
            "bounds: min_khz 3 is above max_khz 2",
        ),
    ],
)
def test_an_error_is_reported_with_its_key(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from(table)
    assert message in str(caught.value)


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        config_from({"mode": "x", "bonds": {}, "bounds": {"turbo": "yes"}})
    assert len(str(caught.value).split("; ")) == 3


def test_drop_ins_override_in_the_order_of_their_names(tmp_path: Path) -> None:
    main = write(tmp_path, "vmpower.toml", "mode = 'observe'\n[bounds]\nturbo = false")
    write(tmp_path, "conf.d/20-b.toml", "[bounds]\nmax_khz = 2000000")
    write(tmp_path, "conf.d/10-a.toml", "[bounds]\nmax_khz = 1000000")
    config = load_config(main)
    assert config.mode is Mode.OBSERVE
    assert (config.bounds.max_khz, config.bounds.turbo) == (2_000_000, False)


def test_an_error_names_the_file_and_the_line_that_have_it(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        "vmpower.toml",
        "mod = 1\n[bounds]\nturbo = 1\nmin_khz = 2000000\n[[domain]]\nmatch = 'a'",
    )
    first = write(tmp_path, "conf.d/10-a.toml", "[bounds]\nmax_khz = 'fast'")
    second = write(tmp_path, "conf.d/20-b.toml", "[[domain]]\nmach = 'b'\nturbo = 1")
    with pytest.raises(ConfigError) as caught:
        load_config(main)
    assert str(caught.value) == (
        f"{main}:1: mod: unknown key, did you mean 'mode'?;"
        f" {main}:3: bounds.turbo: expected true or false, got 1;"
        f" {first}:2: bounds.max_khz: invalid frequency 'fast': expected 2.3GHz,"
        f" 2300MHz or kHz; {second}:2: domain[0].mach: unknown key, did you mean"
        f" 'match'?; {second}:3: domain[0].turbo: expected true or false, got 1;"
        f" {second}:1: domain[0].match: missing"
    )


def test_limits_of_two_files_that_contradict_name_both(tmp_path: Path) -> None:
    main = write(tmp_path, "vmpower.toml", "[bounds]\nmin_khz = 2000000")
    other = write(tmp_path, "conf.d/a.toml", "[bounds]\nmax_khz = 1000000")
    with pytest.raises(ConfigError) as caught:
        load_config(main)
    assert str(caught.value).startswith(f"{main}:1, {other}:1: bounds: min_khz 2000000")


def test_a_given_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "absent.toml")


def test_a_directory_is_not_called_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a file"):
        load_config(tmp_path)


@pytest.mark.parametrize("text", ["mode =", "\x00", "[bounds\n", "x = " + "[" * 9999])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "broken.toml", text)
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load_config(path)


def test_an_onboarding_rule_is_read() -> None:
    rule = {"match": "vnf-*", "except": ["vnf-lab"], "metadata": "asks"}
    config = config_from({"onboard": [{**rule, "pinned": True, "channels": "0-3"}]})
    assert config.onboard == (
        OnboardRule(
            match="vnf-*",
            except_=("vnf-lab",),
            metadata=MetadataCondition.ASKS,
            pinned=True,
            channels="0-3",
        ),
    )


def test_the_shown_configuration_can_be_read_again() -> None:
    rule = {"match": "a", "except": ["b"], "pinned": True}
    config = config_from({"bounds": {"max_khz": "2GHz"}, "onboard": [rule]})
    shown = json.loads(show_config(config))
    assert shown["bounds"]["max_khz"] == 2_000_000
    assert config_from(shown) == config


def test_a_policy_is_shown_with_its_defaults() -> None:
    rules = [
        {"match": "a", "kind": "utilisation", "calm_samples": 7},
        {"match": "b", "kind": "time-of-day", "busy": ["sat"], "vcpus": "0"},
    ]
    config = config_from({"policy": rules})
    shown = json.loads(show_config(config))
    first, second = shown["policy"]
    assert first == {
        "match": "a",
        "kind": "utilisation",
        "up_above": 0.8,
        "down_below": 0.5,
        "down_after_samples": 7,
        "period_s": 1.0,
        "vcpus": None,
        "idle_latency_us": None,
        "epp": None,
    }
    assert (second["busy"], second["zone"], second["vcpus"]) == (["sat"], None, "0")
    again = config_from(shown).policy
    assert [rule.build_policy() for rule in again] == [
        rule.build_policy() for rule in config.policy
    ]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"match": "a", "generation": 17},
            "domain[0].generation: invalid value 17: expected one of 16, 456",
        ),
        ({"match": "a", "min_khz": 3, "max_khz": 2}, "domain[0]: min_khz 3 is above"),
        ({"match": "a", "trubo": True}, "domain[0].trubo: unknown key"),
    ],
)
def test_an_error_in_a_rule_is_reported(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from({"domain": [rule]})
    assert message in str(caught.value)
