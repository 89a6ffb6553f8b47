// SPDX-License-Identifier: Apache-2.0
// Light or dark: Cockpit's setting, which its shell keeps for all pages, or the browser's.

const DARK = "pf-v6-theme-dark";

export function followTheme() {
    const media = window.matchMedia("(prefers-color-scheme: dark)");
    const apply = style => {
        const chosen = style ?? localStorage.getItem("shell:style") ?? "auto";
        const isDark = chosen === "dark" || chosen === "auto" && media.matches;
        document.documentElement.classList.toggle(DARK, isDark);
    };
    media.addEventListener("change", () => apply());
    window.addEventListener("storage", event => event.key === "shell:style" && apply());
    window.addEventListener("cockpit-style", event => apply(event.detail.style));
    apply();
}
