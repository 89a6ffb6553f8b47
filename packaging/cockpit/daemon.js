// SPDX-License-Identifier: Apache-2.0
// The daemon, over its two sockets, and the command, both through Cockpit's bridge.

const cockpit = window.cockpit;

export const RUN_DIR = cockpit.manifests.vmpower.config.run_dir;

const ALL_CALLS = { path: `${RUN_DIR}/vmpower.sock`, options: { superuser: "try" } };
const READ_ONLY = { path: `${RUN_DIR}/vmpower-ro.sock`, options: {} };
const RECORDED_EVENTS = 200;

/** A call or a command failed; `message` is for people. */
export class Failure extends Error {
    constructor(message, { problem = null, hint = "", output = "", status = null } = {}) {
        super(message);
        this.problem = problem; // Cockpit's code: access-denied, not-found, ...
        this.hint = hint;
        this.output = output;
        this.status = status; // of HTTP, or the exit status
    }
}

/** The sockets: that for all calls, if this user may connect to it. */
export class Daemon {
    constructor() {
        this.http = null;
        this.isWritable = false;
        this.isChosen = false;
    }

    /** Choose the socket again with the next status: the user's rights have changed. */
    reset() {
        this.isChosen = false;
    }

    /** Return the status document; choose the socket first if none is. */
    async status() {
        if (this.isChosen)
            return this.call("GET", "/v1/status");
        try {
            return await this.use(ALL_CALLS, true);
        } catch (failure) {
            if (failure.status !== null)
                throw failure; // the daemon answers: another socket would not help
            return this.use(READ_ONLY, false);
        }
    }

    async use(socket, isWritable) {
        const http = cockpit.http(socket.path, socket.options);
        const status = await send(http, { method: "GET", path: "/v1/status" });
        this.http = http;
        this.isWritable = isWritable;
        this.isChosen = true;
        return status;
    }

    /** Make a call; return its answer, parsed. There must have been a status. */
    call(method, path, body) {
        const content = body === undefined ? {} : {
            body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
        };
        return send(this.http, { method, path, ...content });
    }

    /** Call `receive` with each event after one, as they happen; resolve at the end. */
    follow(after, receive) {
        const params = { follow: "true", clocks: "false", last: String(RECORDED_EVENTS) };
        if (after)
            params.after = String(after);
        let rest = "";
        const stream = this.http.request({ method: "GET", path: "/v1/events", params, body: "" });
        stream.stream(data => {
            const lines = (rest + data).split("\n");
            rest = lines.pop();
            receive(lines.filter(line => line).map(line => JSON.parse(line)));
        });
        return new Promise(resolve => stream.then(resolve, resolve));
    }
}

function send(http, request) {
    return new Promise((resolve, reject) => {
        http.request({ body: "", ...request }).then(
            text => resolve(JSON.parse(text)),
            (error, text) => reject(failureOf(error, text)),
        );
    });
}

function failureOf(error, text) {
    let explained = {};
    try {
        explained = JSON.parse(text).error;
    } catch {
        // not from the daemon
    }
    return new Failure(explained.message ?? error.message, {
        problem: error.problem,
        hint: explained.hint ?? "",
        status: Number.isInteger(error.status) ? error.status : null,
    });
}

/** Return the command line of `vmpower` for this daemon, without options of its own. */
export function commandLine(status, ...more) {
    const options = RUN_DIR === "/run/vmpower" ? [] : ["--run-dir", RUN_DIR];
    if (status)
        options.push("--connect", status.libvirt.uri);
    return ["vmpower", ...options, ...more];
}

/** Run a command, as administrator if the user is one; return its output. */
export function run(command) {
    return new Promise((resolve, reject) => {
        cockpit.spawn(command, { superuser: "try", err: "message" }).then(
            resolve,
            (error, output) => reject(failureOfCommand(error, output, command)),
        );
    });
}

function failureOfCommand(error, output, command) {
    const more = { problem: error.problem, output, status: error.exit_status ?? null };
    if (error.problem === "not-found")
        return new Failure(`no such command: '${command[0]}'`, { ...more, hint: "install the package vmpower" });
    const [message, hint = ""] = (error.message || "the command failed").trim().split("\nhint: ");
    return new Failure(message.replace(/^error: /, ""), { ...more, hint });
}
