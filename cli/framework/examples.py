# SPDX-License-Identifier: Apache-2.0
"""Examples for `--help` and the manual page; a test parses each of them."""

from typing import NamedTuple


class Example(NamedTuple):
    """One command line."""

    line: str
    purpose: str
    """What it does; shown followed by a colon."""


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "vmpower": (
        Example("vmpower status", "Show domains, CPU frequencies and requests"),
        Example("vmpower doctor", "Find out why something does not work"),
        Example("vmpower --run-dir cpus/run status", "Use another daemon"),
    ),
    "vmpower status": (
        Example("vmpower status -o json | jq '.cpus[].current_khz'", "In a script"),
        Example("vmpower status --watch 5", "Refresh every five seconds"),
    ),
    "vmpower top": (
        Example("vmpower top", "Watch live; Enter on a domain shows its details"),
        Example("vmpower top --svg top.svg", "Write a picture for a document"),
    ),
    "vmpower domain add": (
        Example("vmpower domain add fw --template nfv --pin 2-5", "Print its XML"),
        Example(
            "vmpower domain add fw --template nfv --vcpus 4 --define --start",
            "Define and start it on proposed CPUs",
        ),
        Example(
            "vmpower domain add web -t cloud --disk web.qcow2 --cloud-init seed.iso"
            " --max 2.4GHz --define",
            "Define it from a cloud image, limited to 2.4 GHz",
        ),
    ),
    "vmpower domain onboard": (
        Example("vmpower domain onboard fw --print-diff", "Show what would change"),
        Example("vmpower domain onboard 'dpdk-*'", "All domains that match a pattern"),
        Example("vmpower domain onboard fw --channels 0,2", "Only some vCPUs"),
        Example(
            "vmpower domain onboard web --p-states",
            "Linux without a program of DPDK or vmpower",
        ),
    ),
    "vmpower domain offboard": (
        Example("vmpower domain offboard fw", "Remove what onboarding added"),
    ),
    "vmpower domain set": (
        Example(
            "vmpower domain set fw --min 1.2GHz --no-turbo", "Limit its frequencies"
        ),
        Example(
            "vmpower domain set fw --mode observe", "Refuse and count its requests"
        ),
        Example("vmpower domain set fw --unset all", "Remove all settings"),
    ),
    "vmpower domain pin": (
        Example(
            "vmpower domain pin fw 0 2 --live --config", "Now and after each start"
        ),
    ),
    "vmpower domain show": (
        Example("vmpower domain show fw", "Show effective settings and their sources"),
        Example(
            "vmpower domain show fw -o json | jq '.policies'",
            "Its policies, in a script",
        ),
    ),
    "vmpower channel list": (
        Example(
            "vmpower channel list fw", "Show a guest's requests and why some failed"
        ),
    ),
    "vmpower channel disable": (
        Example("vmpower channel disable fw all", "Refuse all requests of a guest"),
    ),
    "vmpower channel enable": (
        Example("vmpower channel enable fw all", "Accept its requests again"),
    ),
    "vmpower cpu set": (
        Example("vmpower cpu set 2-3 2.3GHz", "Fix the frequency until it is released"),
        Example("vmpower cpu set all nominal", "The highest frequency without turbo"),
    ),
    "vmpower cpu release": (
        Example("vmpower cpu release all", "Let guests and policies decide again"),
    ),
    "vmpower cpu show": (
        Example("vmpower cpu show 2", "Show its frequency steps and clock group"),
    ),
    "vmpower report": (
        Example("vmpower report --since 7d", "What the last week saved, by domain"),
        Example(
            "vmpower report fw --since 2026-03-01 --by day -o csv",
            "The days of one domain, for a spreadsheet",
        ),
        Example("vmpower report --html report.html", "A page with charts, to print"),
        Example("vmpower report --what-if", "What a host in mode observe would save"),
    ),
    "vmpower advise": (
        Example("vmpower advise fw", "What would save energy in one domain"),
    ),
    "vmpower energy show": (
        Example("vmpower energy show --watch", "Watch what is drawn and saved"),
        Example(
            "vmpower energy show -o json | jq .host.saved_watts", "What the host saves"
        ),
    ),
    "vmpower energy explain": (
        Example("vmpower energy explain fw", "How the energy of fw is computed"),
    ),
    "vmpower energy calibrate": (
        Example("vmpower energy calibrate --idle", "After booting, before domains run"),
        Example(
            "vmpower energy calibrate --steps --seconds 3", "On CPUs that are not used"
        ),
    ),
    "vmpower policy set": (
        Example(
            "vmpower policy set fw utilisation", "Follow the utilization of its vCPUs"
        ),
        Example(
            "vmpower policy set fw time-of-day 'busy=mon-fri 08:00-18:00' vcpus=0-1",
            "Run two vCPUs fast in office hours",
        ),
    ),
    "vmpower policy preview": (
        Example(
            "vmpower policy preview time-of-day quiet=22:00-06:00 --week",
            "Show when it would change the frequency",
        ),
    ),
    "vmpower policy remove": (
        Example("vmpower policy remove fw", "Remove the policy again"),
    ),
    "vmpower template show": (
        Example("vmpower template show nfv", "Show the parameters for --set"),
        Example(
            "vmpower template show nfv --xml > /etc/vmpower/templates/mine.xml",
            "Start a template of your own",
        ),
    ),
    "vmpower events": (
        Example("vmpower events --follow -o json", "Feed events to a program"),
        Example(
            "vmpower events fw --since 1h --kind policy", "What policies of fw did"
        ),
    ),
    "vmpower doctor": (
        Example("vmpower doctor", "Check this host, and the daemon if it is running"),
        Example("vmpower doctor --root sosreport-host7/", "Check a copy of a host"),
        Example("vmpower doctor -o json | jq '.findings[].id'", "In a script"),
    ),
    "vmpower restore": (
        Example("vmpower restore", "After the daemon was killed and is not restarted"),
    ),
    "vmpower completion": (
        Example("source <(vmpower completion bash)", "In the current bash"),
        Example("vmpower completion bash > /etc/bash_completion.d/vmpower", "For bash"),
        Example(
            "vmpower completion zsh > /usr/local/share/zsh/site-functions/_vmpower",
            "For zsh",
        ),
        Example(
            "vmpower completion fish > /etc/fish/completions/vmpower.fish", "For fish"
        ),
    ),
    "vmpower tuned-profile": (
        Example("vmpower tuned-profile --install", "Leave the CPUs of domains alone"),
        Example("vmpower tuned-profile 2-9 --base powersave", "Print it for CPUs 2-9"),
    ),
    "vmpower simulate": (
        Example("vmpower simulate cpus --cpus 8 --shared 2", "Eight CPUs, in pairs"),
        Example(
            "vmpower simulate cpus --cpus 8 --driver intel_pstate",
            "Eight CPUs with the driver of most Intel servers",
        ),
    ),
    "vmpower try": (
        Example("vmpower try", "Until Ctrl-C; type in another terminal what it prints"),
        Example("vmpower try --driver amd-pstate", "With the driver of AMD servers"),
    ),
}
"""By the full name of the command."""
