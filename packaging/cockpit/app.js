// SPDX-License-Identifier: Apache-2.0
// The page: its state, what changes it, and which page is shown.
//
// The status is requested every two seconds while the page is visible, and the page is
// patched into what follows from it. Events arrive over a stream. Clicks find their
// handler by the attribute `data-action`.

import { actions } from "./actions.js";
import { Daemon, RUN_DIR } from "./daemon.js";
import { doctorCard, examine } from "./doctor.js";
import { domainPage } from "./domain.js";
import { h, patch } from "./dom.js";
import { eventPage } from "./events.js";
import { formatTime, sum } from "./format.js";
import { overview } from "./overview.js";
import { alert, command } from "./parts.js";
import { followTheme } from "./theme.js";

const cockpit = window.cockpit;
const POLL_MS = 2000;
const KEPT_EVENTS = 500;
const PAGES = [["", "Overview"], ["events", "Events"], ["doctor", "Doctor"]];

const daemon = new Daemon();
const state = {
    status: null,
    statusTime: null,
    failure: null,
    isWritable: false,
    rates: new Map(), // requests per second, by `UUID` and `UUID/channel`
    events: [],
    filter: { text: "", all: false },
    doctor: null,
    isExamining: false,
};
let totals = null; // of requests, at the last poll
let timer = null;
let isFollowing = false;

function render() {
    const page = h("div", { id: "app", class: "pf-v6-c-page__main-container" },
        navigation(), h("main", { class: "pf-v6-c-page__main" }, notice(), content()));
    patch(document.getElementById("app"), page);
}

function navigation() {
    const page = cockpit.location.path[0] ?? "";
    const current = page === "domain" ? "" : page;
    return h("nav", { class: "pf-v6-c-tabs", "aria-label": "Pages of VM power" },
        h("ul", { class: "pf-v6-c-tabs__list" }, PAGES.map(([path, name]) => h("li", {},
            h("a", {
                class: "pf-v6-c-tabs__link", href: `#/${path}`,
                "aria-current": path === current ? "page" : null,
            }, name)))));
}

function notice() {
    const { failure, isWritable, status, statusTime } = state;
    if (status && failure)
        return alert("danger", `vmpowerd does not answer: ${failure.message}`,
            `Shown is its status of ${formatTime(statusTime)}.`);
    if (status && !isWritable)
        return alert("info", "Read-only",
            "To change settings, turn on administrative access or join the group of the control socket.");
    return null;
}

function content() {
    const [page = "", ...rest] = cockpit.location.path;
    if (page === "doctor")
        return [heading("Doctor"), doctorCard(state)];
    if (!state.status)
        return state.failure ? noDaemon(state.failure) : h("p", {}, "Connecting to vmpowerd …");
    if (page === "events")
        return [heading("Events"), eventPage(state)];
    if (page === "domain")
        return domainPage(state, rest[0]);
    return [heading("VM power"), overview(state)];
}

/** The title of a page whose tab shows it. */
function heading(text) {
    return h("h1", { class: "pf-v6-screen-reader" }, text);
}

function noDaemon(failure) {
    const [title, fix] = failure.problem === "access-denied"
        ? ["You may not connect to vmpowerd", ["ls", "-l", RUN_DIR]]
        : ["vmpowerd is not running", ["systemctl", "enable", "--now", "vmpowerd"]];
    return h("section", { class: "pf-v6-c-empty-state" },
        h("h1", { class: "pf-v6-c-title pf-m-xl" }, title),
        h("p", {}, `No answer at ${RUN_DIR}/vmpower-ro.sock: ${failure.message}`),
        command(fix),
        h("p", {}, h("a", { href: "#/doctor" }, "Find out why: Doctor")));
}

async function poll() {
    clearTimeout(timer);
    try {
        state.status = await daemon.status();
        state.statusTime = new Date().toISOString();
        announce(null);
        count();
        follow();
    } catch (failure) {
        announce(failure);
        daemon.reset();
    }
    state.isWritable = daemon.isWritable;
    render();
    clearTimeout(timer);
    if (!document.hidden)
        timer = setTimeout(poll, POLL_MS);
}

/** Keep a failure; screen readers speak only a change. */
function announce(failure) {
    if (Boolean(failure) !== Boolean(state.failure))
        document.getElementById("announcer").textContent =
            failure ? `vmpowerd does not answer: ${failure.message}` : "vmpowerd answers";
    state.failure = failure;
}

/** Derive rates from the totals of this poll and the last one. */
function count() {
    const now = { time: performance.now(), requests: new Map() };
    for (const domain of state.status.domains) {
        for (const channel of domain.channels)
            now.requests.set(`${domain.uuid}/${channel.number}`, channel.requests_total);
        now.requests.set(domain.uuid, sum(domain.channels.map(it => it.requests_total)));
    }
    state.rates.clear();
    for (const [key, total] of now.requests) {
        // A total that shrank began again, with the daemon or the domain.
        const before = Math.min(totals?.requests.get(key) ?? total, total);
        state.rates.set(key, totals ? (total - before) * 1000 / (now.time - totals.time) : 0);
    }
    totals = now;
}

async function follow() {
    if (isFollowing)
        return;
    isFollowing = true;
    await daemon.follow(state.events[0]?.id, received => {
        state.events = [...received.reverse(), ...state.events].slice(0, KEPT_EVENTS);
        render();
    });
    isFollowing = false; // the next poll that succeeds continues
}

async function check() {
    state.isExamining = true;
    render();
    state.doctor = await examine(state.status);
    state.isExamining = false;
    render();
}

function showPage() {
    if (cockpit.location.path[0] === "doctor" && !state.doctor && !state.isExamining)
        check();
    render();
}

const handlers = { ...actions(daemon, state, poll), examine: check };

document.addEventListener("click", event => {
    const target = event.target.closest("[data-action]");
    if (target)
        handlers[target.dataset.action](target.dataset);
});
document.addEventListener("input", event => {
    if (event.target.id === "filter-text")
        state.filter.text = event.target.value;
    else if (event.target.id === "filter-all")
        state.filter.all = event.target.checked;
    else
        return;
    render();
});
document.addEventListener("visibilitychange", poll);
cockpit.addEventListener("locationchanged", showPage);
const permission = cockpit.permission({ admin: true });
permission.addEventListener("changed", () => {
    daemon.reset();
    poll();
});

followTheme();
showPage();
poll();
