"""Every option of the daemon: default, unit and reason in one place.

Theory of operation: a configuration is a tree of frozen dataclasses; the type of a
field is the type of the option. Files are TOML: `/etc/vmpower/vmpower.toml`, then
`conf.d/*.toml` beside it in the order of their names, each overriding what it names,
as systemd does. Unknown keys are errors, because a typo that is silently ignored
slows somebody's packets down. Nothing changes a configuration after it was loaded:
what was bound at run time is told by the object that bound it.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import json
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
from orchestrator.policy.rule import PolicyRule, find_contradictions
from orchestrator.policy.text import parse_policies
from orchestrator.values.domain_settings import GENERATIONS, DomainPolicy, Mode
from orchestrator.values.units import MAX_KHZ, KHz, parse_khz

DEFAULT_FILE = Path("/etc/vmpower/vmpower.toml")
_HELP = "vmpower.toml(5) explains every key"
_LONGEST_S = 86_400
"""Of any time here: what is longer was not meant, or not in seconds."""
_GOVERNOR = re.compile(r"[a-z_]{1,15}")
"""Source: include/linux/cpufreq.h, CPUFREQ_NAME_LEN is 16 with the closing zero."""


class Access(StrEnum):
    """With which rights the daemon watches libvirt."""

    AUTO = "auto"
    """Read-write if libvirt permits it, else read-only."""
    READ_ONLY = "read-only"
    """Enough for all but seeing a guest close its port at once."""


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    """Tracebacks too."""
    INFO = "info"
    """Each state change, once."""
    WARNING = "warning"
    """Surprises that were survived."""
    ERROR = "error"
    """Only what an operator must act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtConfig:
    """Where domains come from."""

    uri: str = ""
    """Connection URI as virsh takes it; empty: LIBVIRT_DEFAULT_URI, else
    qemu:///system. Remote hosts are refused: clocks are local."""
    access: Access = Access.AUTO
    """Attaching channels opens a read-write connection of its own in any case."""
    resync_s: float = 30.0
    """Seconds between full comparisons with libvirt. Needed because some changes
    have no event: a vCPU hot-plugged, a port closed on a read-only connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundsConfig:
    """What any clock on this host may be, whoever asks."""

    min_khz: KHz | None = None
    """kHz or text like "1.2GHz"; none: what the hardware has."""
    max_khz: KHz | None = None
    """kHz or text like "2.3GHz"; none: what the hardware has."""
    turbo: bool = True
    """Whether guests may use the turbo step at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerConfig:
    """How clocks are claimed and given back."""

    release_after_s: float = 30.0
    """Seconds for which a clock group without votes stays at its highest permitted
    step before it gets its original settings back: a guest that restarts within
    them costs no change of governor (12-24 ms from schedutil)."""
    share_with_host: bool = False
    """Whether a clock group may be slowed although one of its CPUs has no domain
    pinned to it, and so may run the host's own work."""
    fallback_governor: str = "schedutil"
    """Governor for CPUs found in `userspace` without a journal that knows better:
    the kernel's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsConfig:
    """Whom the daemon believes to be a domain's channel."""

    trusted_uids: tuple[int, ...] = ()
    """User ids that may listen on channel sockets, beside root, the daemon's own
    and QEMU's: anybody else there would pass for a domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FifoConfig:
    """A way in for scripts that were written for DPDK's vm_power_manager."""

    directory: Path | None = None
    """Where each CPU has its `fifo<N>`; none: nowhere. That program's own directory,
    /tmp/powermonitor, serves only if not everybody may write in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRule(DomainPolicy):
    """Bounds and rights of the domains that it matches.

    What a rule says stands above what the domain's own metadata says; of several
    rules that match, the first one that says something about a matter decides it.
    """

    match: str
    """Shell pattern of the domain's name, or its UUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration."""

    mode: Mode = Mode.ENFORCE
    """A domain takes part only by its channels or a policy, and only CPUs that
    it is pinned to are touched; so enforcing is safe as a default."""
    run_dir: Path = Path("/run/vmpower")
    """Sockets and the restore journal. In /run, because the journal must die with
    the boot whose settings it holds."""
    sysfs_root: Path = Path("/sys")
    """Where the CPU tree is: the kernel's, or a simulation."""
    log_level: LogLevel = LogLevel.INFO
    """How much is logged, to standard error."""
    libvirt: LibvirtConfig = field(default_factory=LibvirtConfig)
    bounds: BoundsConfig = field(default_factory=BoundsConfig)
    power: PowerConfig = field(default_factory=PowerConfig)
    channels: ChannelsConfig = field(default_factory=ChannelsConfig)
    fifo: FifoConfig = field(default_factory=FifoConfig)
    domain: tuple[DomainRule, ...] = ()
    """Rules of single domains."""
    policy: tuple[PolicyRule, ...] = ()
    """Policies: what vCPUs should get without asking."""
    onboard: tuple[OnboardRule, ...] = ()
    """Without such a rule no domain is onboarded."""


def load_config(file: Path | None) -> Config:
    """Read the configuration.

    Args:
        file: the main file, which must exist; None: the default one, if it exists.
            Drop-ins are read from `conf.d` beside it.

    Raises:
        ConfigError: a file is missing or no TOML, a key is unknown, a value has the
            wrong type or makes no sense; all of them are named at once.
    """
    main = file or DEFAULT_FILE
    if file is not None and not file.is_file():
        what = "is no file" if file.exists() else "does not exist"
        raise ConfigError(
            f"configuration {file} {what}",
            hint=f"without --config it is {DEFAULT_FILE}, which need not exist",
        )
    merged: dict[str, Any] = {}
    drop_ins = sorted((main.parent / "conf.d").glob("*.toml"))
    for path in [main, *drop_ins]:
        if path.is_file():
            _merge(merged, _read_toml(path))
    return config_from(merged)


def config_from(table: dict[str, Any]) -> Config:
    """Build a configuration from parsed TOML.

    Raises:
        ConfigError: as `load_config`.
    """
    errors: list[str] = []
    config = _build(Config, table, "", errors)
    if config is not None:
        errors += _contradictions(config)
    if errors:
        raise ConfigError("; ".join(errors), hint=_HELP)
    return typing.cast("Config", config)


def show_config(config: Config) -> str:
    """Render the configuration in force as JSON, for people and programs."""
    table = dataclasses.asdict(
        config, dict_factory=lambda items: {key_of(name): it for name, it in items}
    )
    return json.dumps(table, indent=2, default=str)


def key_of(name: str) -> str:
    """Return a field's key in the files: `except_` is `except`, a word of Python's."""
    return name.removesuffix("_")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint=_HELP) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: brackets in brackets without end") from error


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _contradictions(config: Config) -> list[str]:
    bounds, found = config.bounds, []
    if bounds.min_khz and bounds.max_khz and bounds.min_khz > bounds.max_khz:
        found.append(
            f"bounds: min_khz {bounds.min_khz} is above max_khz {bounds.max_khz}"
        )
    found += [
        f"domain[{index}]: min_khz {rule.min_khz} is above max_khz {rule.max_khz}"
        for index, rule in enumerate(config.domain)
        if rule.min_khz and rule.max_khz and rule.min_khz > rule.max_khz
    ]
    found += [
        f"domain[{index}]: generation {rule.generation} is none of {GENERATIONS}"
        for index, rule in enumerate(config.domain)
        if rule.generation not in (None, *GENERATIONS)
    ]
    found += [
        f"onboard[{index}]: {problem}"
        for index, rule in enumerate(config.onboard)
        for problem in rule.problems()
    ]
    found += [
        f"domain[{index}].policies: {complaint}"
        for index, rule in enumerate(config.domain)
        if (complaint := _complaint_about(rule.policies))
    ]
    found += [
        f"policy[{index}].{contradiction}"
        for index, rule in enumerate(config.policy)
        for contradiction in find_contradictions(rule)
    ]
    # Written so that a number that is none (TOML has "nan") is refused, too.
    if not 1 <= config.libvirt.resync_s <= _LONGEST_S:
        found.append(f"libvirt.resync_s: not between 1 and {_LONGEST_S} seconds")
    if not 0 <= config.power.release_after_s <= _LONGEST_S:
        found.append(f"power.release_after_s: not between 0 and {_LONGEST_S} seconds")
    if not _GOVERNOR.fullmatch(governor := config.power.fallback_governor):
        found.append(f"power.fallback_governor: {governor!r} is no governor's name")
    if governor == "userspace":
        found.append("power.fallback_governor: 'userspace' is what it shall replace")
    return found


def _complaint_about(policies: str | None) -> str:
    try:
        parse_policies(policies or "")
    except ConfigError as error:
        return str(error)
    return ""


def _build(cls: type[Any], table: object, where: str, errors: list[str]) -> Any:
    if not isinstance(table, dict):
        errors.append(f"{where or 'configuration'}: expected a table")
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
            errors.append(f"{name}: unknown key{_nearest(key, hints)}")
    errors += [
        f"{where}.{f.name}: missing"
        for f in dataclasses.fields(cls)
        if f.name not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    return cls(**values) if len(errors) == before else None


def _nearest(key: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f", did you mean '{near[0]}'?" if near else ""


def _convert(kind: Any, value: object, where: str, errors: list[str]) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build(kind, value, where, errors)
    if typing.get_origin(kind) is tuple:
        return _convert_list(typing.get_args(kind)[0], value, where, errors)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None:  # JSON has a word for it, TOML has none
            return None
        return _convert(typing.get_args(kind)[0], value, where, errors)
    try:
        return _convert_scalar(kind, value)
    except (ValueError, ConfigError) as error:
        errors.append(f"{where}: {error}")
        return None


def _convert_list(kind: Any, value: object, where: str, errors: list[str]) -> Any:
    if not isinstance(value, list):
        errors.append(f"{where}: expected a list")
        return ()
    return tuple(
        _convert(kind, item, f"{where}[{index}]", errors)
        for index, item in enumerate(value)
    )


def _convert_scalar(kind: Any, value: object) -> object:
    if kind is KHz and isinstance(value, str):
        value = parse_khz(value)
    plain: Any = {KHz: int, Path: str}.get(kind, kind)
    if isinstance(kind, enum.EnumMeta):
        words = [str(member.value) for member in kind]  # type: ignore[var-annotated]
        if value not in words:
            raise ValueError(f"'{value}' is none of {', '.join(words)}")
        return kind(value)
    if plain is float and type(value) is int:
        return float(value)
    if type(value) is not plain:
        raise ValueError(f"expected {plain.__name__}, got {value!r}")
    if kind is KHz and not 0 < typing.cast("int", value) <= MAX_KHZ:
        raise ValueError(f"{value} kHz is no clock")
    if kind is Path and (not value or "\0" in str(value)):
        raise ValueError(f"{value!r} is no path")
    return Path(value) if kind is Path else value  # type: ignore[arg-type]
