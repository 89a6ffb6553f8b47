// SPDX-License-Identifier: Apache-2.0
// What the page can change: calls of the API, and commands that change libvirt's domains.
// libvirt is not reached through the daemon, but with the user's own rights there.

import { commandLine, run } from "./daemon.js";
import { choice, closeDialog, field, openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { formatKhz, formatList, formatStep } from "./format.js";
import { alert, command } from "./parts.js";

const LIMITS = ["min", "max", "turbo", "mode"];

/** Return the handlers of clicks, by the attribute `data-action`. */
export function actions(daemon, state, refresh) {
    const find = uuid => state.status.domains.find(domain => domain.uuid === uuid);
    const change = async (...call) => {
        await daemon.call(...call);
        await refresh();
    };
    /** A change without a form: a failure gets a dialog of its own. */
    const changeNow = (...call) => change(...call).catch(failure => openDialog({
        title: "Not changed", body: alert("danger", failure.message, failure.hint), buttons: [],
    }));
    return {
        "close-dialog": closeDialog,
        "set-limits": ({ domain }) => setLimits(state, find(domain), refresh),
        "onboard": ({ domain }) => onboard(state, find(domain), refresh),
        "set-frequency": ({ group }) => setFrequency(state, Number(group), change),
        "set-policy": ({ domain }) => setPolicy(find(domain), change),
        "remove-policy": ({ domain, name }) =>
            changeNow("DELETE", `/v1/domains/${domain}/policies/${encodeURIComponent(name)}`),
        "enable-channel": ({ domain, channel, enabled }) =>
            changeNow("PUT", `/v1/domains/${domain}/channels/${channel}/enabled`, { enabled: enabled === "true" }),
    };
}

function setLimits(state, domain, refresh) {
    const before = ownSettings(domain);
    const steps = [...new Set(state.status.cpus.flatMap(cpu => cpu.steps_khz))].sort((a, b) => b - a);
    const frequency = value => h("input", { type: "text", value, list: "steps", autocomplete: "off" });
    const switches = [["", "not set"], ["yes", "allowed"], ["no", "not allowed"]];
    const modes = [["", "not set"], ["enforce", "enforce: grant requests"], ["observe", "observe: refuse and count them"]];
    const body = [
        h("p", {}, "Stored in the domain's metadata, effective at once. Rules of vmpowerd's configuration take precedence."),
        h("datalist", { id: "steps" }, steps.map(khz => h("option", { value: formatKhz(khz).replace(" ", "") }))),
        field("min", "Lower limit", frequency(before.min), "As in 1.2GHz; empty: not set"),
        field("max", "Upper limit", frequency(before.max), "As in 2.4GHz; empty: not set"),
        field("turbo", "Turbo", choice(switches, before.turbo)),
        field("mode", "Mode", choice(modes, before.mode)),
    ];
    const submit = async values => {
        const options = LIMITS.filter(name => values[name].trim() !== before[name])
            .map(name => limitOption(name, values[name].trim()));
        if (options.length)
            await run(commandLine(state.status, "domain", "set", domain.uuid, ...options));
        await refresh();
    };
    openDialog({ title: `Limits of ${domain.name}`, body, buttons: [["Save", submit]] });
}

/** Return what the metadata sets: only that can be changed here. */
function ownSettings(domain) {
    const own = key => domain.rights?.[key]?.source === "metadata" ? domain.rights[key].value : null;
    const ghz = key => own(key) === null ? "" : `${own(key) / 1e6}GHz`;
    const turbo = own("turbo");
    return {
        min: ghz("min_khz"),
        max: ghz("max_khz"),
        turbo: turbo === null ? "" : turbo ? "yes" : "no",
        mode: own("mode") ?? "",
    };
}

function limitOption(name, value) {
    if (value === "")
        return `--unset=${name}`;
    if (name === "turbo")
        return value === "yes" ? "--turbo" : "--no-turbo";
    return `--${name}=${value}`;
}

async function onboard(state, domain, refresh) {
    const words = commandLine(state.status, "domain", "onboard", domain.uuid);
    const preview = await run([...words, "--print-diff"]).catch(failure => failure);
    const body = [
        h("p", {}, "One channel for each vCPU. The page runs this command:"),
        command(words),
        preview instanceof Error
            ? alert("danger", preview.message, preview.hint)
            : h("pre", { class: "pf-v6-c-code-block", tabindex: "0" }, preview),
    ];
    const submit = async () => {
        await run(words);
        await refresh();
    };
    const buttons = preview instanceof Error ? [] : [["Add channels", submit]];
    openDialog({ title: `Channels of ${domain.name}`, body, buttons });
}

function setFrequency(state, group, change) {
    const cpus = state.status.cpus.filter(cpu => cpu.clock_group === group);
    const [cpu] = cpus;
    const call = `/v1/cpus/${cpu.pcpu}`;
    const steps = cpu.steps_khz.map(khz => [String(khz), formatStep(khz, cpu)]);
    const body = [
        h("p", {}, "It replaces the requests of guests and policies until it is released."),
        field("khz", "Frequency", choice(steps, String(cpu.override_khz ?? cpu.grant_khz))),
    ];
    const buttons = [["Set", values => change("PUT", `${call}/clock`, { khz: Number(values.khz) })]];
    if (cpu.override_khz !== null)
        buttons.push(["Release", () => change("DELETE", `${call}/clock`)]);
    if (cpu.drift !== null) {
        body.unshift(alert("warning", "Changed by another program", cpu.drift));
        buttons.push(["Take back", () => change("DELETE", `${call}/drift`)]);
    }
    openDialog({ title: `CPU ${formatList(cpus.map(it => it.pcpu))}`, body, buttons });
}

function setPolicy(domain, change) {
    const body = [
        field("name", "Name", h("input", { type: "text", value: "page", autocomplete: "off" }),
            "A policy of this name is replaced"),
        field("text", "Policy", h("input", { type: "text", autocomplete: "off" }),
            "As in: utilisation up-above=0.9 vcpus=0-3; 'vmpower policy set --help' lists all kinds"),
    ];
    const submit = ({ name, text }) =>
        change("PUT", `/v1/domains/${domain.uuid}/policies/${encodeURIComponent(name)}`, { text });
    openDialog({ title: `Policy for ${domain.name}`, body, buttons: [["Set", submit]] });
}
