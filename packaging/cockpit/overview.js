// SPDX-License-Identifier: Apache-2.0
// The overview: the host, the map of its CPUs, and its domains.

import { h } from "./dom.js";
import {
    formatCount, formatKhz, formatList, formatStep, formatWatts, plural, sum,
} from "./format.js";
import { button, card, facts, label, level, table, warnings } from "./parts.js";

export function overview(state) {
    const { status } = state;
    return [
        hostCard(status),
        warnings([...status.daemon.problems, ...settingProblems(status)]),
        cpuCard(state),
        domainCard(state),
    ];
}

function hostCard(status) {
    const { daemon, libvirt, cpus } = status;
    const simulated = cpus.some(cpu => cpu.simulated);
    return card("Host", facts([
        ["Mode", label(daemon.mode, daemon.mode === "enforce" ? "green" : "yellow")],
        ["CPUs", [
            `${cpus.length} managed`,
            status.unmanaged_cpus.length ? `, ${status.unmanaged_cpus.length} not` : null,
            " ", label(simulated ? "simulated" : "real", simulated ? "yellow" : "green"),
        ]],
        ["libvirt", libvirt.connected
            ? h("span", { title: libvirt.uri }, libvirt.uri.split("?")[0])
            : [label("not connected", "red"), ` ${libvirt.reason ?? ""}`]],
        ...energyFacts(status.energy),
        ["vmpowerd", `${daemon.version}, up ${uptime(daemon.uptime_s)}`],
    ]));
}

function energyFacts(energy) {
    if (!energy)
        return [];
    const how = energy.modelled ? label("modelled", "yellow") : label(energy.source, "green");
    return [
        ["Power", [formatWatts(energy.measured_watts), " ", how]],
        ["Saved", `${formatWatts(energy.saved_watts)} ± ${formatWatts(energy.saved_error_watts)}`],
    ];
}

function uptime(seconds) {
    const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
    const [noun, size] = units.find(([, size]) => seconds >= size) ?? units.at(-1);
    return plural(Math.floor(seconds / size), noun);
}

function settingProblems(status) {
    return (status.kernel_settings ?? [])
        .filter(setting => setting.problem)
        .map(setting => `${setting.name}: ${setting.problem}`);
}

/** Return a list of the CPUs of each clock group, by socket. */
function socketsOf(cpus) {
    const sockets = new Map();
    for (const cpu of cpus) {
        const groups = sockets.get(cpu.package) ?? new Map();
        sockets.set(cpu.package, groups);
        groups.set(cpu.clock_group, [...groups.get(cpu.clock_group) ?? [], cpu]);
    }
    return [...sockets].sort(([a], [b]) => (a ?? 0) - (b ?? 0));
}

function cpuCard(state) {
    const { cpus } = state.status;
    if (!cpus.length)
        return card("CPUs", h("p", {}, "No CPU's frequency can be set: see Doctor."));
    const range = {
        low: Math.min(...cpus.map(cpu => cpu.steps_khz.at(-1))),
        high: Math.max(...cpus.map(cpu => cpu.steps_khz[0])),
    };
    const users = usersByGroup(state.status.domains);
    const sockets = socketsOf(cpus).map(([socket, groups]) => [
        h("h3", { class: "pf-v6-c-title" }, socket === null ? "Socket unknown" : `Socket ${socket}`),
        h("ul", { class: "vmpower-map" }, [...groups].map(
            ([number, group]) => tile(state, number, group, users.get(number) ?? [], range))),
    ]);
    return card("CPUs by clock group", sockets);
}

function usersByGroup(domains) {
    const users = new Map();
    for (const domain of domains) {
        const groups = domain.id === null ? [] : domain.vcpus.flatMap(vcpu => vcpu.clock_groups);
        for (const group of new Set(groups))
            users.set(group, [...users.get(group) ?? [], domain.name]);
    }
    return users;
}

function tile(state, number, group, users, range) {
    const [cpu] = group;
    const khz = cpu.current_khz;
    return h("li", { id: `group-${number}`, class: "vmpower-tile" },
        h("div", { class: "vmpower-tile__head" },
            h("span", {}, `CPU ${formatList(group.map(it => it.pcpu))}`),
            h("strong", {}, formatStep(khz, cpu))),
        h("meter", {
            "aria-hidden": "true", min: range.low, max: range.high, value: khz ?? range.low,
        }),
        h("div", { class: "vmpower-tile__users" }, users.length ? users.join(", ") : "no domain"),
        h("div", { class: "pf-v6-c-label-group" },
            cpu.claimed ? null : label("not taken", "grey"),
            cpu.override_khz === null ? null : label(`set to ${formatStep(cpu.override_khz, cpu)}`, "blue"),
            cpu.drift === null ? null : label("changed elsewhere", "red", cpu.drift),
            cpu.turbo_switch === null ? null : label("no turbo", "yellow", cpu.turbo_switch)),
        cpu.reason === null ? null : h("p", { class: "vmpower-cause" }, cpu.reason),
        state.isWritable
            ? button("Set frequency", "set-frequency", { group: number }, "link",
                `Set frequency of clock group ${number}`)
            : null);
}

function domainCard(state) {
    const { filter, status } = state;
    const has = domain => domain.channels.length || domain.policies.length;
    const shown = status.domains
        .filter(domain => domain.name.toLowerCase().includes(filter.text.toLowerCase()))
        .filter(domain => filter.all || domain.id !== null && has(domain));
    const search = h("div", { class: "pf-v6-c-toolbar" },
        h("input", {
            id: "filter-text", type: "search", class: "pf-v6-c-form-control",
            placeholder: "Filter by name", "aria-label": "Filter domains by name",
        }),
        h("label", { class: "pf-v6-c-check" },
            h("input", { id: "filter-all", type: "checkbox" }),
            " Also those that are shut off or without channels and policies"));
    const count = `Domains (${shown.length} of ${status.domains.length})`;
    return card(count, [search, shown.length ? domainTable(state, shown) : noDomain(status)]);
}

function noDomain(status) {
    const text = status.domains.length
        ? "No matching domain."
        : "libvirt has no domain.";
    return h("p", { class: "pf-v6-c-empty-state" }, text);
}

function domainTable(state, domains) {
    const hasEnergy = Boolean(state.status.energy);
    const titles = [
        "Domain", "State", "Channels", "Frequency", "Requests/s", "Requests", "Refused",
        ...hasEnergy ? ["Power", "Saved"] : [], "Cause of refusals",
    ];
    const cpus = new Map(state.status.cpus.map(cpu => [cpu.clock_group, cpu]));
    const rows = domains.map(domain => ({
        id: `domain-${domain.uuid}`,
        cells: [
            h("a", { href: `#/domain/${domain.uuid}` }, domain.name),
            [domain.state, domain.mode === "observe" ? [" ", label("observe", "yellow")] : null],
            openChannels(domain),
            frequencies(domain, cpus),
            formatCount(state.rates.get(domain.uuid) ?? 0),
            formatCount(sum(domain.channels.map(channel => channel.requests_total))),
            level(sum(domain.channels.map(channel => channel.nacks_total)), "danger"),
            ...hasEnergy ? energyCells(domain.energy) : [],
            causes(domain),
        ],
    }));
    return table("Domains", titles, rows);
}

function openChannels(domain) {
    const open = domain.channels.filter(channel => channel.state === "open").length;
    return `${open} of ${domain.channels.length} open`;
}

function frequencies(domain, cpus) {
    const groups = domain.id === null ? [] : domain.vcpus.flatMap(vcpu => vcpu.clock_groups);
    const known = groups.map(group => cpus.get(group)?.current_khz).filter(khz => khz);
    if (!known.length)
        return "–";
    const [low, high] = [Math.min(...known), Math.max(...known)].map(formatKhz);
    return low === high ? low : `${low} to ${high}`;
}

function energyCells(energy) {
    return energy ? [formatWatts(energy.watts), formatWatts(energy.saved_watts)] : ["–", "–"];
}

/** Return why a domain does not take part, and its most frequent refusals. */
function causes(domain) {
    const found = refusals(domain).slice(0, 2).map(it => it.cause);
    const texts = [domain.reason, ...found].filter(text => text);
    return texts.length ? texts.map(text => h("div", { class: "vmpower-cause" }, text)) : "–";
}

/** Return the reasons of a domain's refusals, the most frequent first. */
export function refusals(domain) {
    const found = new Map();
    for (const channel of domain.channels) {
        for (const [reason, count] of Object.entries(channel.nack_reasons)) {
            const known = found.get(reason) ?? { reason, count: 0, cause: null, last: null };
            known.count += count;
            known.cause = channel.nack_causes[reason] ?? known.cause;
            const last = channel.nack_last[reason] ?? null;
            known.last = known.last && known.last > last ? known.last : last;
            found.set(reason, known);
        }
    }
    return [...found.values()]
        .map(it => ({ ...it, cause: it.cause ?? `${it.reason} (ended)` }))
        .sort((a, b) => b.count - a.count);
}
