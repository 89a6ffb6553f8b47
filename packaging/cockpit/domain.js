// SPDX-License-Identifier: Apache-2.0
// One domain: settings with their sources, vCPUs, channels, refusals, policies.

import { h } from "./dom.js";
import {
    formatCount, formatKhz, formatList, formatStep, formatTime, formatWatts,
} from "./format.js";
import { eventTable } from "./events.js";
import { refusals } from "./overview.js";
import { button, card, facts, label, level, table, warnings } from "./parts.js";

const SETTINGS = {
    min_khz: "Lower limit",
    max_khz: "Upper limit",
    turbo: "Turbo",
    mode: "Mode",
    queries: "Queries by the guest",
    energy_queries: "Queries of its energy",
    guest_policies: "Policies by the guest",
    rapl: "RAPL registers",
    generation: "Packet size",
    onboarding: "Channels by rules",
    idle_latency_us: "Idle latency",
    epp: "Energy preference",
    emulator: "Emulator and I/O threads",
};
const UNSET = { generation: "detected", epp: "the kernel's" };
const CHANNEL_COLORS = { open: "green", contended: "red", refused: "red", quarantined: "red" };

export function domainPage(state, uuid) {
    const domain = state.status.domains.find(it => it.uuid === uuid);
    const back = h("nav", { class: "pf-v6-c-breadcrumb", "aria-label": "Breadcrumb" },
        h("a", { href: "#/" }, "Overview"), " / ", domain?.name ?? uuid);
    if (!domain)
        return [back, card("No such domain", h("p", {}, "It has been undefined."))];
    const cards = [
        warnings([domain.reason, ...domain.problems].filter(text => text)),
        settings(state, domain),
        vcpus(state, domain),
        channels(state, domain),
        refused(domain),
        policies(state, domain),
        card("Events", eventTable(state.events.filter(it => it.domain === domain.name).slice(0, 20))),
    ];
    return [back, h("h1", { class: "pf-v6-c-title pf-m-xl" }, domain.name), cards];
}

function settings(state, domain) {
    const actions = state.isWritable ? button("Change", "set-limits", { domain: domain.uuid }) : null;
    const about = facts([
        ["State", domain.state],
        ["UUID", domain.uuid],
        ...domain.energy ? [
            ["Power", `${formatWatts(domain.energy.watts)} ± ${formatWatts(domain.energy.error_watts)}`],
            ["Saved", formatWatts(domain.energy.saved_watts)],
        ] : [],
    ]);
    const rows = Object.entries(domain.rights ?? {}).map(([key, { value, source, reason }]) => ({
        id: `setting-${key}`,
        cells: [
            SETTINGS[key] ?? key.replaceAll("_", " "), // of a newer daemon
            settingText(key, value),
            [source, reason ? ` (${reason})` : null],
        ],
    }));
    const own = rows.length
        ? table("Settings", ["Setting", "Value", "Source"], rows)
        : h("p", {}, "Its settings are not known.");
    return card("Limits and rights", [about, own], actions);
}

function settingText(key, value) {
    if (value === null)
        return UNSET[key] ?? "no limit";
    if (key.endsWith("_khz"))
        return formatKhz(value);
    if (key === "idle_latency_us")
        return `${formatCount(value)} µs`;
    return value === true ? "yes" : value === false ? "no" : String(value);
}

function vcpus(state, domain) {
    if (domain.id === null)
        return null;
    const cpus = new Map(state.status.cpus.map(cpu => [cpu.clock_group, cpu]));
    const rows = domain.vcpus.map(vcpu => {
        const cpu = cpus.get(vcpu.clock_group);
        const bound = (khz, source) => khz === null ? "–" : `${formatKhz(khz)} (${source})`;
        return {
            id: `vcpu-${vcpu.vcpu}`,
            cells: [
                vcpu.vcpu,
                formatList(vcpu.pcpus),
                cpu ? formatStep(cpu.current_khz, cpu) : label("not managed", "yellow"),
                formatKhz(vcpu.requested_khz),
                bound(vcpu.min_khz, vcpu.min_source),
                bound(vcpu.max_khz, vcpu.max_source),
                vcpu.reason ?? cpu?.reason ?? "–",
            ],
        };
    });
    const titles = ["vCPU", "CPUs", "Frequency", "Requested", "At least", "At most", "Remarks"];
    return card("vCPUs", table("vCPUs", titles, rows));
}

function channels(state, domain) {
    const actions = state.isWritable ? button("Add channels", "onboard", { domain: domain.uuid }) : null;
    if (!domain.channels.length)
        return card("Channels", h("p", {}, "The guest has no channel: it cannot request frequencies."), actions);
    const titles = [
        "Channel", "State", "Requests/s", "Requests", "Refused", "Errors",
        ...state.isWritable ? ["Action"] : [],
    ];
    const rows = domain.channels.map(channel => ({
        id: `channel-${channel.number}`,
        cells: [
            channel.kind === "p-states" ? `P-states ${channel.target}` : channel.number,
            [label(channel.state, CHANNEL_COLORS[channel.state] ?? "grey"), channel.reason ? ` ${channel.reason}` : null],
            formatCount(state.rates.get(`${domain.uuid}/${channel.number}`) ?? 0),
            formatCount(channel.requests_total),
            level(channel.nacks_total, "danger"),
            level(channel.errors_total, "danger"),
            ...state.isWritable ? [channelButton(domain, channel)] : [],
        ],
    }));
    return card("Channels", table("Channels", titles, rows), actions);
}

function channelButton(domain, channel) {
    const text = channel.enabled ? "Disable" : "Enable";
    const data = { domain: domain.uuid, channel: channel.number, enabled: !channel.enabled };
    return button(text, "enable-channel", data, "link", `${text} channel ${channel.number}`);
}

function refused(domain) {
    const rows = refusals(domain).map(({ reason, count, cause, last }) => ({
        id: `refusal-${reason}`, cells: [level(count, "danger"), cause, last ? formatTime(last) : "–"],
    }));
    return rows.length
        ? card("Refused requests", table("Refused requests", ["Requests", "Cause", "Last"], rows))
        : null;
}

function policies(state, domain) {
    const actions = state.isWritable && domain.id !== null
        ? button("Set policy", "set-policy", { domain: domain.uuid }) : null;
    if (!domain.policies.length)
        return card("Policies", h("p", {}, "None: only the guest requests frequencies."), actions);
    const titles = ["Policy", "Source", "Requests", "Remarks", ...state.isWritable ? ["Action"] : []];
    const rows = domain.policies.map(policy => ({
        cells: [
            policy.text,
            [policy.source, policy.name ? ` ${policy.name}` : null],
            policy.wants.map(want => h("div", {}, `vCPU ${want.vcpu}: ${formatKhz(want.khz)}`)),
            policy.problem ?? "–",
            ...state.isWritable ? [removeButton(domain, policy)] : [],
        ],
    }));
    return card("Policies", table("Policies", titles, rows), actions);
}

function removeButton(domain, policy) {
    if (policy.source !== "operator")
        return "–";
    const data = { domain: domain.uuid, name: policy.name };
    return button("Remove", "remove-policy", data, "link", `Remove policy ${policy.name}`);
}
