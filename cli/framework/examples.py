"""Examples of use, for `--help` and the manual page; a test parses each of them."""

from typing import NamedTuple


class Example(NamedTuple):
    """One command line."""

    line: str
    purpose: str
    """What it is for; it is followed by a colon."""


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "vmpower": (
        Example("vmpower status", "See who asks for what"),
        Example("vmpower doctor", "Find out why something does not work"),
        Example("vmpower --run-dir /tmp/try/run status", "Ask another daemon"),
    ),
    "vmpower status": (
        Example("vmpower status -o json | jq '.cpus[].current_khz'", "In a script"),
        Example("vmpower status --watch 5", "Again every five seconds"),
    ),
    "vmpower top": (
        Example(
            "vmpower top", "Watch; enter on a domain shows all that is known of it"
        ),
        Example("vmpower top --svg top.svg", "A picture for a document"),
    ),
    "vmpower domain add": (
        Example("vmpower domain add fw --template nfv --pin 2-5", "Look at its XML"),
        Example(
            "vmpower domain add fw --template nfv --vcpus 4 --define --start",
            "Define and start it on CPUs that are proposed",
        ),
        Example(
            "vmpower domain add web -t cloud --disk web.qcow2 --cloud-init seed.iso"
            " --max 2.4GHz --define",
            "From a cloud image, never faster than 2.4 GHz",
        ),
    ),
    "vmpower domain onboard": (
        Example("vmpower domain onboard fw --print-diff", "See what would change"),
        Example("vmpower domain onboard 'dpdk-*'", "All domains of a name"),
        Example("vmpower domain onboard fw --channels 0,2", "Only some vCPUs"),
    ),
    "vmpower domain offboard": (
        Example("vmpower domain offboard fw", "Take back what onboarding gave"),
    ),
    "vmpower domain set": (
        Example("vmpower domain set fw --min 1.2GHz --no-turbo", "Bound its clocks"),
        Example("vmpower domain set fw --mode observe", "Only watch what it asks"),
        Example("vmpower domain set fw --unset all", "Take everything back"),
    ),
    "vmpower domain pin": (
        Example("vmpower domain pin fw 0 2 --live --config", "Now, and at each start"),
    ),
    "vmpower domain show": (
        Example("vmpower domain show fw", "What holds for a domain, and who says so"),
        Example(
            "vmpower domain show fw -o json | jq '.policies'",
            "Its policies, in a script",
        ),
    ),
    "vmpower channel list": (
        Example("vmpower channel list fw", "What a guest asked, and what was refused"),
    ),
    "vmpower channel disable": (
        Example("vmpower channel disable fw all", "Stop obeying a guest"),
    ),
    "vmpower channel enable": (
        Example("vmpower channel enable fw all", "Obey it again"),
    ),
    "vmpower cpu set": (
        Example("vmpower cpu set 2-3 2.3GHz", "Fix a clock until it is released"),
    ),
    "vmpower cpu release": (
        Example("vmpower cpu release all", "Let guests decide again"),
    ),
    "vmpower cpu show": (
        Example("vmpower cpu show 2", "The steps of a CPU, and who shares its clock"),
    ),
    "vmpower policy set": (
        Example("vmpower policy set fw utilisation", "Let its vCPUs' own load decide"),
        Example(
            "vmpower policy set fw time-of-day 'busy=mon-fri 08:00-18:00' vcpus=0-1",
            "Fast in office hours, two vCPUs only",
        ),
    ),
    "vmpower policy remove": (Example("vmpower policy remove fw", "End it again"),),
    "vmpower template show": (
        Example("vmpower template show nfv", "What it can be told with --set"),
        Example(
            "vmpower template show nfv --xml > /etc/vmpower/templates/mine.xml",
            "Begin one of your own",
        ),
    ),
    "vmpower events": (Example("vmpower events --follow -o json", "Feed a program"),),
    "vmpower doctor": (
        Example("vmpower doctor", "This host, and the daemon if it runs"),
        Example("vmpower doctor --root sosreport-host7/", "A copy of another one"),
        Example("vmpower doctor -o json | jq '.findings[].id'", "In a script"),
    ),
    "vmpower restore": (
        Example("vmpower restore", "After a daemon was killed and is not restarted"),
    ),
    "vmpower completion": (
        Example("source <(vmpower completion bash)", "In this bash"),
        Example("vmpower completion bash > /etc/bash_completion.d/vmpower", "In bash"),
        Example(
            "vmpower completion zsh > /usr/local/share/zsh/site-functions/_vmpower",
            "In zsh",
        ),
        Example(
            "vmpower completion fish > /etc/fish/completions/vmpower.fish", "In fish"
        ),
    ),
    "vmpower simulate": (
        Example(
            "vmpower simulate /tmp/cpus --cpus 8 --shared 2", "Eight CPUs, in pairs"
        ),
    ),
}
"""By the whole name of the command."""
