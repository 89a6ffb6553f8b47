// SPDX-License-Identifier: Apache-2.0
// What pages consist of, in PatternFly's classes.

import { h } from "./dom.js";
import { formatCount } from "./format.js";

export function card(title, body, actions = null) {
    return h("section", { class: "pf-v6-c-card" },
        h("div", { class: "pf-v6-c-card__header" },
            h("h2", { class: "pf-v6-c-card__title" }, title),
            actions ? h("div", { class: "pf-v6-c-card__actions" }, actions) : null),
        h("div", { class: "pf-v6-c-card__body" }, body));
}

/** A description list of [term, value]. */
export function facts(pairs) {
    return h("dl", { class: "pf-v6-c-description-list" }, pairs.map(([term, value]) =>
        h("div", { class: "pf-v6-c-description-list__group" },
            h("dt", { class: "pf-v6-c-description-list__term" }, term),
            h("dd", { class: "pf-v6-c-description-list__description" }, value))));
}

export function label(text, color, title = null) {
    return h("span", { class: `pf-v6-c-label pf-m-${color}`, title }, text);
}

/** A count; with a color if it is not zero. */
export function level(number, color) {
    return h("span", { class: number ? `vmpower-${color}` : null }, formatCount(number));
}

/** A button; `action` is a key of the handlers in app.js, `data` their argument. */
export function button(text, action, data = {}, kind = "secondary", name = null) {
    const attributes = Object.entries(data).map(([key, value]) => [`data-${key}`, String(value)]);
    return h("button", {
        type: "button", class: `pf-v6-c-button pf-m-${kind}`, "data-action": action,
        "aria-label": name, ...Object.fromEntries(attributes),
    }, text);
}

/** A table that narrow windows show as a list of cards; rows: `{id, cells}`. */
export function table(name, titles, rows) {
    return h("table", { class: "pf-v6-c-table pf-m-grid-md", role: "table", "aria-label": name },
        h("thead", { class: "pf-v6-c-table__thead", role: "rowgroup" },
            h("tr", { role: "row" }, titles.map(title =>
                h("th", { class: "pf-v6-c-table__th", scope: "col", role: "columnheader" }, title)))),
        h("tbody", { class: "pf-v6-c-table__tbody", role: "rowgroup" }, rows.map(({ id, cells }) =>
            h("tr", { class: "pf-v6-c-table__tr", role: "row", id }, cells.map((cell, at) =>
                h("td", { class: "pf-v6-c-table__td", role: "cell", "data-label": titles[at] },
                    h("div", {}, cell)))))));
}

export function alert(color, title, body = null) {
    return h("div", { class: `pf-v6-c-alert pf-m-inline pf-m-${color}` },
        h("p", { class: "pf-v6-c-alert__title" }, title),
        body ? h("div", { class: "pf-v6-c-alert__description" }, body) : null);
}

export function warnings(texts) {
    return texts.map(text => alert("warning", text));
}

/** A command to copy, as for a shell. */
export function command(words) {
    const quote = word => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
    return h("pre", { class: "pf-v6-c-code-block", tabindex: "0" }, words.map(quote).join(" "));
}
