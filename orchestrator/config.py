# SPDX-License-Identifier: Apache-2.0
"""Every option of the daemon: default, unit and reason in one place.

Theory of operation: a configuration is a tree of frozen dataclasses, whose field types
are the types of the options and whose docstrings become vmpower.toml(5).

A configuration never changes after it was loaded. What is decided at run time, such as
the port of a socket, is an attribute of the object that decides it.
"""

from __future__ import annotations

import grp
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.onboarding.rule import OnboardRule  # noqa: TC001 - read at run time
from orchestrator.policy.rule import PolicyRule  # noqa: TC001 - read at run time
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.energy_preference import (
    EnergyPreference,  # noqa: TC001 - read at run time
)
from orchestrator.values.units import KHz, Microseconds

DEFAULT_HISTORY_DIRECTORY = Path("/var/lib/vmpower")
_P_STATE_LATENCY_US = Microseconds(10_000)


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
    """Whether energy is accounted: meters and run times are read at least every five
    seconds. Without meters (powercap, perf), energy is modelled from published figures
    of the processor's class, and labelled so."""
    price_per_kwh: float | None = None
    """Price of a kilowatt-hour, to show what is saved as money; unset: not shown."""
    currency: str = "EUR"
    """Currency of the price."""
    co2_g_per_kwh: float | None = None
    """Grams of CO2 for each kilowatt-hour; unset: not shown."""
    rapl_socket: Path | None = None
    """UNIX socket at which QEMU reads the energy of its domain, to give its guest RAPL
    registers (`-accel kvm,rapl=on,rapl-helper-socket=...`), as in
    "/run/vmpower/rapl.sock"; unset: none. Domains need the setting `rapl`, too."""
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
