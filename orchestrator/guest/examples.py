# SPDX-License-Identifier: Apache-2.0
"""Examples for `--help` and the manual page; a test parses each of them."""

from __future__ import annotations

EXAMPLES: dict[str, dict[str, str]] = {
    "vmpower-guest": {
        "Let the frequencies follow the load": "vmpower-guest auto",
        "Watch frequencies and loads": "vmpower-guest watch",
    },
    "vmpower-guest set": {
        "The lowest allowed frequency, until Ctrl-C": "vmpower-guest set 0 min",
        "Check whether the host accepts requests": "vmpower-guest set 0 max --once",
    },
    "vmpower-guest query": {
        "The frequencies of all vCPUs": "vmpower-guest query freq",
        "In a script": "vmpower-guest query freq 0 -o json | jq '.vcpus[0].khz'",
    },
    "vmpower-guest energy": {
        "What is drawn and saved": "vmpower-guest energy",
        "In a script": "vmpower-guest energy -o json | jq .watts",
    },
    "vmpower-guest policy send traffic": {
        "By the packets of one interface": "vmpower-guest policy send traffic"
        " --vcpus 0-1 --mac 52:54:00:12:34:56",
    },
    "vmpower-guest policy send time": {
        "Fast by day, slow by night": "vmpower-guest policy send time"
        " --vcpus 0-3 --busy 8-17 --quiet 0-6,22,23",
    },
    "vmpower-guest policy send workload": {
        "Two vCPUs at the lowest frequency": "vmpower-guest policy send workload low"
        " --vcpus 2,3",
    },
    "vmpower-guest policy send branch-ratio": {
        "A vCPU that polls": "vmpower-guest policy send branch-ratio --vcpus 1",
    },
    "vmpower-guest watch": {
        "Ten lines, one every two seconds": "vmpower-guest watch -i 2 -n 10",
    },
    "vmpower-guest auto": {
        "Only some vCPUs, printing all changes": "vmpower-guest auto --vcpus 2-5 -v",
        "Step down more slowly": "vmpower-guest auto --busy 90% --patience 5",
        "Follow a DPDK application": "vmpower-guest auto --dpdk",
    },
}
"""By command: the purpose of a command line, and the line."""
