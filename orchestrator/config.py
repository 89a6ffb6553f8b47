# SPDX-License-Identifier: Apache-2.0
"""Every option of the daemon: default, unit and reason in one place.

Theory of operation: a configuration is a tree of frozen dataclasses, whose field types
are the types of the options and whose docstrings become vmpower.toml(5). Files are
TOML: `/etc/vmpower/vmpower.toml`, then `conf.d/*.toml` beside it in the order of their
names. Each overrides the options that it sets, as with systemd. Unknown keys are
errors, because an ignored typo can slow down a guest's traffic.

A configuration never changes after it was loaded. What is decided at run time, such as
the port of a socket, is an attribute of the object that decides it.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import grp
import json
import math
import re
import tomllib
import types
import typing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.onboarding.rule import OnboardRule  # noqa: TC001 - read at run time
from orchestrator.policy.rule import PolicyRule, read_rule
from orchestrator.policy.text import parse_policies
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain_settings import SETTINGS, DomainSettings, Mode
from orchestrator.values.energy_preference import (
    EXPECTED,
    EnergyPreference,
    parse_preference,
)
from orchestrator.values.listen_address import parse_listen_address
from orchestrator.values.units import MAX_KHZ, KHz, Microseconds, check_us, parse_khz

DEFAULT_HISTORY_DIRECTORY = Path("/var/lib/vmpower")
DEFAULT_FILE = Path("/etc/vmpower/vmpower.toml")
_HELP = "see vmpower.toml(5)"
_MAX_S = 86_400
"""Upper limit of all times; a longer one is a mistake, or not in seconds."""
_TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
}
_MAX_CURRENCY = 8
_P_STATE_LATENCY_US = Microseconds(10_000)
_GOVERNOR = re.compile(r"[a-z_]{1,15}")
"""Source: include/linux/cpufreq.h, CPUFREQ_NAME_LEN is 16 with the terminating zero."""


Origins: typing.TypeAlias = dict[tuple[str, ...], Path]
"""The file that set each key: `("bounds", "turbo")`. An array is one key."""


class Problem(typing.NamedTuple):
    """Why a key, or the configuration, is invalid."""

    key: str
    """With its table, as in `bounds.max_khz` and `domain[0].match`."""
    text: str


class Access(StrEnum):
    """Access rights of the daemon's libvirt connection."""

    AUTO = "auto"
    """Read-write if libvirt permits it, else read-only."""
    READ_ONLY = "read-only"
    """Sufficient, except that a guest closing its port is noticed only at a resync."""


class DriftResponse(StrEnum):
    """Response to another program's change of a taken clock group."""

    YIELD = "yield"
    """Leave the clock group as it is, and refuse requests until `vmpower cpu
    retake`."""
    RETAKE = "retake"
    """Take it back, up to three times a minute, then leave it."""


class TurboSwitch(StrEnum):
    """What to do with the kernel's turbo switches."""

    LEAVE = "leave"
    """Leave them as they are."""
    ON = "on"
    """Allow turbo."""
    OFF = "off"
    """Forbid turbo."""


class IdleCpus(StrEnum):
    """What to do with the frequency of CPUs that no domain uses."""

    LEAVE = "leave"
    """Leave it to the governor."""
    LOWEST = "lowest"
    """Limit it to the lowest step."""


class LogLevel(StrEnum):
    """Minimum severity of log messages."""

    DEBUG = "debug"
    """Details and tracebacks."""
    INFO = "info"
    """Each change of state."""
    WARNING = "warning"
    """Problems that were handled."""
    ERROR = "error"
    """Problems that need the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtConfig:
    """The libvirt connection."""

    uri: str = ""
    """Connection URI, as for virsh; empty: LIBVIRT_DEFAULT_URI, else qemu:///system.
    Remote hosts are rejected, because frequencies can only be set locally."""
    access: Access = Access.AUTO
    """Access rights to request. Attaching channels always opens a separate read-write
    connection."""
    resync_s: float = 30.0
    """Interval of full comparisons with libvirt. They find changes without an event,
    such as a hot-plugged vCPU, or a closed port on a read-only connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundsConfig:
    """Frequency limits of every CPU on this host that has a supported scaling driver.

    They hold while the daemon runs, whatever is requested and whatever the governor is:
    the daemon writes them to the kernel (scaling_min_freq, scaling_max_freq) and
    restores the earlier values when it stops. A limit between two steps of the hardware
    is the step below it for max_khz, above it for min_khz.
    """

    min_khz: KHz | None = None
    """Lowest frequency; unset: that of the hardware."""
    max_khz: KHz | None = None
    """Highest frequency; unset: that of the hardware."""
    turbo: bool = True
    """Whether turbo may be used; false: the highest frequency is the nominal one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerConfig:
    """When clock groups, CPUs that share one frequency, are taken and released."""

    release_after_s: float = 30.0
    """Time for which a clock group without requests stays at its highest permitted
    step before its original settings are restored. A guest that restarts within this
    time causes no change of governor, which takes 12-24 ms from schedutil."""
    share_with_host: bool = False
    """Whether a clock group may be slowed down even if no domain is pinned to one of
    its CPUs, which may therefore run host tasks."""
    verify_s: float = 2.0
    """Interval, in seconds, at which the governor and the frequency of every taken
    clock group are compared with what was set. CPUs that come back online or from
    suspend are checked at once."""
    drift: DriftResponse = DriftResponse.YIELD
    """What to do if another program changes the governor or the frequency of a taken
    clock group."""
    fallback_governor: str = "schedutil"
    """Governor to restore on CPUs that were found in `userspace` without a restore
    journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleConfig:
    """How deeply CPUs may sleep while they are idle."""

    max_latency_us: Microseconds | None = None
    """Longest time in microseconds that any CPU of the host may take to wake up; unset:
    no limit of the host. The kernel enters no idle state that takes longer to leave;
    with 0, an idle CPU polls. Domains have limits of their own (idle_latency_us), and
    the lowest of all applies. The daemon writes it to pm_qos_resume_latency_us of each
    CPU and restores the earlier values when it stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EppConfig:
    """Energy preferences (EPP) of scaling drivers that choose the frequency themselves.

    These are intel_pstate with HWP and amd-pstate in mode active.
    """

    preference: EnergyPreference | None = None
    """Energy preference of every clock group for which no domain has one; unset: that
    of the kernel stays. `performance`, `balance_performance`, `balance_power`, `power`,
    or, where the kernel takes numbers, 0 (performance) to 255. The daemon restores the
    earlier one when it stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """CPUs that no domain uses."""

    idle_cpus: IdleCpus = IdleCpus.LEAVE
    """What to do with the frequency of CPUs that no running domain uses: no vCPU may
    run on a CPU of their clock group, no emulator or I/O thread is pinned to one, and
    no operator has set a frequency. Work of the host on such CPUs becomes slow: give
    its CPUs in own_cpus."""
    own_cpus: str = ""
    """CPUs of the host's own work, as in "0-1,20", which idle_cpus leaves alone: those
    of a virtual switch, of interrupts, of libvirt and this daemon."""

    @property
    def pcpus(self) -> frozenset[int]:
        """The CPUs in own_cpus."""
        return parse_cpulist(self.own_cpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class UncoreConfig:
    """Frequencies of the parts of Intel's processors outside of the cores.

    These are the last-level cache, the mesh and memory controllers. They need the
    kernel module intel_uncore_frequency. Frequencies are rounded down to 100 MHz.
    """

    min_khz: KHz | None = None
    """Lowest uncore frequency of every die; unset: unchanged."""
    max_khz: KHz | None = None
    """Highest uncore frequency of every die; unset: unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurboConfig:
    """The kernel's turbo switches, which apply to every CPU and program of the host.

    To keep single domains, or all CPUs while the daemon runs, below turbo, use the
    setting turbo of `[[domain]]` or `[bounds]`, which change no switch.
    """

    switch: TurboSwitch = TurboSwitch.LEAVE
    """How to set cpufreq/boost, and intel_pstate/no_turbo. The daemon restores the
    earlier values when it stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsConfig:
    """Connections to channels."""

    trusted_uids: tuple[int, ...] = ()
    """User IDs that may listen on channel sockets, besides root, the daemon's own user
    and QEMU's. A listener can send requests on behalf of the domain."""
    budget: int = 50_000
    """Requests per second that each channel may send; 0: unlimited. A guest that sends
    more is not read for some milliseconds. One that exceeds it for 10 seconds, or that
    sends much garbage, is quarantined: its channel is closed, for 10 seconds at first
    and then for longer. A guest that waits for each answer sends some 12,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PStatesConfig:
    """P-states for guests, which their own cpufreq drivers request."""

    directory: Path = Path("/var/lib/vmpower/acpi")
    """Directory of the ACPI tables of domains, and of the sockets for their requests.
    QEMU's user must be able to read it."""
    latency_us: Microseconds = _P_STATE_LATENCY_US
    """Time in microseconds that a change of the frequency takes, as guests find it.
    Linux derives from it how often a guest's governor may request: with 10000,
    schedutil requests at most 100 times a second for each vCPU. A lower value makes
    guests react faster, and each request costs the guest an exit to QEMU. It applies to
    tables that are made afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig:
    """The control socket, over which `vmpower` changes settings."""

    group: str = ""
    """Group whose members may use the control socket, besides root; a name or a number;
    empty: the group of the daemon's process. It applies from the next start."""

    @property
    def group_id(self) -> int | None:
        """The group's number; None: that of the process.

        Raises:
            ConfigError: no such group.
        """
        if not self.group:
            return None
        try:
            if self.group.isdecimal():
                return grp.getgrgid(int(self.group)).gr_gid
            return grp.getgrnam(self.group).gr_gid
        except (KeyError, OverflowError) as error:
            raise ConfigError(f"no such group: {self.group!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class FifoConfig:
    """FIFOs for scripts that were written for DPDK's vm_power_manager."""

    directory: Path | None = None
    """Directory with a `fifo<N>` for each CPU; unset: no FIFOs. It must not be writable
    by everyone; this also applies to vm_power_manager's own, /tmp/powermonitor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryConfig:
    """What domains did over weeks, for `vmpower report` and `vmpower advise`."""

    enabled: bool = True
    """Whether to keep a history. It is written once a minute."""
    directory: Path | None = None
    """Directory of the file; unset: /var/lib/vmpower, or `history` in the run directory
    if that is not the default one, because each daemon needs a file of its own."""
    max_mb: int = 200
    """Size of the file in megabytes; the oldest part is deleted when it is larger."""
    max_days: int = 400
    """Age in days at which the history is deleted. After two days it is kept by the
    hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyConfig:
    """Accounting of energy: who draws what, and what lower frequencies save."""

    enabled: bool = True
    """Whether energy is accounted: meters and run times are read once a second. Without
    meters (powercap, perf), energy is modelled from published figures of the
    processor's class, and labelled so."""
    price_per_kwh: float | None = None
    """Price of a kilowatt-hour, to show what is saved as money; unset: not shown."""
    currency: str = "EUR"
    """Currency of the price."""
    co2_g_per_kwh: float | None = None
    """Grams of CO2 for each kilowatt-hour; unset: not shown."""
    calibration_file: Path = Path("/var/lib/vmpower/energy.json")
    """Where `vmpower energy calibrate` keeps what it measured. It is valid for one
    model of processors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """Metrics for Prometheus, at an address beside the sockets of the API."""

    listen: str = ""
    """Where to serve `/metrics` over HTTP: an address and a port, as in
    "127.0.0.1:9723", or the path of a UNIX socket that every user of the host may
    connect to; empty: only the API's sockets have it. There is neither TLS nor a
    password: an address other than the loopback's shows every client the names of all
    domains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRule(DomainSettings):
    """Limits and rights of the domains that the rule matches.

    A rule takes precedence over the settings in the domain's own metadata.
    """

    match: str
    """Shell pattern of the domain's name, or its UUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The complete configuration."""

    mode: Mode = Mode.ENFORCE
    """Whether frequencies are set. Enforcing is a safe default: only domains with
    channels, a policy or limits take part, and only CPUs they are pinned to are
    changed; `[bounds]` alone concern every CPU."""
    run_dir: Path = Path("/run/vmpower")
    """Directory of the sockets, the restore journal and the state file. It should be
    cleared at boot, as /run is, because both files are valid for one boot only."""
    sysfs_root: Path = Path("/sys")
    """Root of the CPU tree: the kernel's, or a simulated one."""
    log_level: LogLevel = LogLevel.INFO
    """Minimum severity of log messages, which go to standard error."""
    libvirt: LibvirtConfig = field(default_factory=LibvirtConfig)
    bounds: BoundsConfig = field(default_factory=BoundsConfig)
    power: PowerConfig = field(default_factory=PowerConfig)
    idle: IdleConfig = field(default_factory=IdleConfig)
    epp: EppConfig = field(default_factory=EppConfig)
    host: HostConfig = field(default_factory=HostConfig)
    uncore: UncoreConfig = field(default_factory=UncoreConfig)
    turbo: TurboConfig = field(default_factory=TurboConfig)
    channels: ChannelsConfig = field(default_factory=ChannelsConfig)
    p_states: PStatesConfig = field(default_factory=PStatesConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    fifo: FifoConfig = field(default_factory=FifoConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    energy: EnergyConfig = field(default_factory=EnergyConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    domain: tuple[DomainRule, ...] = ()
    """If several rules match a domain, the first one that sets an option decides it."""
    policy: tuple[PolicyRule, ...] = ()
    """Policies for the vCPUs of domains."""
    onboard: tuple[OnboardRule, ...] = ()
    """Without such a rule no domain is onboarded."""


def load_config(file: Path | None) -> Config:
    """Load the configuration.

    Args:
        file: the main file, which must exist; None: the default one, which need not.
            Drop-ins are read from `conf.d` beside it.

    Raises:
        ConfigError: a file is missing or not TOML, a key is unknown, or a value is
            invalid; the message has all errors of the values.
    """
    main = file or DEFAULT_FILE
    if file is not None and not file.is_file():
        what = "not a file" if file.exists() else "no such configuration file"
        raise ConfigError(
            f"{what}: {file}",
            hint=f"without --config, {DEFAULT_FILE} is used, which need not exist",
        )
    merged: dict[str, Any] = {}
    origins: Origins = {}
    for path in configuration_files(main):
        _merge(merged, _read_toml(path), path, origins)
    return config_from(merged, origins)


def configuration_files(main: Path) -> list[Path]:
    """Return the files that are read, in this order: the main file and drop-ins."""
    drop_ins = sorted((main.parent / "conf.d").glob("*.toml"))
    return [path for path in (main, *drop_ins) if path.is_file()]


def config_from(table: dict[str, Any], origins: Origins | None = None) -> Config:
    """Build a configuration from parsed TOML.

    Args:
        table: the merged files.
        origins: the file of each key, to be named in errors.

    Raises:
        ConfigError: as `load_config`.
    """
    errors: list[Problem] = []
    config = _build(Config, table, "", errors)
    if config is not None:
        errors += _find_problems(config)
    if errors:
        raise ConfigError(_describe(errors, origins or {}), hint=_HELP)
    return typing.cast("Config", config)


def _describe(problems: list[Problem], origins: Origins) -> str:
    """Join problems in one line, each file before its own."""
    by_file: dict[str, list[str]] = {}
    for problem in problems:
        files = ", ".join(map(str, _files_of(problem.key, origins)))
        by_file.setdefault(files, []).append(f"{problem.key}: {problem.text}")
    return "; ".join(
        f"{files}: {'; '.join(texts)}" if files else "; ".join(texts)
        for files, texts in by_file.items()
    )


def _files_of(key: str, origins: Origins) -> list[Path]:
    """Return the files that set a key, or a key of the table of this name."""
    path = tuple(part.partition("[")[0] for part in key.split("."))
    found = [file for at, file in origins.items() if at[: len(path)] == path]
    while not found and path:
        found = [file for at, file in origins.items() if at == path]
        path = path[:-1]
    return list(dict.fromkeys(found))


def show_config(config: Config) -> str:
    """Render the effective configuration as JSON."""
    table = dataclasses.asdict(
        config, dict_factory=lambda items: {key_of(name): it for name, it in items}
    )
    table["policy"] = [rule.to_table() for rule in config.policy]
    return json.dumps(table, indent=2, default=str)


def key_of(name: str) -> str:
    """Return a field's key in the files: `except_` is `except`, a Python keyword."""
    return name.removesuffix("_")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint=_HELP) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: arrays nested too deeply") from error


def _merge(
    into: dict[str, Any],
    new: dict[str, Any],
    file: Path,
    origins: Origins,
    table: tuple[str, ...] = (),
) -> None:
    """Override the keys that a file sets, and record that it does."""
    for key, value in new.items():
        path = (*table, key)
        if isinstance(value, dict) and isinstance(into.setdefault(key, {}), dict):
            _merge(into[key], value, file, origins, path)
        else:
            into[key], origins[path] = value, file


def _find_problems(config: Config) -> list[Problem]:
    found = [
        Problem(name, f"min_khz {table.min_khz} is above max_khz {table.max_khz}")
        for name, table in (("bounds", config.bounds), ("uncore", config.uncore))
        if table.min_khz and table.max_khz and table.min_khz > table.max_khz
    ]
    found += _find_uncore_problems(config.uncore)
    found += _find_host_problems(config.host)
    found += _find_control_problems(config.control)
    found += _find_energy_problems(config.energy)
    found += _find_metrics_problems(config.metrics)
    found += [
        Problem(
            f"domain[{index}]",
            f"min_khz {rule.min_khz} is above max_khz {rule.max_khz}",
        )
        for index, rule in enumerate(config.domain)
        if rule.min_khz and rule.max_khz and rule.min_khz > rule.max_khz
    ]
    found += [
        Problem(
            f"domain[{index}].{name}",
            f"invalid value {value}: expected one of {', '.join(setting.choices)}",
        )
        for index, rule in enumerate(config.domain)
        for name, setting in SETTINGS.items()
        if (value := getattr(rule, name)) is not None
        if setting.choices and value not in setting.choices.values()
    ]
    found += [
        Problem(f"onboard[{index}]", problem)
        for index, rule in enumerate(config.onboard)
        for problem in rule.problems()
    ]
    found += [
        Problem(f"domain[{index}].policies", error)
        for index, rule in enumerate(config.domain)
        if (error := _policy_error(rule.policies))
    ]
    for name, value, least in (
        ("libvirt.resync_s", config.libvirt.resync_s, 1),
        ("power.release_after_s", config.power.release_after_s, 0),
        ("power.verify_s", config.power.verify_s, 0.1),
    ):
        # Written so that "nan", which TOML has, is rejected, too.
        if not least <= value <= _MAX_S:
            text = f"invalid time {value}: expected {least} to {_MAX_S} seconds"
            found.append(Problem(name, text))
    found += [
        Problem(f"history.{name}", f"invalid number {value}: expected 1 or more")
        for name, value in (
            ("max_mb", config.history.max_mb),
            ("max_days", config.history.max_days),
        )
        if value < 1
    ]
    if config.channels.budget < 0:
        budget = config.channels.budget
        text = f"invalid number {budget}: expected 0 or more"
        found.append(Problem("channels.budget", text))
    if not config.p_states.directory.is_absolute():
        text = f"invalid path '{config.p_states.directory}': expected an absolute one"
        found.append(Problem("p_states.directory", text))
    if not _GOVERNOR.fullmatch(governor := config.power.fallback_governor):
        text = f"invalid governor name {governor!r}"
        found.append(Problem("power.fallback_governor", text))
    if governor == "userspace":
        found.append(Problem("power.fallback_governor", "must not be 'userspace'"))
    return found


def _find_energy_problems(energy: EnergyConfig) -> list[Problem]:
    found = [
        Problem(f"energy.{name}", f"invalid number {value}: expected 0 or more")
        for name, value in (
            ("price_per_kwh", energy.price_per_kwh),
            ("co2_g_per_kwh", energy.co2_g_per_kwh),
        )
        # Written so that "nan", which TOML has, is rejected, too.
        if value is not None and not 0 <= value < math.inf
    ]
    if not energy.currency.isprintable() or len(energy.currency) > _MAX_CURRENCY:
        text = f"invalid currency: expected up to {_MAX_CURRENCY} printable characters"
        found.append(Problem("energy.currency", text))
    return found


def _find_host_problems(host: HostConfig) -> list[Problem]:
    try:
        parse_cpulist(host.own_cpus)
    except ConfigError as error:
        return [Problem("host.own_cpus", str(error))]
    return []


def _find_control_problems(control: ControlConfig) -> list[Problem]:
    try:
        _ = control.group_id
    except ConfigError as error:
        return [Problem("control.group", str(error))]
    return []


def _find_metrics_problems(metrics: MetricsConfig) -> list[Problem]:
    try:
        if metrics.listen:
            parse_listen_address(metrics.listen)
    except ValueError as error:
        return [Problem("metrics.listen", str(error))]
    return []


def _find_uncore_problems(uncore: UncoreConfig) -> list[Problem]:
    # As the kernel: uncore_write_freq of drivers/platform/x86/intel/uncore-frequency.
    least, most = 100_000, 12_700_000
    return [
        Problem(
            f"uncore.{name}", f"invalid frequency {khz}: expected {least} to {most}"
        )
        for name in ("min_khz", "max_khz")
        if (khz := getattr(uncore, name)) is not None and not least <= khz <= most
    ]


def _policy_error(policies: str | None) -> str:
    try:
        parse_policies(policies or "")
    except ConfigError as error:
        return str(error)
    return ""


def _build(cls: type[Any], table: object, where: str, errors: list[Problem]) -> Any:
    if not isinstance(table, dict):
        errors.append(Problem(where or "configuration", "expected a table"))
        return None
    hints = {key_of(name): it for name, it in typing.get_type_hints(cls).items()}
    names = {key_of(item.name): item.name for item in dataclasses.fields(cls)}
    before = len(errors)
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{where}.{key}" if where else key
        if key in hints:
            values[names[key]] = _convert(hints[key], value, name, errors)
        else:
            errors.append(Problem(name, f"unknown key{_nearest(key, hints)}"))
    errors += [
        Problem(f"{where}.{f.name}", "missing")
        for f in dataclasses.fields(cls)
        if f.name not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    return cls(**values) if len(errors) == before else None


def _nearest(key: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f", did you mean '{near[0]}'?" if near else ""


def _build_policy(
    value: object, where: str, errors: list[Problem]
) -> PolicyRule | None:
    if not isinstance(value, dict):
        errors.append(Problem(where, "expected a table"))
        return None
    rule, problems = read_rule(value)
    errors += [Problem(f"{where}.{it.option}", it.text) for it in problems]
    return rule


def _convert(kind: Any, value: object, where: str, errors: list[Problem]) -> Any:
    if kind is PolicyRule:
        return _build_policy(value, where, errors)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build(kind, value, where, errors)
    if typing.get_origin(kind) is tuple:
        return _convert_list(typing.get_args(kind)[0], value, where, errors)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None:  # JSON has null, TOML does not
            return None
        return _convert(typing.get_args(kind)[0], value, where, errors)
    try:
        return _convert_scalar(kind, value)
    except (ValueError, ConfigError) as error:
        errors.append(Problem(where, str(error)))
        return None


def _convert_list(kind: Any, value: object, where: str, errors: list[Problem]) -> Any:
    if not isinstance(value, list):
        errors.append(Problem(where, "expected a list"))
        return ()
    return tuple(
        _convert(kind, item, f"{where}[{index}]", errors)
        for index, item in enumerate(value)
    )


def _convert_scalar(kind: Any, value: object) -> object:
    if kind is KHz and isinstance(value, str):
        value = parse_khz(value)
    if kind is EnergyPreference:
        return _convert_preference(value)
    plain: Any = {KHz: int, Microseconds: int, Path: str}.get(kind, kind)
    if isinstance(kind, enum.EnumMeta):
        return _convert_choice(kind, value)
    if plain is float and type(value) is int:
        return float(value)
    if type(value) is not plain:
        raise ValueError(f"expected {_TYPE_NAMES[plain]}, got {value!r}")
    if kind is KHz and not 0 < typing.cast("int", value) <= MAX_KHZ:
        raise ValueError(f"invalid frequency {value}: expected 1 to {MAX_KHZ} kHz")
    if kind is Microseconds:
        return check_us(typing.cast("int", value))
    return _convert_path(str(value)) if kind is Path else value


def _convert_path(value: str) -> Path:
    if not value or "\0" in value:
        raise ValueError(f"invalid path {value!r}")
    return Path(value)


def _convert_choice(kind: Any, value: object) -> object:
    names = [str(member.value) for member in kind]
    if value not in names:
        raise ValueError(f"invalid value '{value}': expected one of {', '.join(names)}")
    return kind(value)


def _convert_preference(value: object) -> EnergyPreference:
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"expected {EXPECTED}, got {value!r}")  # noqa: TRY004 - TOML
    return parse_preference(value)
