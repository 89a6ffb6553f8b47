# SPDX-License-Identifier: Apache-2.0
"""What other attributes of the kernel are held at: idle latency, energy preference, ...

Some are wanted for the whole host, by its configuration. Those of a CPU or of a clock
group are wanted for the vCPUs that execute there, by settings of their domain and by
policies, and of several the one with the highest performance is held: the shortest
latency, the preference for more performance. No vCPU is slowed because of a neighbor: a
group with a vCPU that has no preference is given none but `performance`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.config import TurboSwitch
from orchestrator.controller.actions import HoldAttributes, Report, Severity
from orchestrator.power.attribute_kinds import (
    BOOST,
    ENERGY_PREFERENCE,
    IDLE_LATENCY,
    KINDS,
    NO_TURBO,
    UNCORE_MAX,
    UNCORE_MIN,
    kind_of,
    name_attributes,
)
from orchestrator.power.attribute_state import AttributeState, Outcome
from orchestrator.power.idle_states import format_latency, parse_latency
from orchestrator.rights import HOST
from orchestrator.values.cpu_attributes import ANY_ATTRIBUTES, CpuAttributes, strictest
from orchestrator.values.domain_settings import Mode
from orchestrator.values.energy_preference import rank_preference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator import events
    from orchestrator.config import Config
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord, Placement
    from orchestrator.rights import Resolved, Rights

_MOST_PERFORMANCE = 0


def hold_for_host(inventory: Inventory) -> list[Action]:
    """Change what the host's configuration wants, where that has changed."""
    wanted = dict(_wanted_by_host(inventory.config))
    return _hold(inventory, {kind.every: wanted.get(kind.every) for kind in KINDS})


def hold_for_domain(
    inventory: Inventory, record: DomainRecord, groups: Iterable[int]
) -> list[Action]:
    """Change what is wanted where a domain executes, and what it no longer wants.

    Args:
        inventory: what exists.
        record: the domain, with its present placements.
        groups: the clock groups that it uses, or used.
    """
    return _change(
        inventory, record, dict(_wanted_by_domain(inventory, record)), groups
    )


def forget(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Change what was wanted for a domain that is gone."""
    return _change(inventory, record, {}, record.used_groups())


def _change(
    inventory: Inventory,
    record: DomainRecord,
    now: dict[str, str],
    groups: Iterable[int],
) -> list[Action]:
    uuid, before = record.spec.uuid, record.attribute_wants
    record.attribute_wants = now
    for path in before.keys() - now.keys():
        wants = inventory.attribute_wants[path]
        wants.pop(uuid, None)
        if not wants:
            del inventory.attribute_wants[path]
    for path, value in now.items():
        inventory.attribute_wants.setdefault(path, {})[uuid] = value
    shared = {ENERGY_PREFERENCE.path_of(group) for group in groups}
    paths = before.keys() | now.keys()
    concerned = {path for path in paths if before.get(path) != now.get(path)}
    concerned |= shared & inventory.attribute_wants.keys()
    return _hold(inventory, {path: _combine(inventory, path) for path in concerned})


def on_read(inventory: Inventory, event: events.AttributesRead) -> list[Action]:
    """Report what became of attributes."""
    news: dict[tuple[object, ...], list[str]] = {}
    known, states = inventory.attributes, event.states
    was_held = {p for p in states if p in known and known[p].outcome is Outcome.HELD}
    for path, state in states.items():
        known[path] = state
    for path, state in states.items():
        is_of_another_driver = is_other_switch(inventory, path)
        if state.outcome is Outcome.RELEASED:
            del known[path]
            if path not in was_held:
                continue
        if state.outcome is Outcome.ABSENT and is_of_another_driver:
            continue
        shown = "" if state.outcome is Outcome.REFUSED else state.value
        news.setdefault((kind_of(path), state.outcome, shown), []).append(path)
    return [
        report for paths in news.values() for report in _report(paths, states[paths[0]])
    ]


def is_other_switch(inventory: Inventory, path: str) -> bool:
    """Return whether a turbo switch is one of another scaling driver than the host's.

    A host has one of them, or none.
    """
    switches = {BOOST.every, NO_TURBO.every}
    others = (inventory.attributes.get(other) for other in switches - {path})
    return path in switches and any(
        other is not None and other.outcome is not Outcome.ABSENT for other in others
    )


def _hold(inventory: Inventory, wanted: Mapping[str, str | None]) -> list[Action]:
    known = inventory.wanted_attributes
    changes = {key: it for key, it in wanted.items() if it != known.get(key)}
    for key, value in changes.items():
        if value is None:
            del known[key]
        else:
            known[key] = value
    return [HoldAttributes(changes)] if changes else []


def _wanted_by_host(config: Config) -> Iterator[tuple[str, str]]:
    if config.mode is Mode.OBSERVE:
        return
    if (latency_us := config.idle.max_latency_us) is not None:
        yield IDLE_LATENCY.every, format_latency(latency_us)
    if config.epp.preference is not None:
        yield ENERGY_PREFERENCE.every, config.epp.preference
    if config.uncore.min_khz is not None:
        yield UNCORE_MIN.every, UNCORE_MIN.canonical(str(config.uncore.min_khz))
    if config.uncore.max_khz is not None:
        yield UNCORE_MAX.every, UNCORE_MAX.canonical(str(config.uncore.max_khz))
    if (switch := config.turbo.switch) is not TurboSwitch.LEAVE:
        is_on = switch is TurboSwitch.ON
        yield BOOST.every, str(int(is_on))
        yield NO_TURBO.every, str(int(not is_on))


def _wanted_by_domain(
    inventory: Inventory, record: DomainRecord
) -> Iterator[tuple[str, str]]:
    rights = record.rights(inventory.config)
    if not rights.is_enforced or not record.spec.state.is_executing:
        return
    host, own = _of_host(rights), _of_domain(rights)
    if host == own == ANY_ATTRIBUTES and not record.policy_attributes:
        return  # most domains
    wanted = [
        (placement, _with_host(host, _with_policies(own, record, placement)))
        for placement in record.placements.values()
    ]
    # A vCPU that is pinned to several clock groups counts, too: a latency does no harm
    # to the others there.
    on_cpus = _by_place(
        (it.pcpus, want) for it, want in wanted if is_pinned(inventory, it)
    )
    for pcpu, several in on_cpus.items():
        if (latency_us := strictest(several).idle_latency_us) is not None:
            yield IDLE_LATENCY.path_of(pcpu), format_latency(latency_us)
    in_groups = _by_place((it.groups, want) for it, want in wanted)
    for group, several in in_groups.items():
        if (preference := _common_preference(several)) is not None:
            yield ENERGY_PREFERENCE.path_of(group), preference


def _by_place(
    wanted: Iterable[tuple[Iterable[int], CpuAttributes]],
) -> dict[int, list[CpuAttributes]]:
    places: dict[int, list[CpuAttributes]] = {}
    for numbers, want in wanted:
        for number in numbers:
            places.setdefault(number, []).append(want)
    return places


def _common_preference(wanted: list[CpuAttributes]) -> str | None:
    """Return the preference of vCPUs of one clock group; one may have none."""
    best = strictest(wanted).epp
    is_of_all = all(it.epp is not None for it in wanted)
    if best is None or (not is_of_all and rank_preference(best) != _MOST_PERFORMANCE):
        return None
    return best


def own_attributes(
    inventory: Inventory, record: DomainRecord, placement: Placement
) -> CpuAttributes:
    """Return what settings of the domain and policies want for a vCPU together."""
    own = _of_domain(record.rights(inventory.config))
    return _with_policies(own, record, placement)


def _with_policies(
    own: CpuAttributes, record: DomainRecord, placement: Placement
) -> CpuAttributes:
    by_policies = record.policy_attributes.get(int(placement.vcpu))
    return own if by_policies is None else strictest((own, by_policies))


def _with_host(host: CpuAttributes, own: CpuAttributes) -> CpuAttributes:
    if own.epp is not None:  # the host's is a default
        host = host._replace(epp=None)
    return strictest((host, own))


def _of_host(rights: Rights) -> CpuAttributes:
    """Return what the host's configuration wants for the vCPUs of a domain."""
    return CpuAttributes(
        *(it.value if it.source == HOST else None for it in _of(rights))
    )


def _of_domain(rights: Rights) -> CpuAttributes:
    """Return what settings of a domain want for its vCPUs."""
    return CpuAttributes(
        *(None if it.source == HOST else it.value for it in _of(rights))
    )


def _of(rights: Rights) -> tuple[Resolved[Any], Resolved[Any]]:
    return rights["idle_latency_us"], rights["epp"]


def is_pinned(inventory: Inventory, placement: Placement) -> bool:
    """Return whether a vCPU may not run on every CPU."""
    return placement.pcpus != inventory.topology.online


def _combine(inventory: Inventory, path: str) -> str | None:
    """Return what is wanted of an attribute, of all domains that want something."""
    wants = inventory.attribute_wants.get(path)
    if not wants:
        return None
    if kind_of(path) is IDLE_LATENCY:
        return min(wants.values(), key=lambda word: parse_latency(word) or 0)
    best = min(wants.values(), key=rank_preference)
    if rank_preference(best) == _MOST_PERFORMANCE or not _has_others(
        inventory, ENERGY_PREFERENCE.number_of(path), wants.keys()
    ):
        return best
    return None


def _has_others(inventory: Inventory, group: int, known: Iterable[str]) -> bool:
    """Whether what has no preference may execute in a clock group."""
    record = inventory.groups.get(group)
    if record is None or inventory.has_host_cpus(record):
        return True
    domains = inventory.pinned_into(group)
    executing = {it.spec.uuid for it in domains if it.spec.state.is_executing}
    return not executing <= set(known)


def _report(paths: list[str], state: AttributeState) -> Iterator[Report]:
    kind, name = kind_of(paths[0]), name_attributes(paths)
    shown = kind.show(state.value)
    match state.outcome:
        case Outcome.HELD:
            yield Report("cpus", f"{name} set: {shown}")
        case Outcome.RELEASED:
            yield Report("cpus", f"{name} restored: {shown}")
        case Outcome.LEFT:
            yield _warn(f"{name} changed by another program, and left: {shown}")
        case Outcome.REFUSED:
            yield _warn(f"{name} not set: {state.problem}")
        case Outcome.ABSENT:
            yield _warn(f"{name} not set: not offered by the kernel here")
        case _:
            pass


def _warn(text: str) -> Report:
    return Report("cpus", text, severity=Severity.WARNING)
