# SPDX-License-Identifier: Apache-2.0
"""What an operator decides for one domain: the one table of its settings.

A field of `DomainSettings` is a setting: its name in the configuration (`[[domain]]`),
in JSON and in code, the type of its value, and, through `setting`, its attribute in the
domain's metadata (also the option of `vmpower domain set`), its default and its
documentation. The configuration, the metadata with their schema, the command, the
rights, the API and the manual are loops over this table.

A setting that is not given (None) is decided by the next source in the order of
precedence (see `rights`), in the end by its default.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from dataclasses import dataclass, fields
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigError
from orchestrator.values.energy_preference import (
    EXPECTED,
    EnergyPreference,
    parse_preference,
)
from orchestrator.values.units import (
    FREQUENCY_FORMATS,
    MAX_US,
    KHz,
    Microseconds,
    parse_khz,
    parse_us,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GENERATIONS = (16, 456, 460, 464)
"""Bytes of a packet in each generation of DPDK's guests, which identify them.

Source: struct channel_packet of lib/power (librte_power), DPDK 1.8 to today.
"""
_DECLARATION = "setting"
_LONGEST_FREQUENCY = 40


class Mode(StrEnum):
    """Whether frequencies are written."""

    ENFORCE = "enforce"
    """Apply guests' requests within the limits."""
    OBSERVE = "observe"
    """Do everything but the writes; guests' requests are refused."""


class ThreadFrequency(StrEnum):
    """What CPUs run at that the emulator and I/O threads of a domain are pinned to."""

    NONE = "none"
    """Whatever else decides their frequency."""
    FOLLOW = "follow"
    """No less than the vCPU of the domain that requests most."""


class Form(Enum):
    """How the value of a setting is written in metadata and on the command line."""

    FREQUENCY = "frequency"
    """As in 2.3GHz, 2300MHz or kHz."""
    YES_NO = "yes or no"
    CHOICE = "choice"
    """One of a few words."""
    POLICIES = "policies"
    """A line of `policy.text`."""
    LATENCY = "latency"
    """A number of microseconds."""
    PREFERENCE = "energy preference"
    """As in `values.energy_preference`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table."""

    name: str
    """Of the field."""
    attribute: str
    """Of the metadata element; with dashes in front, the option of `domain set`."""
    form: Form
    doc: str
    """One or two sentences."""
    default: Any
    """The effective value where no source gives one."""
    is_permission: bool
    """Whether it permits the guest something, so that the monitor must know it."""
    choices: Mapping[str, Any]
    """Values of a CHOICE, by word."""

    def parse(self, word: str) -> Any:  # noqa: ANN401 - the type of the field
        """Make a value of a word.

        Raises:
            ConfigError: the word is invalid; says what is expected.
        """
        match self.form:
            case Form.YES_NO:
                if word not in ("yes", "no"):
                    raise ConfigError("expected yes or no")
                return word == "yes"
            case Form.CHOICE:
                if word not in self.choices:
                    raise ConfigError(f"expected one of {', '.join(self.choices)}")
                return self.choices[word]
            case Form.POLICIES:
                return word or None
            case form:
                return _PARSERS[form](word)

    def format(self, value: Any) -> str:  # noqa: ANN401 - the type of the field
        """Make the word of a value, which `parse` reads."""
        if self.form is Form.YES_NO:
            return "yes" if value else "no"
        return str(value)


def setting(
    attribute: str,
    doc: str,
    *,
    default: object = None,
    choices: tuple[object, ...] = (),
    is_permission: bool = False,
) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare a field as a setting.

    Args:
        attribute: of the metadata element.
        doc: one or two sentences.
        default: the effective value where no source gives one.
        choices: the values of a setting that is neither a frequency nor yes or no.
        is_permission: whether it permits the guest something.
    """
    declaration = {
        "attribute": attribute,
        "doc": doc,
        "default": default,
        "is_permission": is_permission,
        "choices": types.MappingProxyType({str(value): value for value in choices}),
    }
    return dataclasses.field(default=None, metadata={_DECLARATION: declaration})


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSettings:
    """Limits, permissions and policies of one domain."""

    min_khz: KHz | None = setting(
        "min",
        "Lower limit of the frequencies of the domain's vCPUs, from the domain's start"
        " to its end, also while nothing is requested.",
    )
    max_khz: KHz | None = setting(
        "max",
        "Upper limit of the frequencies of the domain's vCPUs, from the domain's start"
        " to its end, also while nothing is requested.",
    )
    turbo: bool | None = setting(
        "turbo",
        "Whether the domain may use turbo; without it, the upper limit is the nominal"
        " frequency.",
        default=True,
    )
    mode: Mode | None = setting(
        "mode",
        "Whether the domain's requests change frequencies.",
        default=Mode.ENFORCE,
        choices=tuple(Mode),
    )
    queries: bool | None = setting(
        "queries",
        "Whether the guest may query the frequencies and capabilities of its vCPUs.",
        default=True,
        is_permission=True,
    )
    energy_queries: bool | None = setting(
        "energy-queries",
        "Whether the guest may query the energy that the domain draws and saves.",
        default=True,
        is_permission=True,
    )
    guest_policies: bool | None = setting(
        "guest-policies",
        "Whether the guest may send policies for its vCPUs.",
        default=True,
        is_permission=True,
    )
    rapl: bool | None = setting(
        "rapl",
        "Whether the domain's QEMU may read the domain's energy at"
        " `[energy] rapl_socket`, for RAPL registers of the guest.",
        default=False,
    )
    policies: str | None = setting(
        "policies",
        'Policies for its vCPUs, as in "utilisation up-above=0.9; workload low'
        ' vcpus=3"; `vmpower policy set --help` lists kinds and options.',
    )
    generation: int | None = setting(
        "generation",
        "Size of the guest's packets in bytes; without it, detected from what the"
        " guest sends.",
        choices=GENERATIONS,
    )
    onboard: bool | None = setting(
        "onboard",
        "Whether the domain requests or refuses channels from `[[onboard]]` rules;"
        " without a rule it has no effect.",
    )
    idle_latency_us: Microseconds | None = setting(
        "idle-latency",
        f"Longest time in microseconds, 0 to {MAX_US}, that an idle CPU may take to"
        " wake up, for all CPUs that the domain's vCPUs are pinned to while it runs;"
        " the kernel then enters no deeper idle state, and with 0 none at all.",
    )
    epp: EnergyPreference | None = setting(
        "epp",
        "Energy preference of the clock groups that the domain's vCPUs are pinned into,"
        f" where the scaling driver has one: {EXPECTED}.",
    )

    emulator: ThreadFrequency | None = setting(
        "emulator",
        "Whether the CPUs that the domain's emulator and I/O threads are pinned to"
        " follow its vCPUs: with `follow`, their clock groups are granted no less than"
        " the highest frequency that one of the vCPUs requests.",
        default=ThreadFrequency.NONE,
        choices=tuple(ThreadFrequency),
    )

    @property
    def is_empty(self) -> bool:
        """Whether no setting is given."""
        return all(getattr(self, item.name) is None for item in fields(self))


def settings_of(cls: type[DomainSettings]) -> Mapping[str, Setting]:
    """Return a table of settings, in order, by name."""
    return _read_table(typing.cast("Any", cls))


@functools.cache
def _read_table(cls: Any) -> Mapping[str, Setting]:  # noqa: ANN401 - a class is hashable
    hints = typing.get_type_hints(cls)
    return types.MappingProxyType(
        {
            field.name: Setting(
                name=field.name,
                form=_form_of(hints[field.name], field.metadata[_DECLARATION]),
                **field.metadata[_DECLARATION],
            )
            for field in fields(cls)
            if _DECLARATION in field.metadata
        }
    )


def _form_of(hint: Any, declaration: Mapping[str, Any]) -> Form:  # noqa: ANN401 - a type hint
    kind = typing.get_args(hint)[0]  # ... | None
    if declaration["choices"]:
        return Form.CHOICE
    return _FORMS[kind]


def _parse_frequency(word: str) -> KHz:
    if not word.isascii() or len(word) > _LONGEST_FREQUENCY:
        raise ConfigError(f"expected {FREQUENCY_FORMATS}")
    return parse_khz(word)


_PARSERS: Mapping[Form, Callable[[str], Any]] = {
    Form.FREQUENCY: _parse_frequency,
    Form.LATENCY: parse_us,
    Form.PREFERENCE: parse_preference,
}
_FORMS: Mapping[Any, Form] = {
    KHz: Form.FREQUENCY,
    bool: Form.YES_NO,
    str: Form.POLICIES,
    Microseconds: Form.LATENCY,
    EnergyPreference: Form.PREFERENCE,
}
SETTINGS = settings_of(DomainSettings)
"""The table."""
