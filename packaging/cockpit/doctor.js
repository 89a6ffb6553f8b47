// SPDX-License-Identifier: Apache-2.0
// What `vmpower doctor` finds on this host; it works without the daemon, too.

import { commandLine, run } from "./daemon.js";
import { h } from "./dom.js";
import { formatTime } from "./format.js";
import { alert, button, card } from "./parts.js";

const HAS_FINDINGS = 5; // exit status
const COLORS = { error: "danger", warning: "warning" };

/** Run the doctor; return `{findings, passed, time}` or `{failure}`. */
export async function examine(status) {
    const options = status && status.daemon.sysfs_root !== "/sys"
        ? ["--sysfs-root", status.daemon.sysfs_root] : [];
    let output;
    try {
        output = await run(commandLine(status, "doctor", ...options, "--output", "json"));
    } catch (failure) {
        if (failure.status !== HAS_FINDINGS)
            return { failure };
        output = failure.output;
    }
    return { ...JSON.parse(output), time: new Date().toISOString() };
}

export function doctorCard({ doctor, isExamining }) {
    const actions = isExamining ? null : button("Check again", "examine");
    return card("Findings on this host", isExamining && !doctor ? h("p", {}, "Checking this host …") : result(doctor), actions);
}

function result(doctor) {
    if (!doctor)
        return h("p", {}, "Not checked yet.");
    if (doctor.failure)
        return alert("danger", doctor.failure.message, doctor.failure.hint);
    const findings = doctor.findings.map(finding =>
        h("li", {}, alert(COLORS[finding.severity] ?? "info", `${finding.subject}: ${finding.what}`,
            finding.fix ? `Fix: ${finding.fix}` : null)));
    return [
        h("p", {}, `${doctor.findings.length} findings, ${doctor.passed.length} checks passed, ${formatTime(doctor.time)}`),
        findings.length ? h("ul", { class: "pf-v6-c-list pf-m-plain" }, findings) : null,
    ];
}
