// SPDX-License-Identifier: Apache-2.0
// A form in a modal dialog. The browser keeps the focus in it, closes it with Escape, and
// returns the focus to what opened it.

import { h } from "./dom.js";
import { alert, button } from "./parts.js";

/**
 * Open a dialog; `submit` gets the values by name, and a failure of it is shown.
 * Of `buttons`, [text, submit], the first one is the default.
 */
export function openDialog({ title, body, buttons }) {
    const problem = h("div", { role: "alert" });
    const dialog = h("dialog", { class: "pf-v6-c-modal-box", "aria-labelledby": "dialog-title" },
        h("h1", { id: "dialog-title", class: "pf-v6-c-title pf-m-xl" }, title),
        h("form", { class: "pf-v6-c-form", novalidate: true }, body, problem,
            h("div", { class: "pf-v6-c-form__actions" },
                buttons.map(([text], at) => h("button", {
                    type: "submit", value: at,
                    class: `pf-v6-c-button pf-m-${at ? "secondary" : "primary"}`,
                }, text)),
                button("Cancel", "close-dialog", {}, "link"))));
    dialog.addEventListener("submit", async event => {
        event.preventDefault();
        const values = Object.fromEntries(new FormData(event.target));
        const controls = dialog.querySelectorAll("button[type=submit]");
        controls.forEach(control => { control.disabled = true; });
        problem.replaceChildren();
        try {
            await buttons[event.submitter?.value ?? 0][1](values);
            dialog.close();
        } catch (failure) {
            problem.replaceChildren(alert("danger", failure.message, failure.hint));
        } finally {
            controls.forEach(control => { control.disabled = false; });
        }
    });
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
}

export function closeDialog() {
    document.querySelector("dialog")?.close();
}

/** A labelled control; `help` explains it. */
export function field(name, text, control, help = null) {
    control.id = `field-${name}`;
    control.name = name;
    control.classList.add("pf-v6-c-form-control");
    if (help)
        control.setAttribute("aria-describedby", `help-${name}`);
    return h("div", { class: "pf-v6-c-form__group" },
        h("label", { for: control.id, class: "pf-v6-c-form__label" }, text),
        control,
        help ? h("div", { id: `help-${name}`, class: "pf-v6-c-helper-text" }, help) : null);
}

/** A choice of [value, text]. */
export function choice(options, chosen) {
    return h("select", {}, options.map(([value, text]) =>
        h("option", { value, selected: value === chosen }, text)));
}
