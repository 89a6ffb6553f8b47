// SPDX-License-Identifier: Apache-2.0
// Events, the latest first.

import { h } from "./dom.js";
import { formatTime } from "./format.js";
import { card, table } from "./parts.js";

export function eventTable(events) {
    if (!events.length)
        return h("p", {}, "None so far.");
    const rows = events.map(event => ({
        id: `event-${event.id}`,
        cells: [formatTime(event.time), event.kind, event.domain ?? "–", event.text],
    }));
    return table("Events", ["Time", "Kind", "Domain", "Event"], rows);
}

export function eventPage(state) {
    return card("The latest first", eventTable(state.events));
}
