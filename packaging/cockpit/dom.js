// SPDX-License-Identifier: Apache-2.0
// Elements: `h` builds them, `patch` changes those of the page into them.

// Control characters but white space, and bidirectional ones: domains and guests choose
// names and texts.
const UNPRINTABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Return text in which nothing changes how the text around it is shown. */
export function printable(text) {
    return String(text).replace(UNPRINTABLE, "\ufffd");
}

/**
 * Build an element. Children are elements, texts, lists of them, or null: nothing. Of
 * the attributes, those that are null or false are left out.
 */
export function h(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes ?? {})) {
        if (value !== null && value !== undefined && value !== false)
            element.setAttribute(key, value === true ? "" : printable(value));
    }
    for (const child of children.flat(Infinity)) {
        if (child !== null && child !== undefined && child !== false)
            element.append(child instanceof Node ? child : printable(child));
    }
    return element;
}

/**
 * Change an element into another one, but keep what has not changed: the focus, the
 * selection and what has been typed. Children with an `id` are found by it.
 */
export function patch(old, fresh) {
    if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
        old.replaceWith(fresh);
    } else if (old.nodeType === Node.TEXT_NODE) {
        if (old.data !== fresh.data)
            old.data = fresh.data;
    } else {
        patchAttributes(old, fresh);
        patchChildren(old, fresh);
    }
}

function patchAttributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
        if (!fresh.hasAttribute(name))
            old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
        if (old.getAttribute(name) !== value)
            old.setAttribute(name, value);
    }
}

function patchChildren(old, fresh) {
    const known = new Map([...old.children].filter(it => it.id).map(it => [it.id, it]));
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
        const same = wanted.id && known.get(wanted.id);
        if (same && same !== at) {
            old.insertBefore(same, at);
            at = same;
        }
        if (at) {
            const next = at.nextSibling;
            patch(at, wanted);
            at = next;
        } else {
            old.append(wanted);
        }
    }
    while (at) {
        const next = at.nextSibling;
        at.remove();
        at = next;
    }
}
