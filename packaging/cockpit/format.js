// SPDX-License-Identifier: Apache-2.0
// Values as text.

/** Format kHz: `2.30 GHz`, `800 MHz`, `–` for null. */
export function formatKhz(khz) {
    if (khz === null || khz === undefined)
        return "–";
    return khz < 1e6 ? `${Math.floor(khz / 1e3)} MHz` : `${(khz / 1e6).toFixed(2)} GHz`;
}

/** Format a frequency of a CPU, with `turbo` above the nominal one. */
export function formatStep(khz, cpu) {
    const isTurbo = khz !== null && cpu.nominal_khz !== null && khz > cpu.nominal_khz;
    return isTurbo ? `${formatKhz(khz)} turbo` : formatKhz(khz);
}

/** Format numbers of CPUs, lowest first: `0-3,8`. */
export function formatList(numbers) {
    const ranges = [];
    for (const number of numbers) {
        const last = ranges.at(-1);
        if (last && last[1] === number - 1)
            last[1] = number;
        else
            ranges.push([number, number]);
    }
    return ranges.map(([from, to]) => from === to ? from : `${from}-${to}`).join(",");
}

export function formatCount(number) {
    return Math.round(number).toLocaleString("en-US");
}

export function formatWatts(watts) {
    return `${watts.toFixed(1)} W`;
}

export function plural(number, noun) {
    return `${formatCount(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Format the time of an event: the time of day, with the day unless it is today. */
export function formatTime(iso) {
    const time = new Date(iso);
    const options = time.toDateString() === new Date().toDateString()
        ? { timeStyle: "medium" }
        : { dateStyle: "short", timeStyle: "medium" };
    return time.toLocaleString("en-GB", options);
}

export function sum(numbers) {
    return numbers.reduce((total, number) => total + number, 0);
}
