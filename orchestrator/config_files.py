# SPDX-License-Identifier: Apache-2.0
"""Reads a configuration from TOML files, or finds everything that is wrong with it.

Theory of operation: `/etc/vmpower/vmpower.toml`, then `conf.d/*.toml` beside it in the
order of their names. Each overrides the options that it sets, as with systemd. Values
are converted by the types of the options' fields. Unknown keys are errors, because an
ignored typo can slow down a guest's traffic.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import json
import math
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

from orchestrator.config import (
    Config,
    ControlConfig,
    EnergyConfig,
    HostConfig,
    MetricsConfig,
    UncoreConfig,
)
from orchestrator.config_lines import KeyLines
from orchestrator.errors import ConfigError
from orchestrator.policy.rule import PolicyRule, read_rule
from orchestrator.policy.text import parse_policies
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain_settings import SETTINGS
from orchestrator.values.energy_preference import (
    EXPECTED,
    EnergyPreference,
    parse_preference,
)
from orchestrator.values.listen_address import parse_listen_address
from orchestrator.values.units import MAX_KHZ, KHz, Microseconds, check_us, parse_khz

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
_GOVERNOR = re.compile(r"[a-z_]{1,15}")
"""Source: include/linux/cpufreq.h, CPUFREQ_NAME_LEN is 16 with the terminating zero."""

Origins: typing.TypeAlias = dict[tuple[str, ...], Path]
"""The file that set each key: `("bounds", "turbo")`. An array is one key."""


class Problem(typing.NamedTuple):
    """Why a key, or the configuration, is invalid."""

    key: str
    """With its table, as in `bounds.max_khz` and `domain[0].match`."""
    text: str


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
    texts: dict[Path, str] = {}
    for path in configuration_files(main):
        texts[path] = _read(path)
        _merge(merged, _parse(texts[path], path), path, origins)
    config, problems = _convert_all(merged)
    if config is None:
        lines = {path: KeyLines(text) for path, text in texts.items()}
        raise ConfigError(_describe(problems, origins, lines), hint=_HELP)
    return config


def configuration_files(main: Path) -> list[Path]:
    """Return the files that are read, in this order: the main file and drop-ins."""
    drop_ins = sorted((main.parent / "conf.d").glob("*.toml"))
    return [path for path in (main, *drop_ins) if path.is_file()]


def config_from(table: dict[str, Any]) -> Config:
    """Build a configuration from parsed TOML.

    Raises:
        ConfigError: as `load_config`, without files and lines.
    """
    config, problems = _convert_all(table)
    if config is None:
        raise ConfigError(_describe(problems, {}, {}), hint=_HELP)
    return config


def _convert_all(table: dict[str, Any]) -> tuple[Config | None, list[Problem]]:
    """Return the configuration, or what is wrong with it."""
    errors: list[Problem] = []
    config = _build(Config, table, "", errors)
    if config is not None:
        errors += _find_problems(config)
    return (None if errors else config), errors


def _describe(
    problems: list[Problem], origins: Origins, lines: dict[Path, KeyLines]
) -> str:
    """Join problems in one line, each with its file and line."""
    return "; ".join(
        ": ".join((*_place(problem.key, origins, lines), problem.key, problem.text))
        for problem in problems
    )


def _place(key: str, origins: Origins, lines: dict[Path, KeyLines]) -> tuple[str, ...]:
    """Return the files and lines that set a key; empty: none is known."""
    files = _files_of(key, origins)
    found = [(file, lines[file].find(key)) for file in files]
    named = [f"{file}:{line}" if line else str(file) for file, line in found]
    return (", ".join(named),) if named else ()


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


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {error}", hint=_HELP) from error


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
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
